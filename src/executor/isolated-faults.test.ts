import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MustEndError } from '../errors.ts';
import { create, EXEC, executorThat, isRunning, run, shell } from './isolated.fixture.ts';

const STARTED = `'{"type":"started","pid":1,"start_ticks":"0","started_at":"2026-01-01T00:00:00Z"}'`;
const LOG = `'{"type":"log","stream":"stdout","text":"line\\n"}'`;
const FINISHED = `'${JSON.stringify({
  type: 'finished',
  success: true,
  output: '',
  exit_code: 0,
  error_msg: '',
  started_at: '2026-01-01T00:00:00Z',
  ended_at: '2026-01-01T00:00:00Z',
  end: { kind: 'exited', exitCode: 0 },
})}'`;

it('A silent executor is not waited for if its command has to end', async () => {
  const cancel = new AbortController();
  const silent = { ...(await executorThat('echo up >&2; exec sleep 600')), startLimitMs: 600_000 };
  const executor = create({ ...silent, endLimitMs: 600_000, killGraceMs: 600_000 });
  const captured = executor.capture(shell('true', { signal: cancel.signal }));
  cancel.abort(new MustEndError('The server stops.', 0));
  expect(await captured).toEqual({ kind: 'failed', problem: expect.any(String) });
});

describe('an executor that fails', () => {
  it.each([
    ['is not there', '', 'could not be started: The program /no/such/executor was not found'],
    [
      'ends at once',
      'echo "sudo: a password is required" >&2; exit 1',
      'ended with exit code 1 before it reported how the command ended: sudo: a password is required',
    ],
    ['ends well without a word', 'exit 0', 'ended with exit code 0 before it reported'],
    ['is killed', 'kill -9 $$', 'was killed by SIGKILL before it reported'],
    ['says nothing', 'exec sleep 300', 'did not start the command within 2 s'],
    [
      'greets',
      'echo "Welcome to host!"; exec sleep 300',
      'wrote a line that is no message: "Welcome to host!"',
    ],
    ['writes another kind of JSON', 'echo \'{"success":true}\'', 'wrote a line that is no message'],
    [
      'ends in the middle of a message',
      `printf '{"type":"sta'`,
      'ended with exit code 0 in the middle of a message',
    ],
    ['begins with the log', `say ${LOG}; exec sleep 300`, 'wrote a message log in place of started'],
    [
      'starts twice',
      `say ${STARTED}; say ${STARTED}; exec sleep 300`,
      'wrote a message started in place of log',
    ],
    [
      'goes on after the end',
      `say ${STARTED}; say ${FINISHED}; say ${LOG}`,
      'went on with a message log after finished',
    ],
    ['ends twice', `say ${STARTED}; say ${FINISHED}; say ${FINISHED}`, 'went on with a message finished'],
    [
      'writes without the end of a line',
      'exec cat /dev/zero',
      'wrote more than 1048576 bytes without the end of a line',
    ],
    [
      'ends while the step runs',
      `say ${STARTED}; say ${LOG}; exit 255`,
      'ended with exit code 255 before it reported',
    ],
  ])('because it %s, ends in a clear state', async (_, script, message) => {
    const options = await executorThat(script);
    const { result } = await run(shell('true'), {
      ...options,
      ...(message.includes('within 2 s') ? { startLimitMs: 2_000 } : {}),
      ...(script === '' ? { command: ['/no/such/executor'] } : {}),
    });
    expect(result).toEqual({ kind: 'lost', message: expect.stringContaining(`The executor ${message}`) });
  });

  it('F41: because it writes a secret instead of a message, does not reveal it', async () => {
    const secret = `canary-${'x'.repeat(300)}`;
    const options = await executorThat(`echo "$0 ${'y'.repeat(90)}${secret}"; echo ${secret} >&2`);
    const { result } = await run(shell('true', { secrets: [secret] }), options);
    expect(result.kind).toBe('lost');
    expect(JSON.stringify(result)).not.toContain('canary');
  });

  it('because it does not end a step in time, is killed', async () => {
    const script = `trap '' TERM HUP; say ${STARTED}; while :; do sleep 1; done`;
    const options = await executorThat(script);
    const { result } = await run(shell('true', { timeoutMs: 100 }), { ...options, endLimitMs: 500 });
    expect(result).toEqual({ kind: 'lost', message: 'The executor did not end the command in time' });
  });

  it('because it ignores a cancel, is killed', async () => {
    const cancel = new AbortController();
    const program = await executorThat(`say ${STARTED}; say ${LOG}; exec sleep 300`);
    const options = { ...program, endLimitMs: 500 };
    const { result } = await run(shell('true', { signal: cancel.signal }), options, () => cancel.abort());
    expect(result).toEqual({
      kind: 'lost',
      message: 'The executor did not end the command when it was asked to',
    });
  });

  it('does not delay a step that has ended, even if the executor stays', async () => {
    const options = await executorThat(`say ${STARTED}; say ${LOG}; say ${FINISHED}; exec sleep 300`);
    const { result, lines } = await run(shell('true'), { ...options, endLimitMs: 500 });
    expect([result, lines]).toEqual([{ kind: 'exited', exitCode: 0 }, ['line']]);
  });

  it('because others ended it, reports that', async () => {
    const { result } = await run(shell('echo $PPID; sleep 600'), {}, ([line]) => {
      if (Number(line) > 1) process.kill(Number(line), 'SIGTERM');
    });
    expect(result).toEqual({
      kind: 'lost',
      message: 'The executor gave up the command: cancelled: the executor got SIGTERM',
    });
  });

  it('F25: because it is killed, leaves no process of the step on this machine', async () => {
    let pid: string | undefined;
    const { result } = await run(shell('echo $$ $PPID; sleep 600'), {}, ([line = '']) => {
      const [step, executor] = line.split(' ');
      pid = step;
      if (Number(executor) > 1) process.kill(Number(executor), 'SIGKILL');
    });
    expect(result).toEqual({
      kind: 'lost',
      message: 'The executor was killed by SIGKILL before it reported how the command ended',
    });
    expect(isRunning(pid)).toBe(false);
  });
});

describe('a caller that dies', () => {
  it('F25: has its step ended by the executor', async () => {
    const { caller, pid } = await startCaller();
    caller.kill('SIGKILL');
    await hasEnded(pid);
  });
});

describe('a caller that hangs', () => {
  it('F22: has its step ended by the executor, and learns that when it continues', async () => {
    const { caller, pid, output } = await startCaller({ silenceMs: 3_000 });
    caller.kill('SIGSTOP');
    await hasEnded(pid);
    caller.kill('SIGCONT');
    for (const deadline = Date.now() + 60_000; output() === '' && Date.now() < deadline; ) await delay(50);
    expect(JSON.parse(output())).toEqual({
      kind: 'lost',
      message: 'The executor gave up the command: cancelled: the caller has gone',
    });
  });

  it('is not a caller that only waits: a step may take longer than any silence', async () => {
    const { result, lines } = await run(shell('sleep 4; echo done'), { silenceMs: 3_000 });
    expect([result, lines]).toEqual([{ kind: 'exited', exitCode: 0 }, ['done']]);
  });
});

/** Another process that runs a step through the executor, and prints its result. `pid` is that of the step. */
async function startCaller(options: { silenceMs?: number } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'iac-runner-caller-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'pid');
  const own = { command: EXEC, environment: { PATH: '/usr/bin:/bin' }, ...options };
  const script = `
    import { createIsolatedExecutor } from ${JSON.stringify(join(import.meta.dirname, 'isolated.ts'))};
    const result = await createIsolatedExecutor(${JSON.stringify(own)}).run({
      argv: ['sh', '-c', ${JSON.stringify(`echo $$ > ${file}.new; mv ${file}.new ${file}; sleep 600`)}],
      cwd: '/', env: { PATH: '/usr/bin:/bin' }, timeoutMs: 600000, signal: new AbortController().signal,
    }, { onStart() {}, onLines() {} });
    process.stdout.write(JSON.stringify(result));`;
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  const caller = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: [...stdio] });
  onTestFinished(() => void caller.kill('SIGKILL'));
  let output = '';
  caller.stdout?.on('data', (chunk) => {
    output += String(chunk);
  });
  let pid = '';
  for (const deadline = Date.now() + 60_000; pid === '' && Date.now() < deadline; await delay(50)) {
    pid = (await readFile(file, 'utf8').catch(() => '')).trim();
  }
  expect(isRunning(pid)).toBe(true);
  return { caller, pid, output: () => output };
}

async function hasEnded(pid: string): Promise<void> {
  for (const deadline = Date.now() + 60_000; isRunning(pid) && Date.now() < deadline; ) await delay(50);
  expect(isRunning(pid)).toBe(false);
}
