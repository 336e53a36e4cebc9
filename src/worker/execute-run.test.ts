import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { MustEndError, ReporterFailedError, StoreUnavailableError } from '../errors.ts';
import { failAtCall } from '../faults/failing-store.fixture.ts';
import type { Outcome, PipelineContext, Pipelines } from '../pipelines/pipeline.ts';
import { nextActionOf } from '../runs/kinds/kinds.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { type ExecuteOptions, executeRun } from './execute-run.ts';

const SUCCESS: Outcome = { state: 'succeeded', reason: null, message: 'Done' };

let directory: string;
let store: RunStore;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-execute-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

async function claimed(leaseMs = 60_000): Promise<Claim> {
  await store.enqueue(pushRequest());
  const claim = await store.claim({ owner: 'one:1', leaseMs });
  if (!claim) throw new Error('Nothing to claim.');
  return claim;
}

async function never(): Promise<never> {
  throw new Error('Not this kind.');
}

function options(
  sync: (context: PipelineContext<'sync'>) => Promise<Outcome>,
  more: Partial<ExecuteOptions> = {},
): ExecuteOptions {
  const pipelines: Pipelines = { sync, preview: never, deploy: never, plan: never, command: never };
  const { signal } = new AbortController();
  const log = pino({ level: 'silent' });
  return { store, pipelines, leaseMs: 60_000, draining: signal, stopping: signal, log, ...more };
}

describe('executing a run', () => {
  it('survives a store that cannot be read, and notices a cancel when it works again', async () => {
    const claim = await claimed();
    let failures = 2;
    const failing: RunStore = {
      ...store,
      async run(id) {
        if (failures === 0) return store.run(id);
        failures -= 1;
        throw new StoreUnavailableError('The store is away.');
      },
    };
    await store.requestCancel(claim.run.id, 'ada');
    const waits = async ({ signal }: PipelineContext<'sync'>): Promise<Outcome> => {
      await sleep(60_000, undefined, { signal });
      return SUCCESS;
    };
    await executeRun(options(waits, { store: failing }), claim);
    expect(failures).toBe(0);
    expect(await store.run(claim.run.id)).toMatchObject({ state: 'cancelled' });
  });

  it('F22: gives a run up before its lease ends when that cannot be renewed, with time for its steps to end', async () => {
    const leaseMs = 2_000;
    const claim = await claimed(leaseMs);
    const away = failAtCall(store, 1, { times: Number.POSITIVE_INFINITY, only: ['renew'] });
    // Time passes only when the test says so, however busy the machine is.
    vi.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'],
    });
    onTestFinished(() => void vi.useRealTimers());
    const endsAt = performance.now() + leaseMs;
    let leftMs = 0;
    const waits = ({ signal }: PipelineContext<'sync'>): Promise<Outcome> =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          const reason: unknown = signal.reason;
          if (reason instanceof MustEndError) leftMs = endsAt - performance.now() - reason.endWithinMs;
          reject(reason);
        });
      });
    const execution = executeRun(options(waits, { store: away.store, leaseMs, isShared: true }), claim);
    await vi.advanceTimersByTimeAsync(leaseMs);
    await execution;
    expect(away.failed().length).toBeGreaterThan(1);
    expect(leftMs).toBeGreaterThan(0);
    // Somebody else's to end.
    expect(await store.run(claim.run.id)).toMatchObject({ state: 'running' });
  });

  /** A step that logs a line and succeeds when the test allows it. */
  function oneStep(before: () => Promise<void> | void) {
    return async ({ emit }: PipelineContext<'sync'>): Promise<Outcome> => {
      await emit({ type: 'step.planned', step: 'a', position: 0, wave: 0, message: '' });
      await emit({ type: 'step.started', step: 'a', command: ['true'], ledger: null });
      await before();
      await emit({ type: 'step.log', step: 'a', stream: 'stdout', lines: ['the last line'] });
      const ended = { type: 'step.finished', step: 'a', state: 'succeeded', message: 'Synced' } as const;
      await emit({ ...ended, exitCode: 0, ledger: null });
      return SUCCESS;
    };
  }

  /** Everything of the run but its own start. */
  async function stored(runId: string): Promise<RunEventBody['type'][]> {
    const events = await store.events(runId, { after: 0, limit: 100 });
    return events.map(({ type }) => type).filter((type) => !/queued|run.started|cancel_requested/.test(type));
  }
  const ALL_OF_ONE_STEP = ['step.planned', 'step.started', 'step.log', 'step.finished', 'run.finished'];

  it('stores how a run ended when the store was away for longer than the lease', async () => {
    const claim = await claimed();
    const away = failAtCall(store, 1, { times: Number.POSITIVE_INFINITY, only: ['append', 'renew'] });
    const waits = async ({ signal }: PipelineContext<'sync'>): Promise<Outcome> => {
      await sleep(60_000, undefined, { signal });
      return SUCCESS;
    };
    const leaseMs = 200;
    const execution = executeRun(options(waits, { store: away.store, leaseMs }), claim);
    await store.requestCancel(claim.run.id, 'ada');
    await expect.poll(() => away.failed().includes('append')).toBe(true);
    await sleep(3 * leaseMs);
    away.heal();
    await execution;
    expect(await store.run(claim.run.id)).toMatchObject({ state: 'cancelled', message: 'Cancelled by ada' });
  });

  it('keeps what a step did when the run is cancelled while that cannot be stored', async () => {
    const claim = await claimed();
    const away = failAtCall(store, 3, { times: Number.POSITIVE_INFINITY, only: ['append'] });
    const execution = executeRun(
      options(
        oneStep(async () => void (await store.requestCancel(claim.run.id, 'ada'))),
        { store: away.store },
      ),
      claim,
    );
    await expect.poll(() => away.failed().length).toBeGreaterThan(1);
    away.heal();
    await execution;
    expect(await stored(claim.run.id)).toEqual(ALL_OF_ONE_STEP);
    expect(await store.steps(claim.run.id)).toMatchObject([{ state: 'succeeded', message: 'Synced' }]);
    expect(await store.run(claim.run.id)).toMatchObject({ state: 'cancelled' });
  });

  it('does not call a run cancelled that had ended before the cancel', async () => {
    const claim = await claimed();
    const away = failAtCall(store, 4, { times: Number.POSITIVE_INFINITY, only: ['append'] });
    const execution = executeRun(
      options(
        oneStep(() => undefined),
        { store: away.store },
      ),
      claim,
    );
    await expect.poll(() => away.failed().length).toBeGreaterThan(0);
    await store.requestCancel(claim.run.id, 'ada');
    away.heal();
    await execution;
    expect(await stored(claim.run.id)).toEqual(ALL_OF_ONE_STEP);
    expect(await store.run(claim.run.id)).toMatchObject({ state: 'succeeded' });
  });

  it('leaves a run alone that another holder took over while the store was away', async () => {
    const claim = await claimed(1);
    const away = failAtCall(store, 4, { times: Number.POSITIVE_INFINITY, only: ['append', 'renew'] });
    const execution = executeRun(
      options(
        oneStep(() => undefined),
        { store: away.store },
      ),
      claim,
    );
    await expect.poll(() => away.failed().includes('append')).toBe(true);
    await store.takeBack({ all: false, maxAttempts: 9 });
    const other = await store.claim({ owner: 'two:2', leaseMs: 60_000 });
    away.heal();
    await execution;
    expect(other?.run.id).toBe(claim.run.id);
    expect(await store.run(claim.run.id)).toMatchObject({ state: 'running', attempt: 2 });
    expect(await stored(claim.run.id)).not.toContain('run.finished');
  });

  it('ends with the server when that stops while the store is away, and the run is taken back', async () => {
    const claim = await claimed();
    const away = failAtCall(store, 4, { times: Number.POSITIVE_INFINITY });
    const stopping = new AbortController();
    const more = { store: away.store, stopping: stopping.signal, lastWritesMs: 300 };
    const execution = executeRun(
      options(
        oneStep(() => undefined),
        more,
      ),
      claim,
    );
    await expect.poll(() => away.failed().includes('append')).toBe(true);
    stopping.abort();
    await execution;
    expect(await store.takeBack({ all: true, maxAttempts: 9 })).toEqual([claim.run.id]);
  });

  it('bounds what a run says, whatever it quotes', async () => {
    const claim = await claimed();
    const said = `🚀${'x'.repeat(250_000)}`;
    const speaks = async ({ emit }: PipelineContext<'sync'>): Promise<Outcome> => {
      await emit({ type: 'run.notice', level: 'warning', message: said });
      await emit({ type: 'step.planned', step: 'a', position: 0, wave: 0, message: said });
      const services = [{ service: 'a', folder: 'a', wave: 0, because: said, paths: [] }];
      const explanation = { revision: 'c', notes: [said], unmatched: [] };
      await emit({
        type: 'run.explained',
        explanation: {
          ...explanation,
          services: services.map((one) => ({ ...one, decision: 'invalid' as const })),
        },
      });
      return { state: 'failed', reason: 'rules_invalid', message: said };
    };
    await executeRun(options(speaks), claim);
    const run = await store.run(claim.run.id);
    expect(run?.message).toHaveLength(1_000);
    expect(run?.message).toMatch(/^🚀x+…$/u);
    const events = await store.events(claim.run.id, { after: 0, limit: 100 });
    expect(JSON.stringify(events).length).toBeLessThan(10_000);
  });

  describe('by a server that stops', () => {
    /** One attempt of a run whose step goes on until it is ended. */
    async function cutOff(begins: boolean, why?: Error): Promise<void> {
      const claim = await store.claim({ owner: 'one:1', leaseMs: 60_000 });
      if (!claim) throw new Error('Nothing to claim.');
      const [draining, stopping] = [new AbortController(), new AbortController()];
      const works = async ({ signal, emit }: PipelineContext<'sync'>): Promise<Outcome> => {
        await emit({ type: 'step.planned', step: 'a', position: 0, wave: 0, message: '' });
        if (begins) await emit({ type: 'step.started', step: 'a', command: ['sleep'], ledger: null });
        draining.abort(why);
        stopping.abort();
        await sleep(60_000, undefined, { signal }).catch(() => undefined);
        const ended = { type: 'step.finished', step: 'a', state: 'cancelled', message: 'Ended' } as const;
        if (begins) await emit({ ...ended, exitCode: null, ledger: null });
        throw signal.reason;
      };
      const more = { draining: draining.signal, stopping: stopping.signal };
      await executeRun(options(works, more), claim);
    }

    it('is handed back a few times while it works, and then ends with the next action', async () => {
      const { run } = await store.enqueue(pushRequest());
      for (let handBacks = 1; handBacks <= 5; handBacks += 1) {
        await cutOff(true);
        expect(await store.run(run.id)).toMatchObject({ state: 'queued', handBacks, attempt: 0 });
      }
      await cutOff(true);
      const ended = await store.run(run.id);
      expect(ended).toMatchObject({ state: 'errored', reason: 'handed_back_too_often' });
      expect(ended?.message).toContain('handed it back 5 times');
      expect(ended && nextActionOf(ended)).toContain('See whether a task of this run stops the server');
    });

    it('is handed back without a limit by servers that stop because a reporter failed', async () => {
      const { run } = await store.enqueue(pushRequest());
      const why = new ReporterFailedError('The commit statuses cannot be sent because of a defect.');
      for (let attempt = 1; attempt <= 8; attempt += 1) await cutOff(true, why);
      expect(await store.run(run.id)).toMatchObject({ state: 'queued', handBacks: 0, attempt: 0 });
    });

    it('is handed back without a limit if none of its steps had started', async () => {
      const { run } = await store.enqueue(pushRequest());
      for (let attempt = 1; attempt <= 8; attempt += 1) await cutOff(false);
      expect(await store.run(run.id)).toMatchObject({ state: 'queued', handBacks: 0, attempt: 0 });
    });
  });
});
