/** Measures how fast pushes are accepted durably, against servers that accept the same pushes and store nothing. */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createPlatformRepository, type PlatformRepository } from '../e2e/support/platform-repository.ts';
import { buildPushPayload } from '../e2e/support/push-payload.ts';
import type { Runner } from '../e2e/support/runner.ts';
import { WEBHOOK_SECRET } from '../e2e/support/runner-environment.ts';
import { until } from '../e2e/support/until.ts';
import type { Bench, Row } from './bench.ts';
import { startBuilt, withFolder, writeTask } from './support/built-runner.ts';
import { type Contender, compareRates, loadInTurn } from './support/contenders.ts';
import { startLoad } from './support/load.ts';
import { median, spread } from './support/statistics.ts';

const CONNECTIONS = 32;
const REQUESTS = 3_000;
const ROUNDS = 9;
const BODY_BYTES = 8 * 1024;

export const accept: Bench = {
  name: 'Accepting pushes',
  method: `Signed pushes of ${BODY_BYTES / 1024} KB are sent over ${CONNECTIONS} connections. Each push has its own delivery id, and each connection sends the next push when the last one was answered. iac-runner sends every answer after the fsync of the commit that holds the run. The peers are bare Hono servers on @hono/node-server that store nothing. One does all the other work with our own functions (signature, parsing, paths to services, the same answer), and the other one only checks the signature. There are ${ROUNDS} rounds of ${REQUESTS.toLocaleString('en-US')} requests each, in turn, and ratios are taken within a round. The load generator shares the cores with the server that it loads.`,
  run: () =>
    withFolder('accept', async (folder) => {
      const repository = await createPlatformRepository(folder);
      const runner = await startBusy(folder, repository);
      const peers = [await startPeer('all'), await startPeer('hmac')];
      const load = await startLoad({ folder, secret: WEBHOOK_SECRET, body: await pushBody(repository) });
      const port = Number(new URL(runner.url).port);
      const ours: Contender = { name: 'iac-runner', pid: runner.pid, port, results: [] };
      const contenders = [ours, ...peers.map(({ contender }) => contender)];
      try {
        await loadInTurn(load, contenders, { connections: CONNECTIONS, requests: REQUESTS, rounds: ROUNDS });
      } finally {
        load.end();
        for (const { end } of peers) end();
      }
      return rows(ours, contenders.slice(1));
    }),
};

/** Starts a server whose first run holds the branch, so that every push is accepted and queued. */
export async function startBusy(folder: string, repository: PlatformRepository): Promise<Runner> {
  const invoke = await writeTask(folder, 'endless', 'exec sleep 600');
  // No queued run is worked on, and all of them are needed.
  const environment = { QUEUE_LIMIT: '1000000' };
  const runner = await startBuilt({ folder, repositoryPath: repository.path, invoke, environment });
  await runner.signedPost('/sync', { services: ['platform/postgres'] });
  await until('the run that holds the branch', async () =>
    (await runner.runs()).some(({ state, message }) => state === 'running' && message.startsWith('Syncing'))
      ? true
      : null,
  );
  return runner;
}

/** Returns GitHub's payload of a push that changes two services. The commit message makes it 8 KB long. */
export async function pushBody(repository: PlatformRepository): Promise<Buffer> {
  await repository.write('platform/01.redis/compose.yaml', 'services: {}\n');
  await repository.write('platform/04.dashy/conf.yml', 'title: Home\n');
  await repository.commit('Change two services');
  const pushed = await repository.push();
  const payload = await buildPushPayload({
    ...pushed,
    repository: { path: repository.path, fullName: 'acme/platform' },
  });
  const missing = BODY_BYTES - Buffer.byteLength(JSON.stringify(payload));
  const [commit] = payload.commits;
  if (missing < 0 || !commit) throw new Error(`The payload is ${-missing} bytes too long.`);
  commit.message += 'x'.repeat(missing);
  return Buffer.from(JSON.stringify(payload));
}

const PEERS = {
  all: 'same work, nothing stored',
  hmac: 'signature only',
  table: 'same work, one table',
} as const;

export async function startPeer(
  kind: keyof typeof PEERS,
): Promise<{ contender: Contender; end: () => void }> {
  const child = fork(join(import.meta.dirname, 'support/accept-peer.ts'), [kind, WEBHOOK_SECRET]);
  const [{ port }] = await once(child, 'message', { signal: AbortSignal.timeout(10_000) });
  return {
    contender: { name: PEERS[kind], pid: child.pid ?? 0, port, results: [] },
    end: () => child.disconnect(),
  };
}

function rows(ours: Contender, peers: Contender[]): Row[] {
  const cpu = (of: Contender): number[] => of.results.map(({ cpuMsPerRequest }) => cpuMsPerRequest);
  const ms = (value: number): string => `${value.toFixed(1)} ms`;
  const micros = (value: number): string => `${Math.round(value * 1000)} µs`;
  const compared = peers.map((peer, index): Row => {
    const { ratios, ...cells } = compareRates(ours, peer);
    const row: Row = { measured: 'Pushes accepted per second', ...cells };
    return index === 0 ? { ...row, aim: '≥ 0.6×', met: median(ratios) >= 0.6 } : row;
  });
  const [same] = peers;
  const p99 = ours.results.map(({ p99Ms }) => p99Ms);
  return [
    ...compared,
    {
      measured: `Latency at ${CONNECTIONS} connections, p50`,
      ours: spread(
        ours.results.map(({ p50Ms }) => p50Ms),
        ms,
      ),
      ...(same
        ? {
            bound: `${same.name}: ${spread(
              same.results.map(({ p50Ms }) => p50Ms),
              ms,
            )}`,
          }
        : {}),
    },
    {
      measured: `Latency at ${CONNECTIONS} connections, p99`,
      ours: spread(p99, ms),
      ...(same
        ? {
            bound: `${same.name}: ${spread(
              same.results.map(({ p99Ms }) => p99Ms),
              ms,
            )}`,
          }
        : {}),
      aim: '≤ 15 ms',
      met: Number.parseFloat(spread(p99, ms)) <= 15,
    },
    {
      measured: 'CPU time of the server per push',
      ours: spread(cpu(ours), micros),
      ...(same ? { bound: `${same.name}: ${spread(cpu(same), micros)}` } : {}),
    },
  ];
}
