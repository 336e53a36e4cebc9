import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startLoop } from './loop.ts';

describe('A loop', () => {
  it('goes on after an error, and reports it', async () => {
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

  it('that is stopped waits for the work that is under way, and reports an error of that work', async () => {
    const errors: unknown[] = [];
    let times = 0;
    let hasEnded = false;
    const { stop } = startLoop({
      firstMs: 0,
      pauseMs: () => 1,
      async work(signal) {
        times += 1;
        await sleep(60_000, undefined, { signal }).catch(() => undefined);
        hasEnded = true;
        throw new Error('The store is away.');
      },
      onError: (error) => errors.push(error),
    });
    await expect.poll(() => times).toBe(1);
    await stop();
    expect([times, hasEnded, errors]).toEqual([1, true, [new Error('The store is away.')]]);
  });

  it.each<[what: string, wait: (signal: AbortSignal) => Promise<unknown>]>([
    ['a function of Node', (signal) => sleep(60_000, undefined, { signal })],
    [
      'a check of the signal',
      async (signal) => {
        await sleep(60_000, undefined, { signal }).catch(() => undefined);
        signal.throwIfAborted();
      },
    ],
    ['a signal that follows it', (signal) => sleep(60_000, undefined, { signal: AbortSignal.any([signal]) })],
  ])('that is stopped says nothing of the error of %s', async (_what, wait) => {
    const errors: unknown[] = [];
    let hasStarted = false;
    const { stop } = startLoop({
      firstMs: 0,
      pauseMs: 1,
      work(signal) {
        hasStarted = true;
        return wait(signal);
      },
      onError: (error) => errors.push(error),
    });
    await expect.poll(() => hasStarted).toBe(true);
    await stop();
    expect(errors).toEqual([]);
  });

  it('rejects its stop with an error of the function that gets its errors', async () => {
    let hasStarted = false;
    const { stop } = startLoop({
      firstMs: 0,
      pauseMs: 1,
      async work(signal) {
        hasStarted = true;
        await sleep(60_000, undefined, { signal }).catch(() => undefined);
        throw new Error('The store is away.');
      },
      onError() {
        throw new Error('The log is full.');
      },
    });
    await expect.poll(() => hasStarted).toBe(true);
    await expect(stop()).rejects.toThrow('The log is full.');
  });
});
