import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failAtCall } from '../faults/failing-store.fixture.ts';
import type { ReporterName } from '../runs/report.ts';
import type { RunStore } from '../runs/run-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { startRetention } from './retention.ts';

const DAY_MS = 86_400_000;

let directory: string;
let store: RunStore;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-retention-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

/** Prunes as if this many days had passed. */
function start(
  days: number,
  retentionDays: number,
  { from = store, reporters = [] }: { from?: RunStore; reporters?: ReporterName[] } = {},
) {
  const log = pino({ level: 'silent' });
  const retentionMs = retentionDays * DAY_MS;
  const now = (): number => Date.now() + days * DAY_MS;
  return startRetention({ store: from, retentionMs, reporters, now, log, firstMs: 1 });
}

async function endedRun(): Promise<string> {
  const { run } = await store.enqueue(pushRequest());
  await store.requestCancel(run.id, 'ada');
  return run.id;
}

async function left(): Promise<string[]> {
  return (await store.runs({ limit: 1_000 })).map(({ id }) => id);
}

describe('The retention', () => {
  it('deletes in small parts, and goes on as long as there is more', async () => {
    const ended = await Promise.all(Array.from({ length: 120 }, endedRun));
    const { run: waiting } = await store.enqueue(pushRequest());
    const counting = failAtCall(store, Number.POSITIVE_INFINITY, { only: ['prune'] });
    const retention = start(91, 90, { from: counting.store });
    await expect.poll(left).toEqual([waiting.id]);
    await retention.stop();
    expect(ended.length / 50).toBeLessThan(counting.calls());
  });

  it.each<[string, number, ReporterName[]]>([
    ['what is younger', 89, []],
    ['what a reporter at work still has to send', 91, ['commit-status']],
  ])('keeps %s', async (_what, days, reporters) => {
    const run = await endedRun();
    const counting = failAtCall(store, Number.POSITIVE_INFINITY, { only: ['prune'] });
    const retention = start(days, 90, { from: counting.store, reporters });
    await expect.poll(() => counting.calls()).toBe(1);
    await retention.stop();
    await store.check();
    expect(await left()).toEqual([run]);
  });

  it('keeps deliveries as long as GitHub lists them', async () => {
    const delivery = { deliveryId: 'd1', event: 'ping', decision: 'ignored', detail: 'A ping' } as const;
    await store.recordDelivery({ ...delivery, runId: null, request: null });
    const kept = async () => (await store.deliveries({ limit: 10 })).length;
    await endedRun();
    const early = start(3, 1);
    await expect.poll(left).toEqual([]);
    await early.stop();
    expect(await kept()).toBe(1);
    const late = start(5, 1);
    await expect.poll(kept).toBe(0);
    await late.stop();
  });

  it('survives a store that cannot be written, and stops at once', async () => {
    const run = await endedRun();
    const away = failAtCall(store, 1, { times: Number.POSITIVE_INFINITY });
    const retention = start(91, 90, { from: away.store });
    await expect.poll(() => away.calls()).toBe(1);
    await retention.stop();
    expect(away.calls()).toBe(1);
    expect(await left()).toEqual([run]);
  });
});
