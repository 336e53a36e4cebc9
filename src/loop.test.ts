import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startLoop } from './loop.ts';

describe('A loop', () => {
  it('goes on after an error, and hears of it', async () => {
    const errors: unknown[] = [];
    let times = 0;
    const { stop } = startLoop({
      firstMs: 0,
      pauseMs: 1,
      async work() {
        times += 1;
        if (times === 1) throw new Error('the first time');
      },
      onError: (error) => errors.push(error),
    });
    await expect.poll(() => times).toBeGreaterThan(2);
    await stop();
    expect(errors).toEqual([new Error('the first time')]);
  });

  it('that is stopped waits for the work that is under way, and says nothing of an error then', async () => {
    const errors: unknown[] = [];
    let hasEnded = false;
    let hasStarted = false;
    const { stop } = startLoop({
      firstMs: 0,
      pauseMs: () => 1,
      async work(signal) {
        hasStarted = true;
        await sleep(60_000, undefined, { signal }).catch(() => undefined);
        hasEnded = true;
        throw new Error('It was stopped.');
      },
      onError: (error) => errors.push(error),
    });
    await expect.poll(() => hasStarted).toBe(true);
    await stop();
    expect([hasEnded, errors]).toEqual([true, []]);
  });
});
