import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MustEndError } from '../errors.ts';
import { isAlive, type ProcessIdentity, startTicksOf } from './process-stat.ts';
import { type RunProcessHooks, type RunProcessSpec, runProcess } from './run-process.ts';

const MIB = 1024 * 1024;

interface Observed {
  lines: string[];
  batches: number;
  pid: number;
}

async function run(
  argv: RunProcessSpec['argv'],
  more: Partial<RunProcessSpec> = {},
  onLines?: RunProcessHooks['onLines'],
) {
  const observed: Observed = { lines: [], batches: 0, pid: 0 };
  const end = await runProcess(
    { argv, cwd: tmpdir(), env: { PATH: '/usr/bin:/bin' }, timeoutMs: 100_000, ...more },
    {
      onStart: ({ pid }) => {
        observed.pid = pid;
      },
      onLines: (stream, lines) => {
        expect(lines).not.toEqual([]);
        observed.batches += 1;
        if (observed.lines.length < 10_000) observed.lines.push(...lines);
        return onLines?.(stream, lines);
      },
    },
  );
  return { ...observed, end };
}

function shell(script: string, more: Partial<RunProcessSpec> = {}, onLines?: RunProcessHooks['onLines']) {
  return run(['sh', '-c', script], more, onLines);
}

/** Runs `work` and returns by how much the resident memory grew at most, in MiB. */
async function peakGrowthOf(work: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage.rss();
  let peak = before;
  const sampler = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 20);
  await work();
  clearInterval(sampler);
  return (peak - before) / MIB;
}

describe('run process', () => {
  it('passes on the lines of both streams, and the last one even without a newline', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'iac-lines-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const streams: string[] = [];
    // Each line comes only when the one before was handed over.
    const heard = (count: number) => `until [ -e ${count} ]; do sleep 0.05; done`;
    const { end, lines } = await shell(
      `echo out; ${heard(1)}; echo err >&2; ${heard(2)}; printf end; exit 7`,
      { cwd: folder },
      (stream) => {
        streams.push(stream);
        writeFileSync(join(folder, `${streams.length}`), '');
      },
    );
    expect(end).toEqual({ kind: 'exited', exitCode: 7 });
    expect(lines).toEqual(['out', 'err', 'end']);
    expect(streams).toEqual(['stdout', 'stderr', 'stdout']);
  });

  it('F28: ends a child that ignores TERM with its group when its time is up', async () => {
    const { end, lines } = await shell("trap '' TERM; sleep 600 & echo $!; sleep 600", {
      timeoutMs: 3_000,
      killGraceMs: 500,
    });
    expect(end).toEqual({ kind: 'timed_out' });
    expect(isAlive(processOf(lines[0]))).toBe(false);
  });

  it('F28: a cancelled child may finish its output in time, even if its parent ends first', async () => {
    const worker = 'trap "sleep 0.7; echo saved; exit" TERM; echo up; while :; do sleep 0.1; done';
    const cancel = new AbortController();
    const { end, lines } = await shell(
      `sh -c '${worker}' 2>/dev/null & wait`,
      { signal: cancel.signal, killGraceMs: 60_000 },
      () => cancel.abort(),
    );
    expect(end).toEqual({ kind: 'cancelled' });
    expect(lines).toEqual(['up', 'saved']);
  });

  it('F22: a child that must end gets less than its usual time, whatever signals it ignores', async () => {
    const cancel = new AbortController();
    const { end } = await shell(
      `trap '' INT TERM; echo up; while :; do sleep 0.1; done`,
      { signal: cancel.signal, interruptGraceMs: 600_000, killGraceMs: 600_000 },
      () => cancel.abort(new MustEndError('Somebody else goes on.', 600)),
    );
    expect(end).toEqual({ kind: 'cancelled' });
  });

  it('F29: a grandchild that keeps stdout open causes no delay and is ended', async () => {
    const { end, lines } = await shell('sleep 300 & echo $!; exit 0');
    expect(end).toEqual({ kind: 'exited', exitCode: 0 });
    expect(isAlive(processOf(lines[0]))).toBe(false);
  });

  it('F29: an escaped process that cannot be found causes no delay, and the output up to the exit is complete', async () => {
    for (const noise of ['', 'echo noise;', 'while :; do echo noise; done;']) {
      const escapee = `env -i setsid sh -c "${noise} for i in $(seq 1 600); do sleep 1; echo x; done"`;
      const { end, lines } = await shell(
        `${escapee} & echo "escaped $!"; seq 1 20000; sleep 0.1; exit 0`,
        {},
        () => delay(20),
      );
      const { pid } = processOf(lines.find((line) => line.startsWith('escaped '))?.slice(8));
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It was noisy, and has met the end of its pipe.
      }
      expect(end).toEqual({ kind: 'exited', exitCode: 0 });
      expect(lines.length).toBeGreaterThan(9_000);
    }
  });

  it('F29: output written before the exit is complete, however slow the reader', async () => {
    let count = 0;
    await run(['seq', '1', '30000'], {}, async (_, lines) => {
      count += lines.length;
      await delay(400);
    });
    expect(count).toBe(30_000);
  });

  it('F30: ends processes that left its session, found by the marker', async () => {
    const { end, lines } = await shell('setsid sleep 300 & sleep 0.3; echo $!', {
      env: { PATH: '/usr/bin:/bin', MARK: 'f30-run-process' },
      marker: 'MARK=f30-run-process',
    });
    expect(end).toEqual({ kind: 'exited', exitCode: 0 });
    expect(isAlive(processOf(lines[0]))).toBe(false);
  });

  it('F32: a very long output is cut in the middle with a mark, its end and its exit code are kept, and memory is limited', async () => {
    const growth = await peakGrowthOf(async () => {
      const script = 'yes 0123456789abcdef | head -c 200000000; echo; echo "Error: it broke" >&2; exit 5';
      const { end, lines } = await shell(script, { maxOutputBytes: 100_000 });
      expect(end).toEqual({ kind: 'exited', exitCode: 5 });
      expect(lines).toContain('Error: it broke');
      expect(lines.filter((line) => line.startsWith('['))).toEqual([
        expect.stringMatching(/^\[117\d{5} lines of output left out here, 1999\d{5} bytes\]$/),
      ]);
      // Half of it from the end.
      expect(lines.findIndex((line) => line.startsWith('['))).toBe(Math.floor(50_000 / 17));
      expect(lines.length).toBeGreaterThan(5_800);
      expect(lines.length).toBeLessThan(5_900);
    });
    expect(growth).toBeLessThan(150);
  });

  it('F32: a line of 100 MiB becomes one line with a mark', async () => {
    const growth = await peakGrowthOf(async () => {
      const script = 'head -c 104857600 /dev/zero | tr "\\0" x; echo; echo next';
      const { lines } = await shell(script, { maxOutputBytes: 200 * MIB });
      expect(lines).toEqual([`${'x'.repeat(16 * 1024)} [line cut after 16384 bytes]`, 'next']);
    });
    expect(growth).toBeLessThan(150);
  });

  it('F32: a million lines come in batches', async () => {
    let count = 0;
    const { batches } = await run(['seq', '1', '1000000'], {}, (_, lines) => {
      count += lines.length;
    });
    expect(count).toBe(1_000_000);
    expect(batches).toBeLessThan(10_000);
  });

  it('F32: the child waits for a slow reader', async () => {
    let written = 0;
    let leader: ProcessIdentity | null = null;
    const stop = new Error('enough');
    const running = runProcess(
      { argv: ['yes'], cwd: tmpdir(), env: { PATH: '/usr/bin:/bin' }, timeoutMs: 30_000 },
      {
        onStart(identity) {
          leader = identity;
        },
        async onLines() {
          await delay(1_000);
          written = Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${leader?.pid}/io`, 'utf8'))?.[1]);
          throw stop;
        },
      },
    );
    await expect(running).rejects.toBe(stop);
    expect(written).toBeGreaterThan(0);
    expect(written).toBeLessThan(4 * MIB);
    expect(leader && isAlive(leader)).toBe(false);
  });

  it('an error in a hook ends the child and rejects', async () => {
    const failure = new Error('the lease is stale');
    let pid = 0;
    const spec: RunProcessSpec = {
      argv: ['sleep', '600'],
      cwd: tmpdir(),
      env: { PATH: '/usr/bin:/bin' },
      timeoutMs: 30_000,
    };
    const running = runProcess(spec, {
      onStart(identity) {
        pid = identity.pid;
        throw failure;
      },
      onLines() {},
    });
    await expect(running).rejects.toBe(failure);
    expect(isAlive(processOf(String(pid)))).toBe(false);
    await expect(run(['echo', 'last line'], {}, () => Promise.reject(failure))).rejects.toBe(failure);
  });

  it('F41: masks secrets, even if two writes and the line limit cut them', async () => {
    const secret = 'canary-0123456789';
    const script =
      'printf "token canary-01"; sleep 0.2; echo 23456789; head -c 95 /dev/zero | tr "\\0" .; echo "$T"';
    const { lines } = await shell(`${script}; printf %s "$T" | base64`, {
      env: { PATH: '/usr/bin:/bin', T: secret },
      secrets: [secret],
      maxLineBytes: 100,
    });
    expect(lines).toEqual(['token ****', `${'.'.repeat(95)}****`, '****']);
  });

  it('F42: gives the child exactly the given environment', async () => {
    const { lines } = await run(['/usr/bin/env'], { env: { ONLY: 'this' } });
    expect(lines).toEqual(['ONLY=this']);
  });
});

/** The process with this id as it is now. */
function processOf(pid: string | undefined): ProcessIdentity {
  return { pid: Number(pid), startTicks: startTicksOf(Number(pid)) ?? '' };
}
