import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isAlive, type ProcessIdentity, startTicksOf } from '../process-stat.ts';

const PROGRAM = new URL('./watchdog.fixture.ts', import.meta.url).pathname;

/** A process that holds a task; `output` is what it printed so far. */
async function startHolder(silenceMs: number, script: string) {
  const limited = ['-c', 'ulimit -n 100; exec "$@"', 'sh', process.execPath, PROGRAM, `${silenceMs}`, script];
  const child = spawn('sh', limited, { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += String(chunk);
  });
  const [, pid, startTicks = ''] = await until(() => /task (\d+) (\d+)\n/.exec(output));
  const task = { pid: Number(pid), startTicks };
  const watchdog = await until(() => watchdogOf(child));
  return { child, task, watchdog, output: () => output };
}

async function until<T>(look: () => T | null, limitMs = 60_000): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const found = look();
    if (found !== null) return found;
    if (performance.now() > deadline) throw new Error('It did not come.');
    await sleep(20);
  }
}

function ended(process: ProcessIdentity): Promise<true> {
  return until(() => (isAlive(process) ? null : true));
}

/** Resolves when the holder has finished what it was doing. An earlier watchdog then knows the held processes. */
async function aTurnOf(holder: ChildProcess, output: () => string): Promise<void> {
  holder.kill('SIGHUP');
  await until(() => (output().includes('a turn later') ? true : null));
}

/** The child of a holder that is its watchdog. */
function watchdogOf(holder: ChildProcess): ProcessIdentity | null {
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    const { parent, command } = lookAt(name);
    const startTicks = startTicksOf(Number(name));
    const isIt = parent === holder.pid && command.includes('watchdog-program');
    if (isIt && startTicks !== null) return { pid: Number(name), startTicks };
  }
  return null;
}

function lookAt(pid: string): { parent: number; command: string } {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    return { parent, command: readFileSync(`/proc/${pid}/cmdline`, 'latin1') };
  } catch {
    return { parent: 0, command: '' };
  }
}

describe('watchdog', () => {
  it('F25: ends the task of a process that was killed by SIGKILL, and processes that left its session', async () => {
    const script = 'setsid sleep 600 & echo left $!; wait; sleep 600';
    const { child, task, watchdog, output } = await startHolder(60_000, script);
    const [, left] = await until(() => /left (\d+)/.exec(output()));
    const leftover = { pid: Number(left), startTicks: startTicksOf(Number(left)) ?? '' };
    child.kill('SIGKILL');
    await Promise.all([ended(task), ended(leftover), ended(watchdog)]);
  });

  it('F25: kills a task that ignores TERM', async () => {
    const { child, task } = await startHolder(60_000, `trap '' TERM; while :; do sleep 0.1; done`);
    child.kill('SIGKILL');
    await ended(task);
  });

  it('F22: ends the task of a process that hangs, and the process learns that when it continues', async () => {
    const { child, task, output } = await startHolder(3_000, 'sleep 600');
    child.kill('SIGSTOP');
    await ended(task);
    child.kill('SIGCONT');
    await until(() => (output().includes('closed') ? true : null));
    expect(output()).toContain('{"kind":"killed","signal":"SIGTERM"}');
  });

  it('does not end the task of a process that works, and ends with that process', async () => {
    const { task, watchdog, output } = await startHolder(3_000, 'sleep 4; echo done');
    await until(() => (output().includes('closed') ? true : null));
    expect(output()).toMatch(/done\n\{"kind":"exited","exitCode":0\}\nclosed/);
    await Promise.all([ended(task), ended(watchdog)]);
  });

  it('is replaced if it is killed itself, and the next one knows the held processes', async () => {
    const { child, task, watchdog, output } = await startHolder(60_000, 'sleep 600');
    process.kill(watchdog.pid, 'SIGKILL');
    await until(() => (output().includes('replaced') ? true : null));
    await until(() => watchdogOf(child));
    await aTurnOf(child, output);
    child.kill('SIGKILL');
    await ended(task);
  });

  it('is replaced even if no process can be started for a while', async () => {
    const { child, task, watchdog, output } = await startHolder(60_000, 'sleep 600');
    child.kill('SIGUSR2');
    await until(() => (output().includes('no more files') ? true : null));
    process.kill(watchdog.pid, 'SIGKILL');
    await until(() => (output().includes('replaced') ? true : null));
    await until(() => watchdogOf(child));
    await aTurnOf(child, output);
    child.kill('SIGKILL');
    await ended(task);
  });
});
