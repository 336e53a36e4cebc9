/** Commit signatures, verified by git against the operator's keys. */

import { checkedId, type Git } from '../git.ts';

/**
 * True when `revision` carries a good ssh signature of a key in the file `signers` (ssh-keygen(1), ALLOWED
 * SIGNERS), and in no other case. A key that is not in the file is never enough.
 */
export async function isSigned(
  git: Git,
  gitDirectory: string,
  revision: string,
  signers: string | null,
): Promise<boolean> {
  if (signers === null) return false;
  const settings = [
    `gpg.ssh.allowedSignersFile=${signers}`,
    'gpg.minTrustLevel=fully',
    // The commit chooses the kind of its signature; a key ring in HOME has no say here, so only ssh can pass.
    'gpg.openpgp.program=false',
    'gpg.x509.program=false',
  ];
  const { exitCode } = await git.run(
    [...settings.flatMap((setting) => ['-c', setting]), 'verify-commit', checkedId(revision)],
    { gitDirectory },
  );
  return exitCode === 0;
}
