/** A million log lines through a run, against the same task writing to a file. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Runner } from '../e2e/support/runner.ts';
import type { Bench } from './bench.ts';
import { startBuilt, withFolder, writeTask } from './support/built-runner.ts';
import { generatePlatform } from './support/generated-platform.ts';
import { forgetPeak, memoryOf, peakRssBytes } from './support/process-usage.ts';
import { megabytes, seconds, times } from './support/statistics.ts';
import { timedRun } from './support/timed-run.ts';

const LINES = 1_000_000;
const FEWER_LINES = LINES / 4;

export const logLines: Bench = {
  name: 'A million log lines',
  method: `A task that prints ${LINES.toLocaleString('en-US')} numbered lines of 60 bytes (\`seq -f\`), to the run's stored end; the bound is the same task writing to a file. Memory is the highest resident set during the run less the one before it; a run of a quarter of the lines shows whether it grows with them.`,
  run: () =>
    withFolder('log-lines', async (folder) => {
      const platform = await generatePlatform(folder, { services: 2, filesPerService: 2, waves: 1 });
      const print = `seq -f '%010.0f a line that a task prints on its way, sixty bytes.'`;
      // The service tells how much is to be printed.
      const script = `case "$1" in *00000.sync) exec ${print} ${FEWER_LINES} ;; *) exec ${print} ${LINES} ;; esac`;
      const invoke = await writeTask(folder, 'print', script);
      const environment = { LOG_LIMIT_MB: '200' };
      const runner = await startBuilt({ folder, repositoryPath: platform.path, invoke, environment });
      const fewer = await measure(runner, 'platform/service-00000', FEWER_LINES);
      const all = await measure(runner, 'platform/service-00001', LINES);
      const bareMs = await toFile(folder, invoke[0]);
      await runner.stop();
      const flat = all.grownBytes < 2 * fewer.grownBytes;
      return [
        {
          measured: `${LINES.toLocaleString('en-US')} lines, wall time`,
          ours: seconds(all.ms),
          bound: `to a file: ${seconds(bareMs)}`,
          ratio: times(all.ms / bareMs),
        },
        {
          measured: 'Peak memory above idle',
          ours: megabytes(all.grownBytes),
          bound: `a quarter of the lines: ${megabytes(fewer.grownBytes)}`,
          ratio: times(all.grownBytes / fewer.grownBytes),
          aim: 'does not grow with the lines',
          met: flat,
        },
      ];
    }),
};

async function measure(runner: Runner, service: string, lines: number) {
  const before = memoryOf(runner.pid).rssBytes;
  forgetPeak(runner.pid);
  const request = () => runner.signedPost('/sync', { services: [service], force: true });
  const ms = await timedRun(runner, request, {});
  const grownBytes = peakRssBytes(runner.pid) - before;
  await checkComplete(runner, service, lines);
  return { ms, grownBytes };
}

/** A fast log that lost lines would be no result. */
async function checkComplete(runner: Runner, service: string, lines: number): Promise<void> {
  const newest = (await runner.runs())[0];
  if (!newest) throw new Error('There is no run.');
  const answer = await runner.getJson(`/runs/${newest.run_id}/log`);
  const text = String(answer.body);
  const printed = text.split('\n').filter((line) => /\d{10} a line that a task prints/.test(line)).length;
  if (printed !== lines) throw new Error(`The log of ${service} has ${printed} lines, not ${lines}.`);
}

async function toFile(folder: string, task: string): Promise<number> {
  const startedAt = performance.now();
  await promisify(execFile)('sh', ['-c', '"$1" x > "$2"', 'sh', task, join(folder, 'output')]);
  return performance.now() - startedAt;
}
