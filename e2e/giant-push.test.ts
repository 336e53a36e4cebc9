/** F40b: a push as large as GitHub allows. */

import { expect, it } from 'vitest';
import { git } from './support/git.ts';
import { syncedAt } from './support/platform-services.ts';
import { acceptedRun } from './support/run-actions.ts';
import { memoryOf } from './support/server-memory.ts';
import { setTestStage } from './support/test-stage.ts';

const COMMITS = 5_000;
const FILES_PER_COMMIT = 4;
const MEMORY_MIB = 400;

/**
 * Returns the input of git fast-import: commits that add files to one service and to no service, in folders of a
 * hundred files.
 */
function* stream(parent: string): Generator<string> {
  for (let index = 0; index < COMMITS; index += 1) {
    const message = `Data ${index}`;
    yield `commit refs/heads/main\ncommitter T <t@example.com> 0 +0000\ndata ${message.length}\n${message}\n`;
    if (index === 0) yield `from ${parent}\n`;
    for (let file = 0; file < FILES_PER_COMMIT; file += 1) {
      const folder = file === 0 ? 'platform/02.minio/data' : `notes/${file}`;
      yield `M 100644 inline ${folder}/${Math.floor(index / 100)}/${index}.txt\ndata 2\n${index % 10}\n\n`;
    }
  }
}

it('F40b: a push of 5,000 commits and 20,000 files is answered in time, with the right services and bounded memory', async () => {
  const stage = await setTestStage('giant-push');
  const runner = await stage.start();
  const parent = await stage.repository.head();
  await git(stage.repository.clone, ['fast-import', '--quiet', '--force'], [...stream(parent)].join(''));
  const head = await git(stage.repository.clone, ['rev-parse', 'refs/heads/main']);
  const files = await git(stage.repository.clone, ['ls-tree', '-r', '--name-only', head]);
  expect(files.split('\n').length).toBeGreaterThan(COMMITS * FILES_PER_COMMIT);
  // The sender waits as long as GitHub does, so an answer has arrived in time.
  const delivery = await stage.push(runner);
  const run = await runner.waitForRun(acceptedRun(delivery), 'succeeded');
  expect(run).toMatchObject({ revision: head, message: '1 service(s) synced successfully' });
  expect(await syncedAt(stage.journal, head)).toEqual(['platform/minio']);
  expect((await memoryOf(runner.pid)).peakMib).toBeLessThan(MEMORY_MIB);
});
