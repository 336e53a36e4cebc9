import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../errors.ts';
import type { RunStore } from '../runs/run-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { failAtCall } from './failing-store.fixture.ts';

let directory: string;
let store: RunStore;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-faults-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

describe('A store that fails at its n-th call', () => {
  it('fails at that call only, and works before and after it', async () => {
    const failing = failAtCall(store, 2);
    const { run } = await failing.store.enqueue(pushRequest());
    await expect(failing.store.run(run.id)).rejects.toThrow(StoreUnavailableError);
    expect(await failing.store.run(run.id)).toMatchObject({ id: run.id });
    expect(failing.failed()).toEqual(['run']);
    expect(failing.calls()).toBe(3);
  });

  it('can lose the answer of a successful call', async () => {
    const failing = failAtCall(store, 1, { afterwards: true });
    await expect(failing.store.enqueue(pushRequest())).rejects.toThrow(StoreUnavailableError);
    expect(await store.runs({ limit: 10 })).toHaveLength(1);
  });

  it('can fail until it is healed, and only in some of its methods', async () => {
    const error = new Error('lost');
    const failing = failAtCall(store, 1, { error, times: Number.POSITIVE_INFINITY, only: ['check'] });
    await failing.store.tally();
    await expect(failing.store.check()).rejects.toBe(error);
    await expect(failing.store.check()).rejects.toBe(error);
    failing.heal();
    await failing.store.check();
    expect(failing.failed()).toEqual(['check', 'check']);
  });

  it('passes changes on to watchers', async () => {
    const failing = failAtCall(store, Number.POSITIVE_INFINITY);
    const changed: string[] = [];
    failing.store.watch((runId) => changed.push(runId));
    const { run } = await failing.store.enqueue(pushRequest());
    expect(changed).toEqual([run.id]);
    expect(failing.failed()).toEqual([]);
  });
});
