import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RunnerError } from '../../errors.ts';
import { temporaryDirectory } from '../test-support.ts';
import { resolveInside } from './inside.ts';

/** `real/` is the checkout, `root` a link to it; `outside` and `real-not` lie beside it. */
async function checkout(): Promise<{ root: string; real: string }> {
  const base = await temporaryDirectory();
  const real = join(base, 'real');
  await mkdir(join(real, 'live/eu'), { recursive: true });
  await mkdir(join(base, 'real-not'));
  await writeFile(join(real, 'top.tfvars'), '');
  await writeFile(join(real, 'live/eu/main.tf'), '');
  await writeFile(join(base, 'outside'), '');
  await symlink('real', join(base, 'root'));
  await symlink('../outside', join(real, 'leak.tfvars'));
  await symlink('/etc', join(real, 'etc'));
  await symlink('../../top.tfvars', join(real, 'live/eu/shared.tfvars'));
  await symlink('live', join(real, 'alias'));
  await symlink('nothing', join(real, 'dangling'));
  await symlink('loop', join(real, 'loop'));
  return { root: join(base, 'root'), real };
}

describe('resolveInside', () => {
  it('gives the real path of what is inside, through links that stay there', async () => {
    const { root, real } = await checkout();
    expect(await resolveInside(root, '.')).toBe(real);
    expect(await resolveInside(root, 'top.tfvars')).toBe(join(real, 'top.tfvars'));
    expect(await resolveInside(root, 'live/../top.tfvars')).toBe(join(real, 'top.tfvars'));
    expect(await resolveInside(root, 'alias/eu/main.tf')).toBe(join(real, 'live/eu/main.tf'));
    expect(await resolveInside(root, 'live/eu/shared.tfvars')).toBe(join(real, 'top.tfvars'));
    expect(await resolveInside(root, join(root, 'live/eu'), '../../top.tfvars')).toBe(
      join(real, 'top.tfvars'),
    );
    expect(await resolveInside(root, join(real, 'live/eu'), 'main.tf')).toBe(join(real, 'live/eu/main.tf'));
    // The folder may be spelled by its real path while the root is a link.
    await expect(resolveInside(real, join(real, 'live/eu'), 'main.tf')).resolves.toBe(
      join(real, 'live/eu/main.tf'),
    );
  });

  it.each([
    '..',
    '../outside',
    'live/../../outside',
    'leak.tfvars',
    'etc/passwd',
    '../real-not',
    '/etc/passwd',
    'dangling',
    'loop',
    'missing',
    'top.tfvars/x',
    'a\0b',
  ])('F38: refuses %j', async (relative) => {
    const { root } = await checkout();
    await expect(resolveInside(root, relative)).rejects.toBeInstanceOf(RunnerError);
  });

  it('F38: reveals nothing of files outside', async () => {
    const { root } = await checkout();
    const there = await resolveInside(root, '../outside').catch((error: Error) => error.message);
    const missing = await resolveInside(root, '../missing').catch((error: Error) => error.message);
    expect(there).toBe('"../outside" leads out of the repository.');
    expect(missing).toBe('"../missing" leads out of the repository.');
  });
});
