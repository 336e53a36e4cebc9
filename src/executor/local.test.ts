import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { isAlive, startTicksOf } from '../process/process-stat.ts';
import type { StepCommand } from './executor.ts';
import { createLocalExecutor } from './local.ts';

function shell(script: string, env: Record<string, string> = {}): StepCommand {
  return {
    argv: ['sh', '-c', script],
    cwd: tmpdir(),
    env: { PATH: '/usr/bin:/bin', IAC_RUN_ID: 'run-1', ...env },
    timeoutMs: 30_000,
    signal: new AbortController().signal,
  };
}

async function run(command: StepCommand) {
  const lines: string[] = [];
  const result = await createLocalExecutor().run(command, {
    onStart() {},
    onLines(_, batch) {
      lines.push(...batch);
    },
  });
  return { lines, result };
}

describe('local executor', () => {
  it('F42: gives the task only the environment of its step and an id', async () => {
    const { lines } = await run({ ...shell(''), argv: ['/usr/bin/env'] });
    expect(lines.sort()).toEqual([
      expect.stringMatching(/^IAC_PROCESS_ID=[0-9a-f-]{36}$/),
      'IAC_RUN_ID=run-1',
      'PATH=/usr/bin:/bin',
    ]);
  });

  it('F41: masks the values of variables with a secret name', async () => {
    const { lines } = await run(
      shell('echo "$VAULT_APP_TOKEN $PLAIN"', { VAULT_APP_TOKEN: 'hvs.CANARY', PLAIN: 'plainly' }),
    );
    expect(lines).toEqual(['**** plainly']);
  });

  it('F30: ends the processes that a step left in another session, and no process of other steps', async () => {
    const leave = 'setsid sleep 600 & sleep 0.3; echo $!';
    const cancel = new AbortController();
    const started = Promise.withResolvers<string>();
    const running = createLocalExecutor().run(
      { ...shell(`${leave}; wait`), signal: cancel.signal },
      { onStart() {}, onLines: (_, lines) => started.resolve(lines.join()) },
    );
    const theirs = await started.promise;
    const { lines, result } = await run(shell(leave));
    expect(result).toEqual({ kind: 'exited', exitCode: 0 });
    expect(isRunning(lines.join())).toBe(false);
    expect(isRunning(theirs)).toBe(true);
    cancel.abort();
    expect(await running).toEqual({ kind: 'cancelled' });
    expect(isRunning(theirs)).toBe(false);
  });

  it('sends an interrupt first if one is wanted, and TERM only later', async () => {
    const script = `trap 'echo INT; sleep 0.5; echo saved; exit 1' INT; trap 'echo TERM' TERM; echo up; while :; do sleep 0.1; done`;
    const cancel = new AbortController();
    const lines: string[] = [];
    const command = { ...shell(script), signal: cancel.signal, interruptGraceMs: 10_000 };
    const result = await createLocalExecutor().run(command, {
      onStart() {},
      onLines(_, batch) {
        lines.push(...batch);
        cancel.abort();
      },
    });
    expect([result, lines]).toEqual([{ kind: 'cancelled' }, ['up', 'INT', 'saved']]);
  });

  it('keeps a step within its limits, and still reports a missing program', async () => {
    const executor = createLocalExecutor({ limits: { cpuSeconds: null, memoryBytes: null, openFiles: 50 } });
    const lines: string[] = [];
    const hooks = { onStart() {}, onLines: (_: unknown, batch: string[]) => void lines.push(...batch) };
    await executor.run(shell('ulimit -n'), hooks);
    expect(lines).toEqual(['50']);
    const result = await executor.run({ ...shell(''), argv: ['no-such-invoke'] }, hooks);
    expect(result).toMatchObject({ kind: 'not_started', code: 'ENOENT' });
  });

  it('F32b: reports that the task runner is not installed', async () => {
    const { result } = await run({ ...shell(''), argv: ['no-such-invoke', 'vault.sync'] });
    expect(result).toMatchObject({ kind: 'not_started', code: 'ENOENT' });
  });
});

function isRunning(pid: string): boolean {
  return isAlive({ pid: Number(pid), startTicks: startTicksOf(Number(pid)) ?? '' });
}
