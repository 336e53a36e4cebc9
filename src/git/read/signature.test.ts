import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { captureProcess } from '../../process/capture.ts';
import { createGit, inRepository } from '../git.ts';
import { createWorld, PATH } from '../test-support.ts';
import { isSigned } from './signature.ts';

describe('isSigned', () => {
  it('takes an ssh key of the file, and neither a stranger nor an unsigned commit', async () => {
    const world = await createWorld();
    const repository = inRepository(world.git, { gitDirectory: join(world.source, '.git') });
    const unsigned = await world.commit({ a: '1' });
    const signedBy = async (name: string): Promise<string> => {
      const key = join(world.root, name);
      const argv = ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', key] as const;
      await captureProcess({ argv, cwd: '/', env: { PATH, HOME: world.root }, timeoutMs: 20_000 });
      const signing = ['-c', 'gpg.format=ssh', '-c', `user.signingKey=${key}`];
      await world.shell([...signing, 'commit', '-q', '-S', '--allow-empty', '-m', name]);
      return world.shell(['rev-parse', 'HEAD']);
    };
    const byFriend = await signedBy('friend');
    const byStranger = await signedBy('stranger');
    const signers = join(world.root, 'signers');
    await writeFile(signers, `dev@example.com ${await readFile(join(world.root, 'friend.pub'), 'utf8')}`);

    const answers = [byFriend, byStranger, unsigned].map((id) => isSigned(repository, id, signers));
    expect(await Promise.all(answers)).toEqual([true, false, false]);
    expect(await isSigned(repository, byFriend, null)).toBe(false);
  });

  it.each(['PGP SIGNATURE', 'SIGNED MESSAGE'])('does not ask a key ring about a "%s"', async (kind) => {
    const world = await createWorld();
    // This program accepts every signature, like a key ring that trusts the stranger's key.
    const bin = join(world.root, 'bin');
    await mkdir(bin);
    const key = '0123456789ABCDEF'.repeat(3).slice(0, 40);
    const valid = `VALIDSIG ${key} 2026-01-01 1 0 4 0 1 8 00 ${key}`;
    const status = ['NEWSIG', 'GOODSIG 0123456789ABCDEF Stranger', valid, 'TRUST_ULTIMATE 0 pgp'];
    for (const program of ['gpg', 'gpgsm']) {
      await writeFile(
        join(bin, program),
        `#!/bin/sh\ncat > /dev/null\n${status.map((line) => `echo "[GNUPG:] ${line}"`).join('\n')}\n`,
      );
      await chmod(join(bin, program), 0o755);
    }
    await world.commit({ a: '1' });
    const tree = await world.shell(['rev-parse', 'HEAD^{tree}']);
    const person = 'Dev <dev@example.com> 1 +0000';
    const signature = `gpgsig -----BEGIN ${kind}-----\n \n abc\n -----END ${kind}-----`;
    const commit = `tree ${tree}\nauthor ${person}\ncommitter ${person}\n${signature}\n\nSigned\n`;
    await writeFile(join(world.root, 'commit'), commit);
    const id = await world.shell(['hash-object', '-t', 'commit', '-w', join(world.root, 'commit')]);
    await writeFile(join(world.root, 'signers'), '');

    const remote = { url: world.remote, token: null };
    const git = createGit({ path: `${bin}:${PATH}`, home: world.root, remote, timeoutMs: 30_000 });
    expect(
      await isSigned(
        inRepository(git, { gitDirectory: join(world.source, '.git') }),
        id,
        join(world.root, 'signers'),
      ),
    ).toBe(false);
  });
});
