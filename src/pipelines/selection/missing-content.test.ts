import { expect, it } from 'vitest';
import { createSyncWorld } from '../sync/sync-world.fixture.ts';

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 12345\n`;

it('a run reports the empty submodules and the files that are only pointers', async () => {
  const world = await createSyncWorld();
  await world.commit({
    '.gitattributes': '*.bin filter=lfs diff=lfs merge=lfs -text\n',
    'platform/01.redis/deploy.py': '',
    'platform/01.redis/dump.bin': POINTER,
    'platform/02.dashy/deploy.py': 'version 2\n',
  });
  await world.shell([
    'update-index',
    '--add',
    '--cacheinfo',
    `160000,${'1'.repeat(40)},platform/02.dashy/theme`,
  ]);
  await world.shell(['commit', '--quiet', '-m', 'Submodule']);
  await world.shell(['push', '--quiet', 'origin', 'HEAD:main']);
  const { id } = await world.ask({ trigger: { source: 'sync_api' }, input: { selection: { mode: 'all' } } });
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
  expect(await world.notices(id)).toEqual([
    'Submodules are not fetched, so these folders are empty: platform/02.dashy/theme. Let the task fetch them, or keep their files in this repository.',
    'Git LFS files are not fetched, so these are only pointers: platform/01.redis/dump.bin. Let the task fetch them (git lfs pull), or keep them in git.',
  ]);
});

it('a run without them has no such remark', async () => {
  const world = await createSyncWorld();
  await world.commit({ '.gitattributes': '*.py text\n', 'platform/01.redis/deploy.py': POINTER });
  const { id } = await world.ask({ trigger: { source: 'sync_api' }, input: { selection: { mode: 'all' } } });
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
  expect(await world.notices(id)).toEqual([]);
});
