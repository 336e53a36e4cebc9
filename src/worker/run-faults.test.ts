/** A run ends with a true outcome, whichever call of its store, its command or its executor fails. */

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../errors.ts';
import type { Executor } from '../executor/executor.ts';
import { createLocalExecutor } from '../executor/local.ts';
import { failAtCall } from '../faults/failing-store.fixture.ts';
import type { Outcome, PipelineContext } from '../pipelines/pipeline.ts';
import type { ServiceToSync } from '../pipelines/sync/service-commands.ts';
import { syncService } from '../pipelines/sync/sync-service.ts';
import { isFinal, type Run } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { executeRun } from './execute-run.ts';

const STEP = 'platform/redis';
const LINES = ['one', 'two', 'three', 'four'];
const OUTPUT = LINES.map((line) => `echo ${line}; sleep 0.01`).join('\n');
const LEASE_MS = 400;
/** More than a run makes of any call. */
const MOST = 40;

let directory: string;
let store: RunStore;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-run-faults-'));
  store = await createSqliteStore({ directory });
});
afterAll(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

let folders: { checkout: string; tempDir: string };
beforeEach(async () => {
  const inside = (name: string) => mkdtemp(path.join(directory, name));
  folders = { checkout: await inside('checkout-'), tempDir: await inside('tasks-') };
});
afterEach(async () => {
  await rm(folders.checkout, { recursive: true });
  await rm(folders.tempDir, { recursive: true });
});

/** A sync of one service by a script, which the real executor runs, as the real pipeline does it. */
function pipelineOf(script: string, executor: Pick<Executor, 'run'>) {
  return async (context: PipelineContext<'sync'>): Promise<Outcome> => {
    await writeFile(path.join(folders.checkout, 'task'), script);
    await context.emit({ type: 'step.planned', step: STEP, position: 0, wave: 0, message: '' });
    const { scope, commit } = { scope: context.run.concurrencyGroup, commit: 'c'.repeat(40) };
    const place = { service: STEP, folder: STEP, tree: 't', shared: 's', inputs: 'i', configHash: 'h' };
    const outcome = await syncService(
      {
        executor,
        workspace: { directory: folders.checkout },
        tempDir: folders.tempDir,
        timeoutMs: 60_000,
        invokeCommand: ['/bin/sh', path.join(folders.checkout, 'task')],
        plumbing: { PATH: '/usr/bin:/bin' },
        mask: (text) => text,
      },
      context,
      {
        service: {
          id: STEP,
          rule: { match: '', task: 'sync' },
          captures: {},
          environment: '',
          folder: STEP,
        } as unknown as ServiceToSync['service'],
        environment: {},
        secrets: [],
        timeoutMs: null,
        ledger: { scope, commit, ...place },
      },
    ).finally(() => rm(path.join(folders.tempDir, context.run.id), { recursive: true, force: true }));
    return outcome.state === 'succeeded'
      ? { state: 'succeeded', reason: null, message: 'Synced' }
      : { state: 'failed', reason: 'step_failed', message: outcome.message };
  };
}

interface Attempt {
  store?: RunStore;
  script?: string;
  executor?: Pick<Executor, 'run'>;
}

/** Works on a new run until it has ended. Takes the run back and starts it again if necessary. */
async function workOn({ store: faulty = store, script = OUTPUT, executor }: Attempt): Promise<Run> {
  const { run } = await store.enqueue({ ...pushRequest(), concurrencyGroup: `sync:${crypto.randomUUID()}` });
  const never = async (): Promise<never> => {
    throw new Error('Not this kind.');
  };
  const sync = pipelineOf(script, executor ?? createLocalExecutor());
  const pipelines = { sync, preview: never, deploy: never, plan: never, command: never };
  const { signal } = new AbortController();
  const options = { store: faulty, pipelines, leaseMs: LEASE_MS, draining: signal, stopping: signal };
  await expect
    .poll(
      async () => {
        await store.takeBack({ all: false, maxAttempts: 9 });
        const claim = await store.claim({ owner: 'one:1', leaseMs: LEASE_MS });
        if (claim) await executeRun({ ...options, log: pino({ level: 'silent' }) }, claim);
        return (await store.run(run.id))?.finishedAt ?? null;
      },
      { interval: 50 },
    )
    .not.toBeNull();
  const ended = await store.run(run.id);
  if (!ended) throw new Error('The run is missing.');
  return ended;
}

/** Checks that nothing is open or left behind, and that the ledger agrees with the run. */
async function expectTruth(run: Run, because: string): Promise<void> {
  expect(isFinal(run.state), because).toBe(true);
  const steps = await store.steps(run.id);
  expect(
    steps.filter(({ state }) => state === 'pending' || state === 'running'),
    because,
  ).toEqual([]);
  const { entries } = await store.ledger(run.concurrencyGroup);
  const synced = entries.get(STEP)?.synced ?? null;
  // A run may fail by a defect although its step was done, but never the other way round.
  expect(synced !== null, because).toBe(steps[0]?.state === 'succeeded');
  if (run.state === 'succeeded') expect(synced, because).not.toBeNull();
  expect(await store.claim({ owner: 'two:2', leaseMs: 1 }), because).toBeNull();
  expect(await readdir(folders.tempDir), because).toEqual([]);
  expect(await processesOf(run), because).toEqual([]);
}

/** Finds the processes of a run by the entry in their environment. */
async function processesOf({ id }: Run): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const environments = await Promise.all(
    // A process that ends meanwhile has no environment.
    pids.map((pid) => readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')),
  );
  return pids.filter((_, index) => environments[index]?.split('\0').includes(`IAC_RUN_ID=${id}`));
}

/** The lines that the last attempt printed, as they are stored. */
async function storedLines({ id }: Run): Promise<string[]> {
  const events = await store.events(id, { after: 0, limit: 1_000 });
  const from = events.findLastIndex(({ type }) => type === 'step.started');
  return events.slice(from).flatMap((event) => (event.type === 'step.log' ? event.lines : []));
}

describe('A run', () => {
  it.each([
    ['is away', 'append', new StoreUnavailableError('The store is away.')],
    ['is away', 'run', new StoreUnavailableError('The store is away.')],
    ['is away', 'renew', new StoreUnavailableError('The store is away.')],
    ['has a defect', 'run', new Error('A defect.')],
    ['has a defect', 'renew', new Error('A defect.')],
  ] as const)('succeeds with every line although the store %s at its n-th %s', async (_what, only, error) => {
    for (let n = 1; n <= MOST; n += 1) {
      const faulty = failAtCall(store, n, { error, only: [only] });
      const run = await workOn({ store: faulty.store });
      await expectTruth(run, `call ${n}`);
      expect([run.state, run.attempt], `call ${n}`).toEqual(['succeeded', 1]);
      expect(await storedLines(run), `call ${n}`).toEqual(LINES);
      if (faulty.failed().length === 0) return;
    }
    throw new Error('The sweep has no end.');
  });

  it('ends, and keeps the lines it can, although the store refuses its n-th append for good', async () => {
    const states: string[] = [];
    for (let n = 1; n <= MOST; n += 1) {
      const faulty = failAtCall(store, n, { error: new Error('A defect.'), only: ['append'] });
      const run = await workOn({ store: faulty.store });
      await expectTruth(run, `append ${n}`);
      states.push(run.state);
      if (run.reason !== null) expect(run.reason, `append ${n}`).toBe('internal');
      if (faulty.failed().length === 0) break;
    }
    expect(states.at(-1)).toBe('succeeded');
    expect(states).toContain('errored');
  });

  it.each(['KILL', 'TERM', 'SEGV'])(
    'fails truthfully when its command dies by %s at its n-th line',
    async (signal) => {
      for (let n = 0; n <= LINES.length; n += 1) {
        const lines = LINES.slice(0, n);
        // The command leaves a process, which must not outlive the command.
        const script = [
          'sleep 300 &',
          ...lines.map((line) => `echo ${line}`),
          `kill -${signal} $$`,
          'sleep 300',
        ];
        const run = await workOn({ script: script.join('\n') });
        await expectTruth(run, `line ${n}`);
        expect([run.state, run.message], `line ${n}`).toEqual(['failed', `Killed by SIG${signal}`]);
        expect(await storedLines(run), `line ${n}`).toEqual(lines);
      }
    },
  );

  it('ends as a defect when the executor throws at its n-th event, with the lines before it', async () => {
    for (let n = 1; n <= MOST; n += 1) {
      let events = 0;
      const strike = (): void => {
        events += 1;
        if (events === n) throw new Error('The executor has a defect.');
      };
      const executor: Pick<Executor, 'run'> = {
        run: (command, hooks) =>
          createLocalExecutor().run(command, {
            onStart(identity) {
              strike();
              hooks.onStart(identity);
            },
            async onLines(stream, lines) {
              strike();
              await hooks.onLines(stream, lines);
            },
          }),
      };
      const run = await workOn({ executor });
      await expectTruth(run, `event ${n}`);
      const lines = await storedLines(run);
      expect(LINES.slice(0, lines.length), `event ${n}`).toEqual(lines);
      if (events < n) {
        expect([run.state, lines]).toEqual(['succeeded', LINES]);
        return;
      }
      expect([run.state, run.reason], `event ${n}`).toEqual(['errored', 'internal']);
    }
    throw new Error('The sweep has no end.');
  });
});
