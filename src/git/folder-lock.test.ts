import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
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

it('A folder lock lets one in at a time, in order, also after one that failed', async () => {
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

/** Starts a process that takes and releases the lock again and again. Its output is added to `lines`. */
function startHolder(directory: string, holdMs: number) {
  const inside = `${directory}.inside`;
  mkdirSync(inside, { recursive: true });
  const program = fileURLToPath(new URL('./lock-holder.fixture.ts', import.meta.url));
  const child: ChildProcess = spawn(process.execPath, [program, directory, `${holdMs}`, inside], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const lines: string[] = [];
  const held = Promise.withResolvers<void>();
  if (child.stdout) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      held.resolve();
    });
  }
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await ended;
  };
  onTestFinished(kill);
  return { lines, held: held.promise, kill, signal: (name: NodeJS.Signals) => child.kill(name) };
}

/** A lock of a process that nobody here can see, e.g. in another container. */
function lockFromElsewhere(directory: string): void {
  mkdirSync(`${directory}.lock`, { recursive: true });
  writeFileSync(path.join(`${directory}.lock`, '1.1.another-machine.token'), '');
}

it('A folder lock is free soon after its holder was killed, even if holders may be silent for long', async () => {
  const { directory, lock } = newLock({ waitMs: 30_000, staleMs: 600_000 });
  const holder = startHolder(directory, 600_000);
  await holder.held;
  await holder.kill();
  expect(await lock.hold(undefined, async () => 'ours')).toBe('ours');
});

it('A folder lock removes the files of processes that were killed while they took it', async () => {
  const { directory, lock } = newLock();
  mkdirSync(`${directory}.lock-abcdef`, { recursive: true });
  await lock.hold(undefined, async () => undefined);
  expect(readdirSync(path.dirname(directory))).toEqual([]);
});

it('A folder lock never lets two in while holders are killed', async () => {
  const { directory } = newLock();
  const all = [];
  for (let round = 0; round < 8; round += 1) {
    const holder = startHolder(directory, 1);
    all.push(holder);
    await holder.held;
    // Two holders continue. The oldest is killed, at whatever point it has reached.
    if (round >= 2) await all[round - 2]?.kill();
  }
  const lines = all.flatMap((holder) => holder.lines);
  expect(lines.length).toBeGreaterThan(8);
  expect(lines.filter((line) => line !== 'held')).toEqual([]);
});

it('A folder lock is lost by a process that was stopped for too long', async () => {
  const { directory, lock } = newLock({ waitMs: 30_000, staleMs: 2_000 });
  const holder = startHolder(directory, 600_000);
  await holder.held;
  holder.signal('SIGSTOP');
  expect(await lock.hold(undefined, async () => 'ours')).toBe('ours');
});

it('A folder lock aborts the work of a holder that loses it', async () => {
  const { directory, lock } = newLock({ staleMs: 400 });
  const lost = lock.hold(undefined, async (held) => {
    await new Promise((resolve) => held.addEventListener('abort', resolve));
    held.throwIfAborted();
  });
  while (!existsSync(`${directory}.lock`)) await new Promise((resolve) => setImmediate(resolve));
  rmSync(`${directory}.lock`, { recursive: true });
  lockFromElsewhere(directory);
  await expect(lost).rejects.toThrow(`The lock ${directory}.lock was taken by another process.`);
  // The lock belongs to another process by now, so it was not released.
  expect(readdirSync(`${directory}.lock`)).toEqual(['1.1.another-machine.token']);
});

it('A folder lock is kept when a clock has jumped', async () => {
  const { directory, lock } = newLock({ staleMs: 60_000 });
  lockFromElsewhere(directory);
  const longAgo = new Date(0);
  utimesSync(path.join(`${directory}.lock`, '1.1.another-machine.token'), longAgo, longAgo);
  await expect(lock.hold(undefined, async () => 'ours')).rejects.toThrow('is still held by another process');
});

it('A folder lock does not wait for ever for another process, and says which lock that is', async () => {
  const { directory, lock } = newLock();
  lockFromElsewhere(directory);
  const error = await lock.hold(undefined, () => Promise.resolve()).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(RunnerError);
  expect(error).toMatchObject({ message: `The lock ${directory}.lock is still held by another process.` });
});

it('A folder lock removes a cancelled caller from the queue at once, and keeps the others', async () => {
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
  // The first may have started by then. Only its own work knows how to stop.
  await first.catch(() => undefined);
  expect(await third).toBe('third');
  expect(ran).toBe(false);
});

it('A folder lock waits for work that has started, even if it is cancelled', async () => {
  const { lock } = newLock();
  const cancel = new AbortController();
  const started = Promise.withResolvers<void>();
  let done = false;
  const working = lock.hold(cancel.signal, async (held) => {
    started.resolve();
    await new Promise((resolve) => held.addEventListener('abort', resolve));
    await Promise.resolve();
    done = true;
    return 'saved';
  });
  await started.promise;
  cancel.abort();
  expect(await working).toBe('saved');
  expect(done).toBe(true);
});
