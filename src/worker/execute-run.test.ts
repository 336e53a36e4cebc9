import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MustEndError, StoreUnavailableError } from '../errors.ts';
import type { Outcome, PipelineContext, Pipelines } from '../pipelines/pipeline.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { createSqliteStore } from '../stores/sqlite-store/sqlite-store.ts';
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
  it('survives a store that cannot be read, and sees then that it is cancelled', async () => {
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
    const startedAt = performance.now();
    const cut: RunStore = {
      ...store,
      async renew() {
        throw new StoreUnavailableError('The store is away.');
      },
    };
    let leftMs = 0;
    const waits = async ({ signal }: PipelineContext<'sync'>): Promise<Outcome> => {
      await sleep(60_000, undefined, { signal }).catch(() => undefined);
      const reason: unknown = signal.reason;
      if (reason instanceof MustEndError) {
        leftMs = startedAt + leaseMs - performance.now() - reason.endWithinMs;
      }
      signal.throwIfAborted();
      return SUCCESS;
    };
    await executeRun(options(waits, { store: cut, leaseMs, isShared: true }), claim);
    expect(leftMs).toBeGreaterThan(0);
    // Somebody else's to end.
    expect(await store.run(claim.run.id)).toMatchObject({ state: 'running' });
  });
});
