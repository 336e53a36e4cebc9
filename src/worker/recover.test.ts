import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTicksOf } from '../process/process-stat.ts';
import type { Lease, RunStore } from '../runs/run-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { recover } from './recover.ts';

const STEP = 'platform/redis';

let directory: string;
let store: RunStore;
const children: ChildProcess[] = [];

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-recover-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await store.close();
  await rm(directory, { recursive: true });
});

/** A process group of its own, as each step has. */
async function startProcess(): Promise<{ pid: number; startTicks: string; child: ChildProcess }> {
  const child = spawn('sleep', ['300'], { detached: true, stdio: 'ignore' });
  children.push(child);
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  return { pid, startTicks: startTicksOf(pid) ?? '', child };
}

function runs({ child }: { child: ChildProcess }): boolean {
  return child.exitCode === null && child.signalCode === null;
}

async function claim(owner: string): Promise<Lease> {
  const claimed = await store.claim({ owner, leaseMs: 600_000 });
  if (!claimed) throw new Error('Nothing to claim.');
  return claimed.lease;
}

/** Takes the next run and begins its step with this process. */
async function begin(
  owner: string,
  { pid, startTicks }: { pid: number; startTicks: string },
): Promise<Lease> {
  const lease = await claim(owner);
  await store.append(lease, [
    { type: 'step.planned', step: STEP, wave: 0, position: 0, message: '' },
    { type: 'step.started', step: STEP, command: ['sleep'], ledger: null },
    { type: 'step.process', step: STEP, pid, startTicks },
  ]);
  return lease;
}

const comeBack = (machine: string | null) =>
  recover({
    store,
    maxAttempts: 9,
    machine,
    marker: `IAC_TEST=${directory}`,
    log: pino({ level: 'silent' }),
  });

describe('A machine that comes back', () => {
  it('ends what it had started for a run that another machine took over, and nothing of that machine', async () => {
    const { run } = await store.enqueue(pushRequest());
    const former = await startProcess();
    await begin('one:17', former);
    await store.takeBack({ all: true, maxAttempts: 9 });
    const present = await startProcess();
    const lease = await begin('two:4', present);
    await comeBack('one');
    await expect.poll(() => runs(former)).toBe(false);
    expect(runs(present)).toBe(true);
    expect(await store.run(run.id)).toMatchObject({ state: 'running', attempt: 2 });
    await store.renew(lease, 600_000);
  });

  it('ends it also when the other has brought the run to its end', async () => {
    await store.enqueue(pushRequest());
    const former = await startProcess();
    await begin('one:17', former);
    await store.takeBack({ all: true, maxAttempts: 9 });
    const lease = await claim('two:4');
    const ended = {
      type: 'run.finished',
      state: 'succeeded',
      reason: null,
      message: '',
      coveredBy: null,
    } as const;
    await store.append(lease, [ended]);
    await comeBack('one');
    await expect.poll(() => runs(former)).toBe(false);
  });

  it('does not end a process that only has the same id as one of its own', async () => {
    await store.enqueue(pushRequest());
    const stranger = await startProcess();
    await begin('one:17', { ...stranger, startTicks: String(Number(stranger.startTicks) - 1) });
    await store.takeBack({ all: true, maxAttempts: 9 });
    await claim('two:4');
    await comeBack('one');
    expect(runs(stranger)).toBe(true);
  });

  it('takes its own runs back at once, but not those of a machine with a longer name', async () => {
    const [mine, others] = [
      await store.enqueue(pushRequest({ concurrencyGroup: 'a' })),
      await store.enqueue(pushRequest({ concurrencyGroup: 'b' })),
    ];
    const [own, foreign] = [await startProcess(), await startProcess()];
    await begin('one:17', own);
    await begin('one-2:17', foreign);
    await comeBack('one');
    await expect.poll(() => runs(own)).toBe(false);
    expect(await store.run(mine.run.id)).toMatchObject({ state: 'queued' });
    expect(await store.run(others.run.id)).toMatchObject({ state: 'running' });
    expect(runs(foreign)).toBe(true);
  });
});
