import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { ReporterFailedError } from '../errors.ts';
import { createLifetime, type Lifetime } from './lifetime.ts';

const NAMES = ['store', 'server', 'worker', 'reconcile'];

function lifetime(): { life: Lifetime; said: string[] } {
  const said: string[] = [];
  const log = pino({ base: null }, { write: (line: string) => void said.push(line) });
  return { life: createLifetime(log), said };
}

/** Registers a release for each name. The one at `broken` behaves differently from the others. */
function registerAll(life: Lifetime, broken: number, instead: () => Promise<void> | void): string[] {
  const released: string[] = [];
  for (const [index, name] of NAMES.entries()) {
    life.onEnd(name, () => (index === broken ? instead() : void released.push(name)), 50);
  }
  return released;
}

describe('The end of a process', () => {
  it('releases everything in reverse, once', async () => {
    const { life } = lifetime();
    const released = registerAll(life, -1, () => undefined);
    expect(await Promise.all([life.end(), life.end()])).toEqual([true, true]);
    expect(released).toEqual(NAMES.toReversed());
  });

  it.each(NAMES.keys().toArray())('F13: releases all others when release %i throws', async (broken) => {
    const { life, said } = lifetime();
    const released = registerAll(life, broken, () => {
      throw new Error('cannot be closed');
    });
    expect(await life.end()).toBe(false);
    expect(released).toEqual(NAMES.filter((_, index) => index !== broken).toReversed());
    expect(said.join('')).toContain('cannot be closed');
    expect(said.join('')).toContain(NAMES[broken]);
  });

  it.each(NAMES.keys().toArray())('F13: releases all others when release %i never ends', async (broken) => {
    const { life, said } = lifetime();
    const released = registerAll(life, broken, () => new Promise(() => undefined));
    expect(await life.end()).toBe(false);
    expect(released).toEqual(NAMES.filter((_, index) => index !== broken).toReversed());
    expect(said.join('')).toContain('did not end within');
  });

  it('is announced before the first release, so that nothing starts any more', async () => {
    const { life } = lifetime();
    const seen: boolean[] = [];
    life.onEnd('one', () => void seen.push(life.ending.aborted));
    expect(life.ending.aborted).toBe(false);
    const ended = life.end();
    expect(life.ending.aborted).toBe(true);
    await ended;
    expect(seen).toEqual([true]);
  });

  it('releases at once what is acquired after it began', async () => {
    const { life } = lifetime();
    await life.end();
    const released = Promise.withResolvers<void>();
    life.onEnd('late', () => released.resolve());
    await released.promise;
  });

  it('waits for a start that goes on, and releases what that still acquires before the rest', async () => {
    const { life } = lifetime();
    const released: string[] = [];
    life.onEnd('store', () => void released.push('store'));
    const starting = Promise.withResolvers<void>();
    const ended = life.end(starting.promise);
    await new Promise(setImmediate);
    expect(released).toEqual([]);
    life.onEnd('worker', async () => {
      await new Promise(setImmediate);
      released.push('worker');
    });
    starting.reject(new Error('The start was given up.'));
    expect(await ended).toBe(true);
    expect(released).toEqual(['worker', 'store']);
  });

  it('comes when a part fails, with the first cause', async () => {
    const { life } = lifetime();
    life.fail(new Error('the writer is gone'));
    life.fail(new Error('and so is another'));
    expect(await life.failed).toMatchObject({ message: 'the writer is gone' });
  });

  it('says which failure it came for', async () => {
    const { life } = lifetime();
    const failure = new ReporterFailedError('The commit statuses cannot be sent because of a defect.');
    life.fail(failure);
    life.fail(new Error('and another part'));
    await life.end();
    expect(life.ending.reason).toBe(failure);
  });
});
