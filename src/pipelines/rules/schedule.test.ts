import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { type Scheduled, schedule } from './schedule.ts';

async function play(items: Scheduled[], limit: number, failing: string[] = []) {
  const began: string[] = [];
  const ended: string[] = [];
  const blocked: string[] = [];
  let running = 0;
  let most = 0;
  await schedule({
    items,
    limit,
    async work({ id }) {
      began.push(`${id} after ${[...ended].sort().join('+') || 'nothing'}`);
      running += 1;
      most = Math.max(most, running);
      await sleep(5);
      running -= 1;
      ended.push(id);
      return !failing.includes(id);
    },
    async onBlocked({ id }, by) {
      blocked.push(`${id} by ${by}`);
    },
  });
  return { began, ended, blocked, most };
}

function item(id: string, wave: number, ...needs: string[]): Scheduled {
  return { id, wave, needs };
}

describe('schedule', () => {
  it('ends a wave before it starts the next', async () => {
    const { began } = await play([item('c', 10), item('a', 1), item('b', 2)], 4);
    expect(began).toEqual(['a after nothing', 'b after a', 'c after a+b']);
  });

  it('never runs more than the limit at once, and does everything', async () => {
    const items = Array.from({ length: 9 }, (_, index) => item(`s${index}`, 1));
    const { ended, most } = await play(items, 3);
    expect(most).toBe(3);
    expect(ended).toHaveLength(9);
  });

  it('continues after a failure with the items that do not need it, also in later waves', async () => {
    const items = [item('a', 1), item('b', 1), item('c', 2, 'a'), item('d', 3, 'c'), item('e', 2)];
    const { ended, blocked } = await play(items, 4, ['a']);
    expect(ended.sort()).toEqual(['a', 'b', 'e']);
    expect(blocked).toEqual(['c by a', 'd by c']);
  });

  it('runs a needed item first inside a wave, and moves an item to a later wave that it needs', async () => {
    const { began } = await play([item('a', 1, 'b'), item('b', 1), item('x', 1, 'z'), item('z', 5)], 4);
    expect(began).toEqual(['b after nothing', 'a after b', 'z after a+b', 'x after a+b+z']);
  });

  it('ignores a need that is not part of the sync', async () => {
    expect((await play([item('a', 1, 'elsewhere')], 1)).ended).toEqual(['a']);
  });

  it('starts no other item after an error, and waits for the running ones', async () => {
    const ended: string[] = [];
    const work = schedule({
      items: [item('a', 1), item('b', 1), item('c', 1), item('d', 2)],
      limit: 2,
      async work({ id }) {
        if (id === 'a') throw new Error('broken');
        await sleep(20);
        ended.push(id);
        return true;
      },
      onBlocked: async () => {},
    });
    await expect(work).rejects.toThrow('broken');
    expect(ended).toEqual(['b']);
  });

  it('does nothing without items', async () => {
    expect((await play([], 1)).began).toEqual([]);
  });

  it('follows a chain of needs that is longer than the stack', async () => {
    const links = Array.from({ length: 6_000 }, (_, index) => item(`s${index}`, 0, `s${index + 1}`));
    const { began, blocked } = await play([...links, item('s6000', 7)], 4, ['s6000']);
    expect(began).toEqual(['s6000 after nothing']);
    expect(blocked).toHaveLength(links.length);
  });
});
