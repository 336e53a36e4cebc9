import { describe, expect, it } from 'vitest';
import { MustEndError } from '../errors.ts';
import { create, executorThat, isRunning, run, shell } from './isolated.fixture.ts';
import { createLocalExecutor } from './local.ts';

describe('isolated executor', () => {
  it('reports a step in the same way as the local one', async () => {
    const commands = [
      shell('echo out; sleep 0.2; echo err >&2; sleep 0.2; printf end; exit 7'),
      shell('kill -9 $$'),
      shell('head -c 5 /dev/zero; printf "h\\303\\251llo\\r1\\r2\\n"; printf "\\033[1mbold\\033[0m"'),
      shell('sleep 60', { timeoutMs: 500 }),
      shell('cat', { input: 'prompt\nin two lines' }),
      shell('read x || echo no input'),
      shell('', { argv: ['no-such-invoke', 'vault.sync'] }),
      shell('echo x', { cwd: '/no/such/folder' }),
      shell('yes 0123456789 | head -c 300000; exit 5', { timeoutMs: 100_000 }),
      shell('seq 100000; printf "and its end"; exit 5', { timeoutMs: 100_000 }),
    ];
    for (const command of commands) {
      const lines: string[] = [];
      const limits = { maxOutputBytes: 100_000 };
      const local = await createLocalExecutor(limits).run(command, {
        onStart() {},
        onLines: (_, batch) => void lines.push(...batch),
      });
      const isolated = await run(command, limits);
      expect([isolated.result, isolated.lines], command.argv.join(' ')).toEqual([local, lines]);
    }
  });

  it('F42: gives the step only its own environment and an id', async () => {
    const { lines } = await run({ ...shell('', { env: { IAC_RUN_ID: 'run-1' } }), argv: ['/usr/bin/env'] });
    expect(lines.sort()).toEqual([
      expect.stringMatching(/^IAC_PROCESS_ID=[0-9a-f-]{36}$/),
      'IAC_RUN_ID=run-1',
      'PATH=/usr/bin:/bin',
    ]);
  });

  it('F41: masks secrets, and sends the executor only those of the step', async () => {
    const { lines, result } = await run(
      shell('printf "tok-CAN"; sleep 0.2; echo "ARY $MY_TOKEN server-key-CANARY"', {
        env: { MY_TOKEN: 'tok-CANARY' },
      }),
      { secrets: ['server-key-CANARY'] },
    );
    expect([lines, result]).toEqual([['**** **** ****'], { kind: 'exited', exitCode: 0 }]);
    const spy = await executorThat('head -n 1 >&2; exit 1');
    const seen = await run(shell('true', { secrets: ['step-CANARY'] }), {
      ...spy,
      secrets: ['server-key-CANARY'],
    });
    expect(JSON.stringify(seen)).not.toContain('CANARY');
    expect(JSON.stringify(seen)).not.toContain('****');
  });

  it('passes on the lines and the process while the step runs', async () => {
    const first = Promise.withResolvers<string[]>();
    const go = Promise.withResolvers<void>();
    const running = run(shell('echo $$; sleep 0.3; echo later'), {}, async (lines) => {
      first.resolve(lines);
      await go.promise;
    });
    const [pid] = await first.promise;
    expect(isRunning(pid)).toBe(true);
    go.resolve();
    const { started, lines } = await running;
    expect(started.map((identity) => String(identity.pid))).toEqual([pid]);
    expect(lines).toEqual([pid, 'later']);
  });

  it('cancels all processes of a step, keeps their last output, and sends an interrupt first if one is wanted', async () => {
    for (const [interruptGraceMs, word] of [
      [undefined, 'TERM'],
      [60_000, 'INT'],
    ] as const) {
      const cancel = new AbortController();
      const script = `trap 'echo TERM; exit 1' TERM; trap 'echo INT; exit 1' INT; sleep 300 & echo $!; wait`;
      const command = shell(script, {
        signal: cancel.signal,
        ...(interruptGraceMs === undefined ? {} : { interruptGraceMs }),
      });
      const { result, lines } = await run(command, {}, () => cancel.abort());
      expect(result).toEqual({ kind: 'cancelled' });
      expect(lines.slice(1)).toEqual([word]);
      expect(isRunning(lines[0])).toBe(false);
    }
    expect((await run(shell('echo x', { signal: AbortSignal.abort() }))).result).toEqual({
      kind: 'cancelled',
    });
  });

  it('F22: a step that must end gets less than its usual time, whether the server says so or is silent', async () => {
    const script = `trap '' INT TERM; echo up; while :; do sleep 0.1; done`;
    const cancel = new AbortController();
    const command = shell(script, { signal: cancel.signal, interruptGraceMs: 600_000 });
    const { result } = await run(command, { killGraceMs: 600_000 }, () =>
      cancel.abort(new MustEndError('Somebody else goes on.', 600)),
    );
    expect(result).toEqual({ kind: 'cancelled' });
  });

  it('accepts any length of silence and of times between signals', async () => {
    for (const silenceMs of [150_000.5, 43_200_000_000]) {
      const { result } = await run(shell('exit 3', { interruptGraceMs: 9_999_999_000 }), { silenceMs });
      expect(result).toEqual({ kind: 'exited', exitCode: 3 });
    }
  });

  it('F28: a step that ignores both signals is killed, and so are processes that left its session', async () => {
    const { result, lines } = await run(
      shell("trap '' TERM; setsid sleep 300 & echo $!; sleep 600", { timeoutMs: 500 }),
    );
    expect(result).toEqual({ kind: 'timed_out' });
    expect(isRunning(lines[0])).toBe(false);
  });

  it('captures output, masked for people and unmasked for parsers, and reports why it could not', async () => {
    const executor = create({ secrets: ['canary-canary'] });
    const said = await executor.capture(
      shell('echo canary-canary; echo problem with canary-canary >&2; exit 3'),
    );
    if (said.kind !== 'exited') throw new Error(said.problem);
    expect(said).toMatchObject({ exitCode: 3, stderr: 'problem with ****\n' });
    expect(said.stdout.unmasked).toBe('canary-canary\n');
    expect(await said.stdout.shown()).toBe('****\n');
    const big = await executor.capture(shell('head -c 20971520 /dev/zero | tr "\\0" x'));
    expect(big.kind === 'exited' && big.stdout.unmasked.length).toBe(20_971_520);
    expect(await executor.capture(shell('sleep 9', { timeoutMs: 200 }))).toEqual({
      kind: 'failed',
      problem: 'timed out after 0.2 s',
    });
    expect(await executor.capture(shell('', { argv: ['no-such'] }))).toMatchObject({
      kind: 'failed',
      problem: expect.stringContaining('no-such was not found'),
    });
  });

  it('an error in the handler of lines ends the step and is passed on', async () => {
    const failure = new Error('the lease is stale');
    let pid: string | undefined;
    const running = run(shell('echo $$; sleep 600'), {}, ([first]) => {
      pid = first;
      throw failure;
    });
    await expect(running).rejects.toBe(failure);
    expect(isRunning(pid)).toBe(false);
  });

  it('limits CPU time, memory and open files of the step', async () => {
    const limits = { cpuSeconds: 1, memoryBytes: 200 * 1024 * 1024, openFiles: 50 };
    const shown = await run(shell('ulimit -t; ulimit -v; ulimit -n'), { limits });
    expect(shown.lines).toEqual(['1', '204800', '50']);
    const busy = await run(shell('while :; do :; done'), { limits });
    expect(busy.result).toEqual({ kind: 'killed', signal: 'SIGXCPU' });
    const { result } = await run(shell('', { argv: ['no-such-invoke'] }), { limits });
    expect(result).toMatchObject({ kind: 'not_started', code: 'ENOENT' });
  });
});
