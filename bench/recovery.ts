/** The worst day in numbers: back after `kill -9` with a long queue, a look with nothing to do, and the store's size. */

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type Runner, startRunner } from '../e2e/support/runner.ts';
import { until } from '../e2e/support/until.ts';
import { dueServices } from '../src/pipelines/due-services.ts';
import { enqueueSync } from '../src/runs/enqueue.ts';
import type { RunEventBody } from '../src/runs/run-events.ts';
import { createSqliteStore } from '../src/stores/sqlite-store/sqlite-store.ts';
import type { Bench, Row } from './bench.ts';
import { fetchedMirror, syncedLedger } from './selection.ts';
import { BUILT_PROGRAM, withFolder, writeTask } from './support/built-runner.ts';
import { generatePlatform } from './support/generated-platform.ts';
import { median, megabytes, seconds, spread, wholeMs } from './support/statistics.ts';

const QUEUED = 1_000;
const ROUNDS = 5;
const LINES_PER_RUN = 200;

export const recovery: Bench = {
  name: 'Recovery, reconcile and size',
  method: `A server with ${QUEUED.toLocaleString('en-US')} queued runs behind a task that sleeps is killed by SIGKILL and started again, ${ROUNDS} times: from the start of the process to \`/health\` and to the first run begun, the orphaned task ended in between. Reconcile: fetch and comparison of 1,000 services with nothing to do, in this process; it starts no process but git. Size: the store's file after ${QUEUED.toLocaleString('en-US')} runs of one service with ${LINES_PER_RUN} lines of 60 bytes each.`,
  run: async () => [
    ...(await withFolder('recovery', recover)),
    await withFolder('reconcile', reconcile),
    await withFolder('size', size),
  ],
};

async function recover(folder: string): Promise<Row[]> {
  const platform = await generatePlatform(folder, { services: 10, filesPerService: 2, waves: 1 });
  const options = {
    folder,
    repositoryPath: platform.path,
    invoke: await writeTask(folder, 'sleeping-invoke', 'exec sleep 600'),
    environment: { LOG_LEVEL: 'info', RETRY_LIMIT: '100' },
    program: BUILT_PROGRAM,
  };
  let runner = await startRunner(options);
  const body = { services: ['platform/service-00000'], force: true };
  await Promise.all(Array.from({ length: QUEUED + 1 }, () => runner.signedPost('/sync', body)));
  await untilBegun(runner);
  const serving: number[] = [];
  const working: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await runner.kill();
    const startedAt = performance.now();
    runner = await startRunner(options);
    serving.push(performance.now() - startedAt);
    await untilBegun(runner);
    working.push(performance.now() - startedAt);
  }
  await runner.kill();
  return [
    row('`kill -9` with 1,000 queued runs → serving', serving, 1_000),
    row('`kill -9` with 1,000 queued runs → working', working, 2_000),
  ];
}

function untilBegun(runner: Runner): Promise<true> {
  return until('a run to begin', async () =>
    runner.logs().some(({ msg }) => msg === 'run started') ? true : null,
  );
}

async function reconcile(folder: string): Promise<Row> {
  const platform = await generatePlatform(folder, { services: 1_000, filesPerService: 10, waves: 5 });
  const mirror = await fetchedMirror(folder, platform.path);
  const ledger = await syncedLedger(mirror, await platform.head());
  const look = {
    mirror,
    workspaceDir: folder,
    ledger: async () => ledger,
    taskEnvironment: {},
    retries: 3,
    now: Date.now,
  };
  const took: number[] = [];
  for (let round = -2; round < 20; round += 1) {
    const startedAt = performance.now();
    const { services } = await dueServices(
      { ...look, outside: null },
      'sync:main',
      new AbortController().signal,
    );
    if (services.length > 0) throw new Error(`Nothing should be due, but ${services.join(', ')} is.`);
    if (round >= 0) took.push(performance.now() - startedAt);
  }
  return row('Reconcile of 1,000 services, nothing to do', took, 200);
}

async function size(folder: string): Promise<Row> {
  const store = await createSqliteStore({ directory: folder });
  const line = 'x'.repeat(60);
  const step = 'platform/service-00000';
  for (let run = 0; run < QUEUED; run += 1) {
    await enqueueSync(store, {
      trigger: { source: 'sync_api' },
      input: { branch: 'main', selection: { mode: 'services', services: [step] } },
    });
    const claim = await store.claim({ owner: 'bench', leaseMs: 60_000 });
    if (!claim) throw new Error('Nothing to claim.');
    const events: RunEventBody[] = [
      { type: 'step.planned', step, position: 0, wave: 1, message: 'Asked for.' },
      { type: 'step.started', step, command: ['invoke', 'service-00000.sync'], ledger: null },
      { type: 'step.log', step, stream: 'stdout', lines: Array.from({ length: LINES_PER_RUN }, () => line) },
      { type: 'step.finished', step, state: 'succeeded', message: 'Synced', exitCode: 0, ledger: null },
      { type: 'run.finished', state: 'succeeded', reason: null, message: 'Done', coveredBy: null },
    ];
    await store.append(claim.lease, events);
  }
  await store.close();
  const bytes = statSync(join(folder, 'iac-runner.db')).size;
  const text = QUEUED * LINES_PER_RUN * (line.length + 1);
  return {
    measured: 'Store after 1,000 runs',
    ours: megabytes(bytes),
    bound: `the text of their logs: ${megabytes(text)}`,
    ratio: `${(bytes / text).toFixed(2)}×`,
  };
}

function row(measured: string, took: readonly number[], aimMs: number): Row {
  const show = aimMs >= 1_000 ? seconds : wholeMs;
  return { measured, ours: spread(took, show), aim: `≤ ${show(aimMs)}`, met: median(took) <= aimMs };
}
