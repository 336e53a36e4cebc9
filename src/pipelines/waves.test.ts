import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { atMost, waves } from './waves.ts';

describe('waves', () => {
  it('groups by number, lowest first, and keeps the order inside', () => {
    const items = [10, 2, 1, 2].map((wave, index) => ({ wave, index }));
    expect(waves(items).map((wave) => wave.map(({ index }) => index))).toEqual([[2], [1, 3], [0]]);
  });
});

describe('atMost', () => {
  it('never has more than the limit under way and does everything', async () => {
    let running = 0;
    let most = 0;
    const done: number[] = [];
    await atMost(3, [1, 2, 3, 4, 5, 6, 7, 8], async (item) => {
      running += 1;
      most = Math.max(most, running);
      await sleep(5);
      running -= 1;
      done.push(item);
    });
    expect(most).toBe(3);
    expect(done.sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it('begins no more after a failure, and waits for what is under way', async () => {
    const ended: number[] = [];
    const work = atMost(2, [1, 2, 3, 4], async (item) => {
      if (item === 1) throw new Error('one');
      await sleep(20);
      ended.push(item);
    });
    await expect(work).rejects.toThrow('one');
    expect(ended).toEqual([2]);
  });
});
