import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { isAlive, type ProcessIdentity, startTicksOf } from './process-stat.ts';
import { endMarkedProcesses, endProcessGroup } from './process-table.ts';

const started: ChildProcess[] = [];

afterEach(() => {
  for (const { pid = 0 } of started.splice(0)) {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // The test has ended the whole group.
    }
  }
});

/** Starts a shell that leads its own session; resolves when it has printed a word, with that word. */
async function start(script: string, env: Record<string, string> = {}) {
  const child = spawn('sh', ['-c', script], {
    detached: true,
    env: { PATH: '/usr/bin:/bin', ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  started.push(child);
  const [word] = await once(child.stdout, 'data');
  return { child, identity: identityOf(child.pid ?? 0), word: String(word).trim() };
}

/** A shell that leaves three processes, in a group, in a session and without an environment, and then prints their ids. */
function leaveThree(seconds: string): string {
  return `set -m; sleep 600 & a=$!; set +m; setsid sleep 600 & b=$!; env -i setsid sleep 600 & sleep ${seconds}; echo $a $b $!; wait`;
}

async function expectAllEnded(leader: ProcessIdentity, ids: string): Promise<void> {
  const others = ids.split(' ').map((pid) => identityOf(Number(pid)));
  expect(others.map(isAlive)).toEqual([true, true, true]);
  expect(await endProcessGroup({ ...leader, graceMs: 5_000 })).toEqual([]);
  expect([leader, ...others].map(isAlive)).toEqual([false, false, false, false]);
}

/** The id that the kernel gave last. Whoever may write it chooses the next one. */
const LAST_PID = '/proc/sys/kernel/ns_last_pid';

function mayChoosePids(): boolean {
  try {
    writeFileSync(LAST_PID, readFileSync(LAST_PID));
    return true;
  } catch {
    return false;
  }
}

function identityOf(pid: number) {
  return { pid, startTicks: startTicksOf(pid) ?? 'none' };
}

describe('process table', () => {
  it('distinguishes a process from an earlier one with its id, and knows when it has died', async () => {
    const { child, identity } = await start('echo up; exec sleep 600');
    expect(identity.startTicks).toMatch(/^\d+$/);
    expect(isAlive(identity)).toBe(true);
    expect(isAlive({ ...identity, startTicks: '1' })).toBe(false);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(isAlive(identity)).toBe(false);
    expect(startTicksOf(2 ** 30)).toBe(null);
  });

  it('reads the start time of a program whose name contains spaces and parentheses', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'process-table-'));
    const program = join(folder, 'a) R 1 (b');
    symlinkSync('/bin/sleep', program);
    const { word } = await start(`'${program}' 600 & echo $!; wait`);
    await expect.poll(() => readFileSync(`/proc/${word}/comm`, 'utf8')).toBe('a) R 1 (b\n');
    rmSync(folder, { recursive: true });
    const identity = identityOf(Number(word));
    expect(identity.startTicks).toMatch(/^\d{2,}$/);
    expect(isAlive(identity)).toBe(true);
  });

  it('counts a zombie as dead', async () => {
    // The shell becomes a sleep, which never reaps the child it inherits.
    const { word } = await start('sleep 0.3 & echo $!; exec sleep 600');
    const identity = identityOf(Number(word));
    await expect.poll(() => isAlive(identity)).toBe(false);
    expect(startTicksOf(identity.pid)).toBe(identity.startTicks);
  });

  it.each([
    ['0.3', 'young'],
    ['1.3', 'older'],
  ])(
    'F30: ends a whole session, with job-control groups and children that left it: after %s s (%s)',
    async (age) => {
      const { identity, word } = await start(leaveThree(age));
      await expectAllEnded(identity, word);
    },
  );

  describe.skipIf(!mayChoosePids())('where the kernel lets us choose the next id (needs root)', () => {
    const highest = Number(readFileSync('/proc/sys/kernel/pid_max', 'utf8'));
    const before = readFileSync(LAST_PID, 'utf8').trim();
    afterEach(() => writeFileSync(LAST_PID, before));

    it('F30: ends children whose ids are lower, because the ids started again', async () => {
      writeFileSync(LAST_PID, `${highest - 2}`);
      const { identity, word } = await start(leaveThree('0.3'));
      expect(word.split(' ').some((pid) => Number(pid) < identity.pid)).toBe(true);
      await expectAllEnded(identity, word);
    });
  });

  it('F30: does not end a process that only has the same id', async () => {
    const { identity } = await start('echo up; exec sleep 600');
    await endProcessGroup({ ...identity, startTicks: '1', graceMs: 100 });
    expect(isAlive(identity)).toBe(true);
  });

  it('F30: finds processes by their marker in any session, and no others', async () => {
    const id = randomUUID();
    const leaver = await start('setsid sleep 600 & sleep 0.3; echo $!', { IAC_RUN_ID: id });
    const other = await start('echo up; exec sleep 600', { IAC_RUN_ID: `${id}-other` });
    const left = identityOf(Number(leaver.word));
    await expect.poll(() => isAlive(leaver.identity)).toBe(false);
    expect(isAlive(left)).toBe(true);
    expect(await endMarkedProcesses({ marker: `IAC_RUN_ID=${id}`, graceMs: 5_000 })).toEqual([]);
    expect(isAlive(left)).toBe(false);
    expect(isAlive(other.identity)).toBe(true);
  });

  it('F28: sends TERM once and then KILL', async () => {
    const { child, identity } = await start('trap "echo asked" TERM; echo up; while :; do sleep 0.1; done');
    let output = '';
    child.stdout?.on('data', (chunk) => {
      output += chunk;
    });
    await endProcessGroup({ ...identity, graceMs: 1_000 });
    expect(isAlive(identity)).toBe(false);
    expect(output).toBe('asked\n');
  });
});
