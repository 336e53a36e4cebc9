import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failAtCall } from '../faults/failing-store.fixture.ts';
import { startTicksOf } from '../process/process-stat.ts';
import type { Lease, RunStore } from '../runs/run-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { startTakeBack, type TakeBackOptions } from './take-back.ts';

let directory: string;
let store: RunStore;
const children: ChildProcess[] = [];
const looking: { stop(): Promise<void> }[] = [];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-take-back-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  await Promise.all(looking.splice(0).map((one) => one.stop()));
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await store.close();
  await rm(directory, { recursive: true });
});

function start(more: Partial<TakeBackOptions>): { stop(): Promise<void> } {
  const log = pino({ level: 'silent' });
  const started = startTakeBack({ store, maxAttempts: 9, log, intervalMs: 10, ...more });
  looking.push(started);
  return started;
}

/** A run that somebody began, with a process of its step. */
async function beginRun(
  concurrencyGroup: string,
): Promise<{ id: string; lease: Lease; child: ChildProcess }> {
  const { run } = await store.enqueue(pushRequest({ concurrencyGroup }));
  const claim = await store.claim({ owner: 'one:1', leaseMs: 600_000 });
  if (claim?.run.id !== run.id) throw new Error('Another run was claimed.');
  const child = spawn('sleep', ['300'], { detached: true, stdio: 'ignore' });
  children.push(child);
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  await store.append(claim.lease, [
    { type: 'step.planned', step: 's', wave: 0, position: 0, message: '' },
    { type: 'step.started', step: 's', command: ['sleep'], ledger: null },
    { type: 'step.process', step: 's', pid, startTicks: startTicksOf(pid) ?? '' },
  ]);
  return { id: run.id, lease: claim.lease, child };
}

const stateOf = async (id: string) => (await store.run(id))?.state;
const lives = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;

describe('Runs of a store that is only ours', () => {
  it('are taken back once nobody works on them, however long their lease, and their processes ended before', async () => {
    const { id, child } = await beginRun('a');
    const livedWhenTaken: boolean[] = [];
    const takeBack: RunStore['takeBack'] = (options) => {
      livedWhenTaken.push(startTicksOf(child.pid ?? 0) !== null && lives(child));
      return store.takeBack(options);
    };
    start({ store: { ...store, takeBack }, held: () => [] });
    await expect.poll(() => stateOf(id)).toBe('queued');
    expect(livedWhenTaken).toEqual([false]);
    expect(await store.run(id)).toMatchObject({ attempt: 1 });
  });

  it('are left alone while this process works on them, or may just have started to', async () => {
    const [working, other] = [await beginRun('a'), await beginRun('b')];
    let isClaiming = true;
    let looks = 0;
    start({
      held: () => {
        looks += 1;
        return isClaiming ? null : [working.id];
      },
    });
    await expect.poll(() => looks).toBeGreaterThan(6);
    expect(await stateOf(other.id)).toBe('running');
    isClaiming = false;
    await expect.poll(() => stateOf(other.id)).toBe('queued');
    expect(await stateOf(working.id)).toBe('running');
    expect(lives(working.child)).toBe(true);
    await store.renew(working.lease, 600_000);
  });

  it('are left alone if they started or ended between two looks at the runs of this process', async () => {
    const [started, ending] = [await beginRun('a'), await beginRun('b')];
    const answers = [[ending.id], [started.id]];
    let looks = 0;
    start({ held: () => answers[looks++ % 2] ?? null });
    await expect.poll(() => looks).toBeGreaterThan(6);
    expect([await stateOf(started.id), await stateOf(ending.id)]).toEqual(['running', 'running']);
  });

  it.each([false, true])(
    'are taken back whichever call of the store fails (afterwards: %s)',
    async (afterwards) => {
      for (let n = 1, isOver = false; !isOver; n += 1) {
        const { id, child } = await beginRun(`group-${n}`);
        const failing = failAtCall(store, n, { afterwards });
        const { stop } = start({ store: failing.store, held: () => [] });
        await expect.poll(() => stateOf(id)).toBe('queued');
        expect([n, lives(child), (await store.run(id))?.attempt]).toEqual([n, false, 1]);
        await stop();
        isOver = failing.failed().length === 0;
        await store.requestCancel(id, 'the test');
      }
    },
  );
});

describe('Runs of a store that others use, too', () => {
  it('are taken back once their lease has ended, also after a failure', async () => {
    const { run } = await store.enqueue(pushRequest({ concurrencyGroup: 'silent' }));
    await store.claim({ owner: 'two:1', leaseMs: -1 });
    const working = await beginRun('working');
    const failing = failAtCall(store, 1);
    start({ store: failing.store });
    await expect.poll(() => stateOf(run.id)).toBe('queued');
    expect(failing.failed()).toEqual(['takeBack']);
    expect(await stateOf(working.id)).toBe('running');
  });
});
