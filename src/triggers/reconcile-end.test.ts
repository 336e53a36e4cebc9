import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RunStore } from '../runs/run-store.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { type DueNow, startReconciler } from './timers/reconcile.ts';

let directory: string;
let store: RunStore;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-reconcile-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

it.each([true, false])(
  'Reconcile starts nothing that it found while it was stopped (first look at the branch: %s)',
  async (isNewBranch) => {
    const asked = Promise.withResolvers<void>();
    const answer = Promise.withResolvers<DueNow>();
    const reconciler = startReconciler({
      store,
      place: { repository: 'acme/platform', environment: null, branch: 'main' },
      intervalMs: 60_000,
      due: () => {
        asked.resolve();
        return answer.promise;
      },
      log: pino({ level: 'silent' }),
    });
    await asked.promise;
    const stopped = reconciler.stop();
    answer.resolve({
      head: 'a'.repeat(40),
      services: ['platform/redis'],
      postponed: [],
      isNewBranch,
      drifts: [],
      remarks: [],
    });
    await stopped;
    expect(await store.runs({ limit: 10 })).toEqual([]);
    expect(await store.ledger('sync:main')).toMatchObject({ baseline: null });
  },
);
