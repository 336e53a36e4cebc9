/**
 * Runs for `npm run bench:short`, which .ci/run calls. It fails when a ratio falls below 70 % of the recorded one in
 * three tries. CPU time and rates are compared with a peer in the same run, so that the load of the machine counts for
 * both.
 */

import { createPlatformRepository } from '../e2e/support/platform-repository.ts';
import { WEBHOOK_SECRET } from '../e2e/support/runner-environment.ts';
import { startPostgres, withoutPostgres } from '../src/stores/postgres/postgres-server.fixture.ts';
import { createPostgresStore } from '../src/stores/postgres/postgres-store.ts';
import { pushBody, startBusy, startPeer } from './accept.ts';
import { acceptedPerSecond, insertBarely } from './stores.ts';
import { withFolder } from './support/built-runner.ts';
import { startLoad } from './support/load.ts';
import { cpuMs } from './support/process-usage.ts';
import { median, times } from './support/statistics.ts';

const TRIES = 3;
const LEAST_SHARE = 0.7;
const ROUNDS = 3;
const LOAD = { connections: 32, requests: 1_000 };

interface Check {
  measured: string;
  /** The ratio when it was last measured; a higher one is better. Raise it when the program has become faster. */
  recorded: number;
  measure(): Promise<number>;
}

const CHECKS: readonly Check[] = [
  {
    measured: 'CPU time per push: the same work without a store, against iac-runner',
    recorded: 0.42,
    measure: compareCpu,
  },
  ...(withoutPostgres === null
    ? [
        {
          measured: 'Runs accepted by PostgreSQL, against one INSERT per commit',
          recorded: 0.5,
          measure: compareInserts,
        },
      ]
    : []),
];

/** Measures the CPU time of a bare server for each push, divided by ours, while a long task holds the branch. */
async function compareCpu(): Promise<number> {
  return withFolder('short', async (folder) => {
    const repository = await createPlatformRepository(folder);
    const runner = await startBusy(folder, repository);
    const peer = await startPeer('all');
    const load = await startLoad({ folder, secret: WEBHOOK_SECRET, body: await pushBody(repository) });
    const use = async (pid: number, port: number) => {
      const before = cpuMs(pid);
      await load.send({ ...LOAD, port });
      return cpuMs(pid) - before;
    };
    const ratios: number[] = [];
    try {
      // The first round only warms up.
      for (let round = 0; round <= ROUNDS; round += 1) {
        const ours = await use(runner.pid, Number(new URL(runner.url).port));
        const bare = await use(peer.contender.pid, peer.contender.port);
        if (round > 0) ratios.push(bare / ours);
      }
    } finally {
      load.end();
      peer.end();
    }
    return median(ratios);
  });
}

/** Measures the runs that PostgreSQL accepts in a second, divided by the bare rows that it takes. */
async function compareInserts(): Promise<number> {
  const server = await startPostgres();
  const ratios: number[] = [];
  try {
    for (let round = 0; round <= ROUNDS; round += 1) {
      const store = await createPostgresStore({ url: await server.createDatabase() });
      const ours = await acceptedPerSecond(store).finally(() => store.close());
      const ratio = ours / (await insertBarely(server));
      if (round > 0) ratios.push(ratio);
    }
  } finally {
    await server.remove();
  }
  return median(ratios);
}

/** Returns true as soon as the ratio is high enough in one of the tries. */
async function holds({ measured, recorded, measure }: Check): Promise<boolean> {
  const least = recorded * LEAST_SHARE;
  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    const ratio = await measure();
    console.log(`${measured}: ${times(ratio)} (at least ${times(least)}, recorded ${times(recorded)})`);
    if (ratio >= least) return true;
  }
  return false;
}

for (const check of CHECKS) {
  if (!(await holds(check))) {
    console.error(
      `${check.measured}: the ratio was too low in all ${TRIES} tries; the program has become slower.`,
    );
    process.exitCode = 1;
  }
}
