/** Measures the restart after `kill -9` with a long queue, a look with nothing to do, and the size of the store. */

import { ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { processesMentioning } from '../e2e/support/processes.ts';
import { startRunner } from '../e2e/support/runner.ts';
import { until } from '../e2e/support/until.ts';
import { DEFAULT_RULES } from '../src/pipelines/rules/service-rules.ts';
import { digest, type Snapshot, snapshotAt } from '../src/pipelines/rules/snapshot.ts';
import { dueServices } from '../src/pipelines/selection/due-services.ts';
import { environmentLines } from '../src/pipelines/sync/config-hash.ts';
import { enqueueSync } from '../src/runs/enqueue.ts';
import type { RunEventBody } from '../src/runs/run-events.ts';
import type { RunStore } from '../src/runs/run-store.ts';
import { createSqliteStore } from '../src/stores/sqlite/sqlite-store.ts';
import type { Bench, Row } from './bench.ts';
import { fetchedMirror } from './selection.ts';
import { BUILT_PROGRAM, withFolder, writeTask } from './support/built-runner.ts';
import { generatePlatform } from './support/generated-platform.ts';
import { median, megabytes, seconds, spread, wholeMs } from './support/statistics.ts';

const QUEUED = 1_000;
const ROUNDS = 5;
const LOOKS = 20;
const LINES_PER_RUN = 200;

export const recovery: Bench = {
  name: 'Recovery, reconcile and size',
  method: `A server with ${QUEUED.toLocaleString('en-US')} queued runs behind a task that sleeps is killed by SIGKILL and started again, ${ROUNDS} times. The time begins with the start of the process, and ends with \`/health\` or with the first line of the task that runs again. The server ends the orphaned task before that. Reconcile means the fetch, the reading of the ledger, and the comparison of 1,000 services with nothing to do, in this process. Every process that it starts is counted, and must be git. The size is that of the store's file after ${QUEUED.toLocaleString('en-US')} runs of one service with ${LINES_PER_RUN} lines of 60 bytes each.`,
  run: async () => [
    ...(await withFolder('recovery', recover)),
    await withFolder('reconcile', reconcile),
    await withFolder('size', size),
  ],
};

async function recover(folder: string): Promise<Row[]> {
  const platform = await generatePlatform(folder, { services: 10, filesPerService: 2, waves: 1 });
  const starts = join(folder, 'starts');
  // The server asks for the version to see whether the program exists.
  const script = `[ "$1" = --version ] && exit\necho started >> ${starts}\nexec sleep 600`;
  const options = {
    folder,
    repositoryPath: platform.path,
    invoke: await writeTask(folder, 'sleeping-invoke', script),
    environment: { LOG_LEVEL: 'info', RETRY_LIMIT: '100' },
    program: BUILT_PROGRAM,
  };
  let runner = await startRunner(options);
  const body = { services: ['platform/service-00000'], force: true };
  const answers = await Promise.all(
    Array.from({ length: QUEUED + 1 }, () => runner.signedPost('/sync', body)),
  );
  const refused = answers.find(({ status }) => status !== 200);
  if (refused) throw new Error(`A run was not queued: ${JSON.stringify(refused.body)}`);
  await untilStarted(starts, 1);
  const serving: number[] = [];
  const working: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await runner.kill();
    const startedAt = performance.now();
    runner = await startRunner(options);
    serving.push(performance.now() - startedAt);
    await untilStarted(starts, round + 2);
    working.push(performance.now() - startedAt);
    const tasks = (await processesMentioning(folder)).filter(({ command }) => command === 'sleep 600');
    if (tasks.length !== 1) throw new Error(`${tasks.length} tasks run at once.`);
  }
  await runner.kill();
  return [
    row('`kill -9` with 1,000 queued runs → serving', serving, 1_000),
    row('`kill -9` with 1,000 queued runs → working', working, 2_000),
  ];
}

/** Each start of the task leaves a line. */
function untilStarted(starts: string, times: number): Promise<true> {
  return until(`task start ${times}`, async () => {
    const text = await readFile(starts, 'utf8').catch(() => '');
    return text.split('\n').length > times ? true : null;
  });
}

async function reconcile(folder: string): Promise<Row> {
  const platform = await generatePlatform(folder, { services: 1_000, filesPerService: 10, waves: 5 });
  const mirror = await fetchedMirror(folder, platform.path);
  const store = await createSqliteStore({ directory: join(folder, 'data') });
  const started = countProcesses();
  try {
    const scope = 'sync:main';
    await keepAsSynced(
      store,
      scope,
      await snapshotAt({ repository: mirror, rules: DEFAULT_RULES }, await platform.head()),
    );
    const look = { mirror, ledger: store.ledger, holds: store.holds, outside: null };
    const place = { lockPath: join(folder, '.sync.lock'), environment: null };
    const options = { ...look, ...place, taskEnvironment: {}, retries: 3, now: Date.now };
    const took: number[] = [];
    for (let round = -2; round < LOOKS; round += 1) {
      if (round === 0) started.programs.clear();
      const startedAt = performance.now();
      const { services, isNewBranch } = await dueServices(options, scope, new AbortController().signal);
      if (isNewBranch || services.length > 0)
        throw new Error(`Nothing should be due, but ${services.join(', ')}`);
      if (round >= 0) took.push(performance.now() - startedAt);
    }
    const [[program, count] = ['none', 0], ...others] = started.programs;
    if (others.length > 0) throw new Error(`Also started: ${others.map(([name]) => name).join(', ')}`);
    const processes = `${count / LOOKS} ${program} processes`;
    return row(`Reconcile of 1,000 services, nothing to do (${processes})`, took, 200);
  } finally {
    started.stop();
    await store.close();
  }
}

/** Counts the programs that this process starts from now on. */
function countProcesses(): { programs: Map<string, number>; stop(): void } {
  const programs = new Map<string, number>();
  const count = (message: unknown): void => {
    if (!(message instanceof Object && 'process' in message)) return;
    const child = message.process;
    if (!(child instanceof ChildProcess)) return;
    // The message comes before the start.
    child.once('spawn', () => {
      const name = basename(child.spawnfile);
      programs.set(name, (programs.get(name) ?? 0) + 1);
    });
  };
  subscribe('child_process', count);
  return { programs, stop: () => void unsubscribe('child_process', count) };
}

/** Stores a run that synced every service of the snapshot. */
async function keepAsSynced(store: RunStore, scope: string, { commit, services }: Snapshot): Promise<void> {
  await enqueueSync(store, {
    trigger: { source: 'sync_api' },
    input: { branch: 'main', selection: { mode: 'all' } },
  });
  const claim = await store.claim({ owner: 'bench', leaseMs: 60_000 });
  if (!claim) throw new Error('Nothing to claim.');
  const environment = digest(environmentLines({}));
  const steps = services.flatMap(({ id: step, folder, tree, shared }, position): RunEventBody[] => {
    const inputs = digest([folder, tree, shared, environment]);
    const ledger = { scope, service: step, folder, commit, tree, shared, inputs, configHash: null };
    return [
      { type: 'step.planned', step, position, wave: 1, message: 'It was requested.' },
      { type: 'step.started', step, command: ['invoke'], ledger },
      { type: 'step.finished', step, state: 'succeeded', message: 'Synced', exitCode: 0, ledger },
    ];
  });
  await store.append(claim.lease, [{ type: 'run.baseline', scope, commit }, ...steps]);
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
      { type: 'step.planned', step, position: 0, wave: 1, message: 'It was requested.' },
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
