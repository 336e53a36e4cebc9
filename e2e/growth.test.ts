/** F40c: the disk usage after many runs. GROWTH_RUNS sets the number of runs; the default is 20. */

import { randomBytes } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { appendLine } from './support/platform-services.ts';
import { pushRun } from './support/pushed-run.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';

const RUNS = Number(process.env.GROWTH_RUNS ?? 20);
const MIB = 1024 * 1024;
/** The size of a file that cannot be compressed and that no commit changes. */
const LARGE_FILE = 5 * MIB;
/** The size of a run that runs one service, with its events and log, and the objects of its commit. */
const BYTES_PER_RUN = 48 * 1024;
/** Git merges its packs when there are more. */
const MAX_PACKS = 40;

interface Usage {
  bytes: number;
  /** The files outside of the store. */
  files: string[];
}

async function usageOf(stage: Stage): Promise<Usage> {
  let bytes = 0;
  const files: string[] = [];
  for (const name of ['data', 'workspace', 'tmp']) {
    const folder = join(stage.folder, name);
    for (const entry of await readdir(folder, { recursive: true })) {
      const found = await stat(join(folder, entry)).catch(() => null);
      if (!found?.isFile()) continue;
      bytes += found.size;
      if (!/^(iac-runner\.db|owner\.lock)/.test(entry)) files.push(join(name, entry));
    }
  }
  return { bytes, files };
}

it(`F40c: a server with a 5 MiB repository needs more space only for its runs and its history, in ${RUNS} runs`, {
  timeout: 240_000 + RUNS * 10_000,
}, async () => {
  const stage = await setTestStage('growth');
  await stage.repository.write('platform/04.dashy/picture.bin', randomBytes(LARGE_FILE));
  const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '0' } });
  async function push(): Promise<void> {
    await appendLine(stage.repository, 'platform/04.dashy/conf.yml', `# ${Date.now()}`);
    const { runId } = await pushRun(stage, runner);
    await runner.waitForRun(runId, 'succeeded');
  }
  await push();
  const before = await usageOf(stage);
  // The file is in the mirror and in the checkout, which borrows the mirror's objects.
  expect(before.bytes).toBeGreaterThan(2 * LARGE_FILE);
  expect(before.bytes).toBeLessThan(3 * LARGE_FILE);
  for (let run = 0; run < RUNS; run += 1) await push();
  const after = await usageOf(stage);
  const grown = after.bytes - before.bytes;
  console.log(`${RUNS} runs: ${Math.round(grown / RUNS)} bytes each, ${after.files.length} files`);
  // While packs are merged, the file exists once more, and the store's log may have 16 MiB.
  expect(grown).toBeLessThan(RUNS * BYTES_PER_RUN + 5 * MIB);
  // A pack has up to three files.
  expect(after.files.length - before.files.length).toBeLessThanOrEqual(3 * MAX_PACKS + 3);
  expect(after.files.filter((file) => /\.lock$|tmp_|\.new-|\.old-|^tmp\//.test(file))).toEqual([]);
});
