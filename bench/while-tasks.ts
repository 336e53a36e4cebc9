/** Measures how fast and how soon pushes are accepted while short tasks start one after the other. */

import { z } from 'zod';
import { createPlatformRepository } from '../e2e/support/platform-repository.ts';
import type { Runner } from '../e2e/support/runner.ts';
import { WEBHOOK_SECRET } from '../e2e/support/runner-environment.ts';
import { pushBody, startPeer } from './accept.ts';
import type { Bench } from './bench.ts';
import { startBuilt, withFolder } from './support/built-runner.ts';
import { type Contender, compareRates, loadInTurn } from './support/contenders.ts';
import { startLoad } from './support/load.ts';
import { median, spread } from './support/statistics.ts';

const LOAD = { connections: 32, requests: 1_000, rounds: 5 };
const STEADY = { everyMs: 20, requests: 250, rounds: 5 };
const LEAST_RATIO = 0.6;
const MOST_MS = 30;

export const whileTasks: Bench = {
  name: 'Accepting pushes while tasks start',
  method: `The pushes of "Accepting pushes", sent to a server that runs \`true\` for one service after the other all the time: each forced sync of all services of the example platform is followed by the next. First ${LOAD.rounds} rounds of ${LOAD.requests.toLocaleString('en-US')} requests over ${LOAD.connections} connections, in turn with the bare server that does the same work and stores nothing. Then ${STEADY.rounds} rounds of ${STEADY.requests} pushes, one every ${STEADY.everyMs} ms, also when an earlier answer is late; latency counts from the time when a push was due.`,
  run: () =>
    withFolder('while-tasks', async (folder) => {
      const repository = await createPlatformRepository(folder);
      const environment = { QUEUE_LIMIT: '1000000', SYNC_CONCURRENCY: '1' };
      const invoke = ['true'];
      const runner = await startBuilt({ folder, repositoryPath: repository.path, invoke, environment });
      const port = Number(new URL(runner.url).port);
      const ours: Contender = { name: 'iac-runner', pid: runner.pid, port, results: [] };
      const peer = await startPeer('all');
      const load = await startLoad({ folder, secret: WEBHOOK_SECRET, body: await pushBody(repository) });
      const tasks = startTasks(runner);
      const p99: number[] = [];
      try {
        await loadInTurn(load, [ours, peer.contender], LOAD);
        for (let round = 0; round < STEADY.rounds; round += 1) {
          const { p99Ms } = await load.send({ port, connections: STEADY.requests, ...STEADY });
          p99.push(p99Ms);
        }
      } finally {
        load.end();
        peer.end();
        await tasks.end();
      }
      const { ratios, ...cells } = compareRates(ours, peer.contender);
      return [
        {
          measured: 'Pushes accepted per second',
          ...cells,
          aim: `≥ ${LEAST_RATIO}×`,
          met: median(ratios) >= LEAST_RATIO,
        },
        {
          measured: `A push every ${STEADY.everyMs} ms, p99`,
          ours: spread(p99, (ms) => `${ms.toFixed(1)} ms`),
          aim: `≤ ${MOST_MS} ms`,
          met: median(p99) <= MOST_MS,
        },
      ];
    }),
};

const acceptedSchema = z.object({ run_id: z.string() });

/** Keeps the server busy with tasks until it is ended. */
function startTasks(runner: Runner): { end(): Promise<void> } {
  let isOver = false;
  const work = async (): Promise<void> => {
    while (!isOver) {
      const { body } = await runner.signedPost('/sync', { all: true, force: true });
      await runner.waitForRun(acceptedSchema.parse(body).run_id, 'succeeded');
    }
  };
  const done = work();
  // The end throws what it failed with.
  done.catch(() => undefined);
  return {
    async end() {
      isOver = true;
      await done;
    },
  };
}
