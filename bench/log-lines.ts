/** Measures a million log lines through a run, against the same task writing to a file. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Runner } from '../e2e/support/runner.ts';
import type { Bench } from './bench.ts';
import { startBuilt, withFolder, writeTask } from './support/built-runner.ts';
import { generatePlatform } from './support/generated-platform.ts';
import { forgetPeak, memoryOf, peakRssBytes } from './support/process-usage.ts';
import { median, megabytes, seconds, spread, times } from './support/statistics.ts';
import { timedRun } from './support/timed-run.ts';

const LINES = 1_000_000;
const FEWER_LINES = LINES / 4;
const ROUNDS = 5;

export const logLines: Bench = {
  name: 'A million log lines',
  method: `A task prints ${LINES.toLocaleString('en-US')} numbered lines of 60 bytes (\`seq -f\`), and the time ends when the end of the run is stored. The bound is the same task, which writes to a file. Memory is the highest resident set during the run, minus that of the idle server. A run with a quarter of the lines comes before it, and shows whether the memory grows with the lines. There are ${ROUNDS} of each, in turn.`,
  run: () =>
    withFolder('log-lines', async (folder) => {
      const platform = await generatePlatform(folder, { services: 2, filesPerService: 2, waves: 1 });
      const print = `seq -f '%010.0f a line that a task prints on its way, sixty bytes.'`;
      // The service decides how much is printed.
      const script = `case "$1" in *00000.sync) exec ${print} ${FEWER_LINES} ;; *) exec ${print} ${LINES} ;; esac`;
      const invoke = await writeTask(folder, 'print', script);
      const environment = { LOG_LIMIT_MB: '200' };
      const runner = await startBuilt({ folder, repositoryPath: platform.path, invoke, environment });
      const idleBytes = memoryOf(runner.pid).rssBytes;
      const fewer: Measured[] = [];
      const all: Measured[] = [];
      const bareMs: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        fewer.push(await measure(runner, 'platform/service-00000'));
        all.push(await measure(runner, 'platform/service-00001'));
        bareMs.push(await toFile(folder, invoke[0]));
      }
      await checkComplete(runner, all.at(-1)?.runId ?? '', LINES);
      await runner.stop();
      const ms = all.map((run) => run.ms);
      const grown = (runs: Measured[]) => runs.map(({ peakBytes }) => peakBytes - idleBytes);
      const ratio = median(grown(all)) / median(grown(fewer));
      return [
        {
          measured: `${LINES.toLocaleString('en-US')} lines, wall time`,
          ours: spread(ms, seconds),
          bound: `to a file: ${spread(bareMs, seconds)}`,
          ratio: times(median(ms) / median(bareMs)),
        },
        {
          measured: 'Peak memory above idle',
          ours: spread(grown(all), megabytes),
          bound: `a quarter of the lines: ${spread(grown(fewer), megabytes)}`,
          ratio: times(ratio),
          aim: '≤ 2× for 4× the lines',
          met: ratio <= 2,
        },
      ];
    }),
};

interface Measured {
  ms: number;
  runId: string;
  peakBytes: number;
}

async function measure(runner: Runner, service: string): Promise<Measured> {
  forgetPeak(runner.pid);
  const request = () => runner.signedPost('/sync', { services: [service], force: true });
  const ms = await timedRun(runner, request, {});
  const runId = (await runner.runs())[0]?.run_id ?? '';
  return { ms, runId, peakBytes: peakRssBytes(runner.pid) };
}

/** A fast log that lost lines would not count. */
async function checkComplete(runner: Runner, runId: string, lines: number): Promise<void> {
  const answer = await runner.getJson(`/runs/${runId}/log`);
  const printed = String(answer.body)
    .split('\n')
    .filter((line) => /\d{10} a line that a task prints/.test(line)).length;
  if (printed !== lines) throw new Error(`The log has ${printed} lines, not ${lines}.`);
}

async function toFile(folder: string, task: string): Promise<number> {
  const startedAt = performance.now();
  await promisify(execFile)('sh', ['-c', '"$1" x > "$2"', 'sh', task, join(folder, 'output')]);
  return performance.now() - startedAt;
}
