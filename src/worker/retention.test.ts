import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import type { RunStore } from '../runs/run-store.ts';
import { startRetention } from './retention.ts';

const DAY_MS = 86_400_000;
const NOW = 1_000 * DAY_MS;

function start(prune: RunStore['prune'], retentionDays: number) {
  const log = pino({ level: 'silent' });
  const reporters = ['commit-status'] as const;
  const retentionMs = retentionDays * DAY_MS;
  return startRetention({ store: { prune }, retentionMs, reporters, now: () => NOW, log, firstMs: 1 });
}

describe('The retention', () => {
  it('goes on as long as there is more, also after a failure at the start of the next time', async () => {
    const asked: Parameters<RunStore['prune']>[0][] = [];
    const retention = start(async (options) => asked.push(options) < 5, 90);
    await expect.poll(() => asked.length).toBe(5);
    expect(new Set(asked.map(({ before }) => before))).toEqual(new Set([NOW - 90 * DAY_MS]));
    expect(asked[0]).toMatchObject({ deliveriesBefore: NOW - 90 * DAY_MS, reporters: ['commit-status'] });
    await retention.stop();
  });

  it('keeps deliveries as long as GitHub lists them', async () => {
    const asked: number[] = [];
    const retention = start(async ({ deliveriesBefore }) => asked.push(deliveriesBefore) < 1, 1);
    await expect.poll(() => asked).toEqual([NOW - 4 * DAY_MS]);
    await retention.stop();
  });

  it('survives a store that cannot be written, and stops at once', async () => {
    let calls = 0;
    const retention = start(async () => {
      calls += 1;
      throw new Error('The disk is full.');
    }, 90);
    await expect.poll(() => calls).toBe(1);
    await retention.stop();
    expect(calls).toBe(1);
  });
});
