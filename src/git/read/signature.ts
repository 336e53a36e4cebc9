/** Verifies the signature of a commit with git and the operator's keys. */

import { checkedId, type RepositoryGit } from '../git.ts';

/**
 * True when `revision` carries a good ssh signature of a key in the file `signers` (ssh-keygen(1), ALLOWED
 * SIGNERS), and in no other case. A key that is not in the file is never enough.
 */
export async function isSigned(
  repository: RepositoryGit,
  revision: string,
  signers: string | null,
): Promise<boolean> {
  if (signers === null) return false;
  const settings = [
    `gpg.ssh.allowedSignersFile=${signers}`,
    'gpg.minTrustLevel=fully',
    // The commit chooses the kind of its signature. Only ssh can pass, because a key ring in HOME must not decide.
    'gpg.openpgp.program=false',
    'gpg.x509.program=false',
  ];
  const flags = settings.flatMap((setting) => ['-c', setting]);
  const { exitCode } = await repository.run([...flags, 'verify-commit', checkedId(revision)]);
  return exitCode === 0;
}
