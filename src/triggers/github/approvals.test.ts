import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { enqueueSync } from '../../runs/enqueue.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { EXPIRED_BY, expireApprovals } from './approvals.ts';

const log = pino({ enabled: false });
const START = 1_800_000_000_000;

let directory: string;
let store: RunStore;
beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'iac-approvals-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

async function promote(environment: string, expiresAt: number): Promise<Run> {
  const { run } = await enqueueSync(store, {
    trigger: { source: 'promote_api' },
    approval: { subject: 'd'.repeat(64), expiresAt, message: 'Waiting for somebody to approve it' },
    input: {
      branch: 'main',
      repository: 'acme/platform',
      environment,
      intent: 'promote',
      revision: 'a'.repeat(40),
      selection: { mode: 'changed' },
    },
  });
  return run;
}

describe('The approval of a run that has not started', () => {
  it('expires at its time, also after a restart, and no other approval does', async () => {
    const early = await promote('production', START + 1_000);
    const late = await promote('staging', START + 2_000);
    const expireAt = (now: number) => expireApprovals({ store, now: () => now, log });
    await expireAt(START + 999);
    expect(await store.run(early.id)).toMatchObject({ state: 'awaiting_approval' });
    await store.close();
    store = await createSqliteStore({ directory });
    await expireAt(START + 1_000);
    expect(await store.run(early.id)).toMatchObject({
      state: 'cancelled',
      reason: 'approval_expired',
      attempt: 0,
      approvalExpiresAt: null,
    });
    expect(await store.latestEvent(early.id, 'run.decided')).toMatchObject({
      decision: 'expired',
      by: EXPIRED_BY,
    });
    expect(await store.run(late.id)).toMatchObject({ state: 'awaiting_approval' });
  });

  it('does not expire once somebody has given it', async () => {
    const run = await promote('production', START + 1_000);
    await store.decide(run.id, 'approved', 'ada');
    await expireApprovals({ store, now: () => START + 5_000, log });
    expect((await store.claim({ owner: 'worker:1', leaseMs: 60_000 }))?.run.id).toBe(run.id);
  });
});
