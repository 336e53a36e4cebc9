/** Measures eight tasks of one second in one wave, four at a time. */

import type { Bench } from './bench.ts';
import { startBuilt, withFolder, writeTask } from './support/built-runner.ts';
import { generatePlatform } from './support/generated-platform.ts';
import { median, seconds, spread, times } from './support/statistics.ts';
import { timedRun } from './support/timed-run.ts';

const TASKS = 8;
const CONCURRENCY = 4;
const TASK_S = 1;
const ROUNDS = 5;

export const wave: Bench = {
  name: 'Independent services in parallel',
  method: `A forced sync runs ${TASKS} services of one wave with \`SYNC_CONCURRENCY=${CONCURRENCY}\`. Each task sleeps for ${TASK_S} s. The time begins when the request is sent, and ends when the end of the run is stored.`,
  run: () =>
    withFolder('wave', async (folder) => {
      const platform = await generatePlatform(folder, { services: TASKS, filesPerService: 2, waves: 1 });
      const invoke = await writeTask(folder, 'nap', `exec sleep ${TASK_S}`);
      const environment = { SYNC_CONCURRENCY: String(CONCURRENCY) };
      const runner = await startBuilt({ folder, repositoryPath: platform.path, invoke, environment });
      const took: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        took.push(await timedRun(runner, () => runner.signedPost('/sync', { all: true, force: true }), {}));
      }
      const boundMs = (TASKS / CONCURRENCY) * TASK_S * 1000;
      return [
        {
          measured: `${TASKS} tasks of ${TASK_S} s`,
          ours: spread(took, seconds),
          bound: `the tasks alone: ${seconds(boundMs)}`,
          ratio: times(median(took) / boundMs),
          aim: '≤ 2.5 s',
          met: median(took) <= 2_500,
        },
      ];
    }),
};
