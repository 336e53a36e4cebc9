import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { expect, it, vi } from 'vitest';
import { type CaptureSpec, captureProcess } from './capture.ts';

const CWD = tmpdir();

function capture(argv: CaptureSpec['argv'], more: Partial<CaptureSpec> = {}) {
  return captureProcess({ argv, cwd: CWD, env: { PATH: '/usr/bin:/bin' }, timeoutMs: 15_000, ...more });
}

it('captureProcess collects stdout, the end of stderr and the exit code', async () => {
  const script = 'echo out; head -c 100000 /dev/zero | tr "\\0" x >&2; echo end >&2; exit 3';
  const result = await capture(['sh', '-c', script]);
  if (result.kind !== 'exited') throw new Error(`It ended as ${result.kind}.`);
  expect(result.exitCode).toBe(3);
  expect(result.stdout.toString()).toBe('out\n');
  expect(result.stderr).toHaveLength(64 * 1024);
  expect(result.stderr.endsWith('xend\n')).toBe(true);
});

it('captureProcess passes input on, also to a child that does not read it', async () => {
  expect(await capture(['cat'], { input: 'héllo' })).toMatchObject({ stdout: Buffer.from('héllo') });
  expect(await capture(['true'], { input: new Uint8Array(5_000_000) })).toMatchObject({ exitCode: 0 });
});

it('captureProcess ends a child that writes more than allowed', async () => {
  expect(await capture(['yes'], { maxOutputBytes: 100_000 })).toEqual({ kind: 'too_much_output' });
});

it('captureProcess reports a time limit, a cancel and a signal', async () => {
  const slow = ['sh', '-c', 'echo started >&2; exec sleep 600'] as const;
  expect(await capture(slow, { timeoutMs: 500 })).toEqual({ kind: 'timed_out', stderr: 'started\n' });
  expect(await capture(slow, { signal: AbortSignal.timeout(200) })).toEqual({ kind: 'cancelled' });
  expect(await capture(slow, { signal: AbortSignal.abort() })).toEqual({ kind: 'cancelled' });
  expect(await capture(['sh', '-c', 'kill -9 $$'])).toMatchObject({ kind: 'killed', signal: 'SIGKILL' });
});

it('F42: captureProcess gives the child exactly the given environment', async () => {
  vi.stubEnv('CAPTURE_TEST_LEAK', 'leak');
  const result = await capture(['/usr/bin/env'], { env: { ONLY: 'this' } });
  vi.unstubAllEnvs();
  expect(result).toMatchObject({ stdout: Buffer.from('ONLY=this\n') });
});

it('F32b: a program that cannot be started is a result with the code and one clear sentence', async () => {
  const secret = 'hunter2-hunter2';
  const failures = [
    await capture(['no-such-program', secret]),
    await capture(['true', secret], { cwd: '/no/such/folder' }),
    await capture(['/etc/passwd', secret]),
    await capture(['true', secret], { env: { BIG: 'x'.repeat(3 * 1024 * 1024) } }),
    await capture(['true', `${secret}\0`]),
  ];
  expect(failures).toEqual([
    {
      kind: 'not_started',
      code: 'ENOENT',
      message: 'The program no-such-program was not found; install it or correct PATH.',
    },
    {
      kind: 'not_started',
      code: 'ENOENT',
      message: 'The working directory /no/such/folder of true does not exist.',
    },
    { kind: 'not_started', code: 'EACCES', message: expect.stringContaining('may not be executed') },
    { kind: 'not_started', code: 'E2BIG', message: expect.stringContaining('larger than the system allows') },
    { kind: 'not_started', code: 'EINVAL', message: expect.stringContaining('NUL byte') },
  ]);
  expect(JSON.stringify(failures)).not.toContain(secret);
});

it('F32b: a lack of file descriptors is a result, and the program continues', () => {
  const script = `
    import { closeSync, openSync } from 'node:fs';
    import { captureProcess } from ${JSON.stringify(new URL('./capture.ts', import.meta.url).href)};
    const spec = { argv: ['true'], cwd: '/', env: { PATH: '/usr/bin:/bin' }, timeoutMs: 10000 };
    await captureProcess(spec);
    const open = [];
    try { for (;;) open.push(openSync('/dev/null')); } catch {}
    const during = await captureProcess(spec);
    for (const fd of open) closeSync(fd);
    const after = await captureProcess(spec);
    console.log(during.kind, during.code, after.kind);`;
  const command = `ulimit -n 64; exec "$0" --input-type=module -e "$1"`;
  const { stdout, stderr } = spawnSync('sh', ['-c', command, process.execPath, script], { encoding: 'utf8' });
  expect(stdout, stderr).toBe('not_started EMFILE exited\n');
});

it('F32b: captureProcess gives the child an empty stdin, so a child that reads it continues', async () => {
  expect(await capture(['sh', '-c', 'read answer || echo "no answer"'])).toMatchObject({
    stdout: Buffer.from('no answer\n'),
  });
});
