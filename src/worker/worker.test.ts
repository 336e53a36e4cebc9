import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failAtCall } from '../faults/failing-store.fixture.ts';
import type { Outcome, PipelineContext } from '../pipelines/pipeline.ts';
import type { RunStore } from '../runs/run-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { startWorker, type Worker, type WorkerOptions } from './worker.ts';

const SUCCESS: Outcome = { state: 'succeeded', reason: null, message: 'Done' };

let directory: string;
let store: RunStore;
const workers: Worker[] = [];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-worker-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.drain()));
  await store.close();
  await rm(directory, { recursive: true });
});

async function never(): Promise<never> {
  throw new Error('Not this kind.');
}

type Sync = (context: PipelineContext<'sync'>) => Promise<Outcome>;

function start(sync: Sync, more: Partial<WorkerOptions> = {}): Worker {
  const worker = startWorker({
    store,
    pipelines: { sync, preview: never, deploy: never, plan: never, command: never },
    owner: 'one:1',
    limits: { sync: 4, preview: 1, deploy: 1, plan: 1, command: 1 },
    leaseMs: 60_000,
    drainTimeoutMs: 1_000,
    log: pino({ level: 'silent' }),
    ...more,
  });
  workers.push(worker);
  return worker;
}

async function enqueue(group: string): Promise<string> {
  return (await store.enqueue(pushRequest({ concurrencyGroup: group, coalesce: false }))).run.id;
}

const stateOf = async (id: string) => (await store.run(id))?.state;

describe('A worker', () => {
  it('claims nothing once the process has started to end, long before its turn to drain comes', async () => {
    const ending = new AbortController();
    start(async () => SUCCESS, { ending: ending.signal });
    const before = await enqueue('before');
    await expect.poll(() => stateOf(before)).toBe('succeeded');
    ending.abort();
    const after = await enqueue('after');
    // If the run were claimed, that would have been written before this.
    for (let i = 0; i < 20; i += 1) await store.check();
    expect(await stateOf(after)).toBe('queued');
  });

  it('claims nothing if the process started to end before the worker was started', async () => {
    const waiting = await enqueue('waiting');
    start(async () => SUCCESS, { ending: AbortSignal.abort() });
    // If the run were claimed, that would have been written before this.
    for (let i = 0; i < 20; i += 1) await store.check();
    expect(await stateOf(waiting)).toBe('queued');
  });

  it('hands back, without a start, a run whose claim was under way when the process started to end', async () => {
    const ending = new AbortController();
    const id = await enqueue('late');
    let started = 0;
    const claim: RunStore['claim'] = async (options) => {
      const answer = await store.claim(options);
      ending.abort();
      return answer;
    };
    const count: Sync = async () => {
      started += 1;
      return SUCCESS;
    };
    const worker = start(count, { store: { ...store, claim }, ending: ending.signal });
    await worker.drain();
    expect([started, await stateOf(id)]).toEqual([0, 'queued']);
  });

  it('asks for a run only when there may be one, not with each line that a task prints', async () => {
    const counted = failAtCall(store, Number.POSITIVE_INFINITY, { only: ['claim'] });
    const printing: Sync = async ({ emit }) => {
      await emit({ type: 'step.planned', step: 's', position: 0, wave: 0, message: '' });
      for (let i = 0; i < 200; i += 1) {
        await emit({ type: 'run.notice', level: 'info', message: `Line ${i}` });
      }
      return SUCCESS;
    };
    start(printing, { store: counted.store });
    for (const group of ['a', 'b', 'c']) await enqueue(group);
    const waiting = [await enqueue('a'), await enqueue('b')];
    for (const id of waiting) await expect.poll(() => stateOf(id)).toBe('succeeded');
    // Five runs, some empty answers after them, and one every five seconds on a slow machine.
    expect(counted.calls()).toBeLessThan(60);
  });

  it('reports that it cannot claim any more because of a defect', async () => {
    const failing = failAtCall(store, 1, { error: new Error('no such column'), only: ['claim'] });
    const failed = Promise.withResolvers<unknown>();
    start(async () => SUCCESS, { store: failing.store, onFailure: failed.resolve });
    expect(await failed.promise).toMatchObject({ message: 'no such column' });
  });

  it('brings every run to its end whichever call of the store fails', async () => {
    const emitting: Sync = async ({ emit }) => {
      await emit({ type: 'step.planned', step: 's', position: 0, wave: 0, message: '' });
      await emit({ type: 'step.started', step: 's', command: [], ledger: null });
      return SUCCESS;
    };
    for (let n = 1, isOver = false; !isOver; n += 1) {
      const failing = failAtCall(store, n);
      const ids = [await enqueue(`a-${n}`), await enqueue(`b-${n}`)];
      const worker = start(emitting, { store: failing.store });
      for (const id of ids) await expect.poll(() => stateOf(id)).toBe('succeeded');
      await worker.drain();
      isOver = failing.failed().length === 0;
    }
  });

  it('hands every run back whichever call of the store fails while it drains', async () => {
    for (let n = 1, isOver = false; !isOver; n += 1) {
      const id = await enqueue(`group-${n}`);
      const started = Promise.withResolvers<void>();
      const waiting: Sync = async ({ signal }) => {
        started.resolve();
        await sleep(60_000, undefined, { signal }).catch(() => undefined);
        signal.throwIfAborted();
        return SUCCESS;
      };
      const counted = failAtCall(store, Number.POSITIVE_INFINITY);
      let current = counted.store;
      const switched = new Proxy(store, { get: (_target, name: keyof RunStore) => current[name] });
      const worker = start(waiting, { store: switched, drainTimeoutMs: 1 });
      await started.promise;
      const failing = failAtCall(store, n);
      current = failing.store;
      await worker.drain();
      expect([n, await stateOf(id)]).toEqual([n, 'queued']);
      isOver = failing.failed().length === 0;
      await store.requestCancel(id, 'the test');
    }
  });
});
