import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { RunnerError } from '../errors.ts';
import { createFolderLock } from './folder-lock.ts';

function newLock(more: { waitMs?: number; staleMs?: number } = {}) {
  const folder = mkdtempSync(path.join(tmpdir(), 'iac-lock-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const directory = path.join(folder, 'sub', 'cache');
  const fail = (message: string, details: { nextAction: string; cause: unknown }): Error =>
    new RunnerError(message, details);
  return { directory, lock: createFolderLock({ directory, waitMs: 600, ...more, fail }) };
}

it('lets one in at a time, in order, also after one that failed', async () => {
  const { directory, lock } = newLock();
  const order: string[] = [];
  const work = (name: string) => async (): Promise<string> => {
    order.push(`${name} in`);
    expect(existsSync(`${directory}.lock`)).toBe(true);
    await Promise.resolve();
    order.push(`${name} out`);
    if (name === 'b') throw new Error('b failed');
    return name;
  };
  const all = await Promise.allSettled(['a', 'b', 'c'].map((name) => lock.hold(undefined, work(name))));
  expect(all.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(order).toEqual(['a in', 'a out', 'b in', 'b out', 'c in', 'c out']);
  expect(existsSync(`${directory}.lock`)).toBe(false);
});

it('does not wait for ever for another process, and says which lock that is', async () => {
  const { directory, lock } = newLock();
  mkdirSync(`${directory}.lock`, { recursive: true });
  const error = await lock.hold(undefined, () => Promise.resolve()).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(RunnerError);
  expect(error).toMatchObject({ message: `The lock ${directory}.lock stayed with another process.` });
});

it('lets whoever is cancelled leave the queue at once, and nobody else', async () => {
  const { lock } = newLock();
  const gate = Promise.withResolvers<void>();
  const cancel = new AbortController();
  let ran = false;
  const first = lock.hold(cancel.signal, () => gate.promise.then(() => 'first'));
  const second = lock.hold(cancel.signal, async () => {
    ran = true;
  });
  const third = lock.hold(undefined, async () => 'third');
  cancel.abort(new Error('cancelled'));
  await expect(second).rejects.toThrow('cancelled');
  gate.resolve();
  // The first had begun by then or not; it alone knows how to stop.
  await first.catch(() => undefined);
  expect(await third).toBe('third');
  expect(ran).toBe(false);
});

it('waits for work that has begun, though it is cancelled', async () => {
  const { lock } = newLock();
  const cancel = new AbortController();
  const begun = Promise.withResolvers<void>();
  let done = false;
  const working = lock.hold(cancel.signal, async (held) => {
    begun.resolve();
    await new Promise((resolve) => held.addEventListener('abort', resolve));
    await Promise.resolve();
    done = true;
    return 'saved';
  });
  await begun.promise;
  cancel.abort();
  expect(await working).toBe('saved');
  expect(done).toBe(true);
});
