/** iac-runner exec, byte for byte: the requests and responses of existing callers, and the stream. */

import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { processesMentioning } from './support/processes.ts';
import { CLI } from './support/program.ts';
import { makeTemporaryFolder, removeFolder } from './support/temporary-folder.ts';
import { until } from './support/until.ts';

const responseSchema = z.strictObject({
  success: z.boolean(),
  output: z.string(),
  exit_code: z.int(),
  error_msg: z.string(),
  started_at: z.iso.datetime(),
  ended_at: z.iso.datetime(),
});

let folder: string;
let bin: string;

beforeAll(async () => {
  folder = await makeTemporaryFolder('exec');
  bin = join(folder, 'bin');
  await mkdir(bin);
});
afterAll(() => removeFolder(folder));

/** Sets the script that `terraform` runs from now on. */
async function toolDoes(script: string): Promise<void> {
  await writeFile(join(bin, 'terraform'), `#!/bin/sh\n${script}\n`);
  await chmod(join(bin, 'terraform'), 0o755);
}

function begin(args: readonly string[] = []) {
  const child = spawn(process.execPath, [CLI, 'exec', ...args], {
    env: { PATH: `${bin}:/usr/bin:/bin`, HOME: folder, LEAK: 'CANARY-of-the-executor' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk;
  });
  const exited = new Promise<{ exitCode: number | null; stdout: string; stderr: string }>((resolve) => {
    child.on('close', (exitCode) => resolve({ exitCode, stdout, stderr }));
  });
  return { child, exited, soFar: () => stdout };
}

async function execute(request: unknown, args: readonly string[] = []) {
  const { child, exited } = begin(args);
  child.stdin.end(typeof request === 'string' ? request : JSON.stringify(request));
  return exited;
}

/** Sends a request to a process that must exit with 0 and print only the response, which is returned. */
async function answer(request: unknown) {
  const { exitCode, stdout, stderr } = await execute(request);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  expect(stdout.trim().split('\n')).toHaveLength(1);
  return responseSchema.parse(JSON.parse(stdout));
}

const request = (more: Record<string, unknown> = {}) => ({
  tool: 'terraform',
  work_dir: folder,
  command: 'plan',
  args: ['-input=false', 'two words'],
  env_vars: { TF_VAR_name: 'ada' },
  timeout: 1,
  ...more,
});

async function messagesOf(text: string): Promise<Record<string, unknown>[]> {
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('iac-runner exec', () => {
  it('runs the tool in its folder and answers with one object', async () => {
    await toolDoes('printf "%s|" "$@"; pwd; printf "\\033[1mbold\\033[0m\\n"');
    const response = await answer(request());
    expect(response).toMatchObject({
      success: true,
      output: `plan|-input=false|two words|${folder}\n\u001b[1mbold\u001b[0m\n`,
      exit_code: 0,
      error_msg: '',
    });
    expect(response.started_at).toMatch(/Z$/);
    expect(Date.parse(response.ended_at)).toBeGreaterThanOrEqual(Date.parse(response.started_at));
  });

  it('keeps the order of stdout and stderr, which share one pipe', async () => {
    await toolDoes('for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done');
    expect((await answer(request())).output).toBe('o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\n');
  });

  it("accepts Go's empty values: null for lists and maps, 0 for the timeout", async () => {
    await toolDoes('echo "$#"');
    const response = await answer(request({ args: null, env_vars: null, timeout: 0, unknown: 1 }));
    expect(response).toMatchObject({ success: true, output: '1\n' });
  });

  it('answers with the exit code of a tool that fails', async () => {
    await toolDoes('echo no >&2; exit 3');
    expect(await answer(request())).toMatchObject({
      success: false,
      output: 'no\n',
      exit_code: 3,
      error_msg: 'exit status 3',
    });
    await toolDoes('kill -9 $$');
    expect(await answer(request())).toMatchObject({ exit_code: 1, error_msg: 'signal: killed' });
  });

  it('F42: gives the tool PATH, HOME and similar variables and env_vars, and no other variable', async () => {
    await toolDoes('env');
    const { output } = await answer(request());
    expect(output).toContain('TF_VAR_name=ada\n');
    expect(output).toContain(`HOME=${folder}\n`);
    expect(output).not.toContain('LEAK');
    expect(output).not.toContain('CANARY');
  });

  it('F28: ends a tool that exceeds its timeout, with all its processes, and returns its output so far', async () => {
    await toolDoes('echo started; sleep 300 & echo $!; sleep 300; echo never');
    const response = await answer(request({ timeout: 0.1 }));
    expect(response).toMatchObject({ success: false, exit_code: 1, error_msg: 'signal: killed' });
    expect(response.output).toMatch(/^started\n\d+\n$/);
    expect(await processesMentioning(folder)).toEqual([]);
  });

  it('reports a missing folder with the words of Go', async () => {
    const missing = join(folder, 'missing');
    expect(await answer(request({ work_dir: missing }))).toMatchObject({
      success: false,
      output: '',
      exit_code: 1,
      error_msg: `chdir ${missing}: no such file or directory`,
    });
    const file = join(folder, 'file');
    await writeFile(file, '');
    expect((await answer(request({ work_dir: file }))).error_msg).toBe(`chdir ${file}: not a directory`);
  });

  it('reports that the tool is not installed', async () => {
    expect(await answer(request({ tool: 'tofu' }))).toMatchObject({
      success: false,
      exit_code: 1,
      error_msg: 'exec: "tofu": executable file not found in $PATH',
    });
  });

  it.each<[string, () => unknown]>([
    ['nothing', () => ''],
    ['no JSON', () => '{"tool":'],
    ['two documents', () => JSON.stringify(request()).repeat(2)],
    ['two documents on two lines', () => `${JSON.stringify(request())}\n${JSON.stringify(request())}\n`],
    ['a list', () => [request()]],
    ['a tool that is a path', () => request({ tool: join(bin, 'terraform') })],
    ['a tool below the working folder', () => request({ tool: './terraform' })],
    ['another tool', () => request({ tool: 'sh' })],
    ['no tool', () => request({ tool: undefined })],
    ['no command', () => request({ command: undefined })],
    ['no folder', () => request({ work_dir: '' })],
    ['arguments that are no strings', () => request({ args: ['-x', 1] })],
    ['arguments in one string', () => request({ args: '-x' })],
    ['a variable that is no string', () => request({ env_vars: { A: 1 } })],
    ['a variable with a bad name', () => request({ env_vars: { 'A=B': 'x' } })],
    ['a NUL byte', () => request({ args: ['a\0b'] })],
    ['a timeout in words', () => request({ timeout: '30' })],
    ['a timeout before now', () => request({ timeout: -1 })],
    ['a program, without --stream', () => ({ argv: ['touch', 'ran'], work_dir: folder })],
  ])('refuses %s, with the reason, and runs nothing', async (_, make) => {
    await toolDoes('touch ran');
    const response = await answer(make());
    expect(response).toMatchObject({ success: false, output: '', exit_code: 1 });
    expect(response.error_msg).toMatch(/^Invalid request: /);
    expect(await readFile(join(folder, 'ran')).catch(() => 'nothing')).toBe('nothing');
  });

  it('F29: does not wait for a leftover process that keeps the pipe open', async () => {
    await toolDoes('env -i setsid sleep 600 & echo $!; exit 0');
    const response = await answer(request());
    expect(response).toMatchObject({ success: true, output: expect.stringMatching(/^\d+\n$/) });
    execFileSync('sh', ['-c', `kill -KILL ${response.output.trim()} 2> /dev/null || :`]);
  });

  it('F32: returns 20 MB of output completely, and of longer output the beginning and the end', async () => {
    await toolDoes('echo first; head -c 20000000 /dev/zero | tr "\\0" x; echo; echo last');
    const whole = await answer(request());
    expect(whole.success).toBe(true);
    expect(whole.output).toHaveLength(6 + 20_000_000 + 1 + 5);

    await toolDoes('echo first; head -c 100000000 /dev/zero | tr "\\0" x; echo; echo last');
    const { success, output } = await answer(request());
    expect(success).toBe(true);
    expect(output.startsWith('first\nxxx')).toBe(true);
    expect(output.endsWith('xxx\nlast\n')).toBe(true);
    expect(output).toMatch(/\n\[\d+ bytes of output left out here\]\n/);
    expect(output.length).toBeLessThan(40_000_000);
  });

  it('SIGTERM ends the tool with all its processes, and a response is sent', async () => {
    // A shell runs no trap while it waits for a command in the foreground, and the interrupt may arrive while it
    // starts one.
    const startsOne = 'env --default-signal=INT sh -c "touch ready; exec sleep 300"';
    await toolDoes(`trap "echo saved; exit 1" INT; ${startsOne} & wait`);
    await rm(join(folder, 'ready'), { force: true });
    const { child, exited } = begin();
    child.stdin.end(JSON.stringify(request()));
    await until('the tool', () => (existsSync(join(folder, 'ready')) ? true : null));
    child.kill('SIGTERM');
    const { exitCode, stdout } = await exited;
    expect(exitCode).toBe(0);
    const response = responseSchema.parse(JSON.parse(stdout));
    expect(response).toMatchObject({ success: false, exit_code: 1 });
    expect(response.error_msg).toBe('cancelled: the executor got SIGTERM');
    expect(response.output).toContain('saved');
    expect(await processesMentioning(folder)).toEqual([]);
  });

  it('SIGTERM before the request has arrived gets a response, too', async () => {
    const { child, exited } = begin();
    child.stdin.write('{"tool":');
    await until('the handler of SIGHUP', async () => {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      // Node itself catches SIGTERM from the start. SIGHUP, the lowest bit, is caught by our code.
      const caught = BigInt(`0x${/SigCgt:\s*(\w+)/.exec(status)?.[1] ?? '0'}`);
      return caught & 1n ? true : null;
    });
    child.kill('SIGTERM');
    const { stdout } = await exited;
    expect(JSON.parse(stdout)).toMatchObject({
      success: false,
      exit_code: 1,
      error_msg: 'Invalid request: the executor got SIGTERM before it was there.',
    });
  });

  it('refuses unknown options', async () => {
    const { exitCode, stdout, stderr } = await execute(request(), ['--nonsense']);
    expect([exitCode, stdout]).toEqual([2, '']);
    expect(stderr).toContain('--nonsense');
  });
});

describe('iac-runner exec --stream', () => {
  it('writes started, log and finished, and finished has the fields of the response', async () => {
    await toolDoes('echo one; echo two >&2; exit 2');
    const { exitCode, stdout, stderr } = await execute(request(), ['--stream']);
    expect([exitCode, stderr]).toEqual([0, '']);
    const messages = await messagesOf(stdout);
    expect(messages[0]).toMatchObject({ type: 'started', pid: expect.any(Number) });
    expect(messages.at(-1)).toMatchObject({
      type: 'finished',
      success: false,
      output: 'one\ntwo\n',
      exit_code: 2,
      error_msg: 'exit status 2',
    });
    const logs = messages.slice(1, -1);
    expect(new Set(logs.map(({ type }) => type))).toEqual(new Set(['log']));
    expect(logs.map(({ text }) => text).join('')).toBe('one\ntwo\n');
  });

  it('writes while the tool runs', async () => {
    await toolDoes(`echo one; while [ ! -e ${folder}/go ]; do sleep 0.05; done; echo two`);
    const { child, exited, soFar } = begin(['--stream']);
    child.stdin.end(JSON.stringify(request()));
    await until('the first line', () => (soFar().includes('one') ? true : null));
    expect(soFar()).not.toContain('finished');
    await writeFile(join(folder, 'go'), '');
    expect((await exited).stdout).toContain('two');
  });

  it('answers a refused request with finished alone', async () => {
    const { exitCode, stdout } = await execute('{}{}', ['--stream']);
    expect(exitCode).toBe(0);
    expect(await messagesOf(stdout)).toEqual([
      expect.objectContaining({ type: 'finished', success: false, exit_code: 1 }),
    ]);
  });

  it('answers a refused request with finished alone also to a caller that stays', async () => {
    const { child, exited } = begin(['--stream']);
    child.stdin.write(
      `${JSON.stringify({ argv: ['env'], work_dir: folder, attached: true, timeout: -1 })}\n`,
    );
    const [finished, ...rest] = await messagesOf((await exited).stdout);
    expect(finished).toMatchObject({ type: 'finished', error_msg: expect.stringContaining('timeout') });
    expect(rest).toEqual([]);
  });

  it('ends a program within half of silence_ms when its caller leaves, and within end_within_ms when its caller says so', async () => {
    const script = `trap '' INT TERM; echo up; while :; do sleep 0.1; done`;
    for (const word of [null, { end_within_ms: 500 }]) {
      const { child, exited, soFar } = begin(['--stream']);
      const program = { argv: ['sh', '-c', script], work_dir: folder, env_vars: { PATH: '/usr/bin:/bin' } };
      const graces = { interrupt_ms: 60_000, silence_ms: word === null ? 4_000 : 3_600_000 };
      child.stdin.write(`${JSON.stringify({ ...program, ...graces, attached: true })}\n`);
      await until('the trap', () => (soFar().includes('up') ? true : null));
      if (word === null) child.stdin.end();
      else child.stdin.write(`${JSON.stringify(word)}\n`);
      const messages = await messagesOf((await exited).stdout);
      expect(messages.at(-1)).toMatchObject({
        error_msg: `cancelled: the caller has ${word === null ? 'gone' : 'ended it'}`,
      });
    }
  });

  it('runs any program with exactly its environment, for callers that stay', async () => {
    const { child, exited } = begin(['--stream']);
    const program = { argv: ['env'], work_dir: folder, env_vars: { PATH: '/usr/bin', ONLY: 'this' } };
    child.stdin.write(`${JSON.stringify({ ...program, attached: true })}\n`);
    const { stdout } = await exited;
    const [started, ...rest] = await messagesOf(stdout);
    expect(started).toMatchObject({ type: 'started' });
    const said = rest.flatMap(({ type, text }) => (type === 'log' ? [String(text)] : [])).join('');
    expect(said.trim().split('\n').sort()).toEqual([
      expect.stringMatching(/^IAC_PROCESS_ID=/),
      'ONLY=this',
      'PATH=/usr/bin',
    ]);
    expect(rest.at(-1)).toMatchObject({ success: true, output: '', end: { kind: 'exited', exitCode: 0 } });
  });

  it('ends the program when an attached caller leaves or sends anything more', async () => {
    for (const leave of ['end', 'write'] as const) {
      const { child, exited, soFar } = begin(['--stream']);
      const program = { argv: ['sleep', '300'], work_dir: folder, env_vars: { PATH: '/usr/bin:/bin' } };
      child.stdin.write(`${JSON.stringify({ ...program, attached: true })}\n`);
      await until('the start', () => (soFar().includes('started') ? true : null));
      child.stdin[leave]('{}');
      const messages = await messagesOf((await exited).stdout);
      expect(messages.at(-1)).toMatchObject({
        type: 'finished',
        error_msg: 'cancelled: the caller has gone',
        end: { kind: 'cancelled' },
      });
    }
  });

  it('F25: ends the program when nobody reads its output any more', async () => {
    const { child, exited } = begin(['--stream']);
    const program = { argv: ['yes'], work_dir: folder, env_vars: { PATH: '/usr/bin:/bin', MARK: folder } };
    child.stdin.write(JSON.stringify(program));
    child.stdin.end();
    await until('the program', async () =>
      (await processesMentioning(folder)).some(({ command }) => command === 'yes') ? true : null,
    );
    child.stdout.destroy();
    child.stderr.destroy();
    expect((await exited).exitCode).toBe(1);
    expect(execFileSync('ps', ['-eo', 'args']).toString()).not.toMatch(/^yes$/m);
  });
});
