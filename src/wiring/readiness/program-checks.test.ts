import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Executor } from '../../executor/executor.ts';
import { createLocalExecutor } from '../../executor/local.ts';
import { checkExecutor, checkTaskRunner, checkWorkspace } from './program-checks.ts';

const COMMAND = { argv: ['no-such-program'] as const, cwd: '/', env: {}, timeoutMs: 60_000 };
const NO_LIMITS = { cpuSeconds: null, memoryBytes: null, openFiles: null };

/** Makes a task runner that reports when it is started. */
function createPlace() {
  const folder = mkdtempSync(path.join(tmpdir(), 'iac-programs-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const checkout = path.join(folder, 'checkout');
  mkdirSync(checkout);
  const started = path.join(folder, 'started');
  for (const where of [folder, checkout])
    writeFileSync(path.join(where, 'deploy'), `#!/bin/sh\ntouch '${started}'\n`, { mode: 0o755 });
  function settings(program: string, command: readonly string[] | null) {
    return {
      executor: { command, limits: NO_LIMITS },
      plumbing: { PATH: `${folder}:/usr/bin:/bin` },
      invokeCommand: [program] as const,
      dataDir: folder,
      workspaceDir: folder,
    };
  }
  const options = { executor: createLocalExecutor(), checkout, signal: new AbortController().signal };
  return { folder, settings, options, hasStarted: () => existsSync(started) };
}

describe.each([
  ['here', null],
  ['through EXECUTOR_COMMAND', ['elsewhere']],
])('The task runner, %s,', (_where, command) => {
  it.each(['deploy', './deploy'])('%s is looked up and never started', async (program) => {
    const { settings, options, hasStarted } = createPlace();
    await checkTaskRunner(settings(program, command), options);
    expect(hasStarted()).toBe(false);
  });

  it.each(['no-such-program', './no-such-program'])('that is missing, %s, is named', async (program) => {
    const { settings, options } = createPlace();
    await expect(checkTaskRunner(settings(program, command), options)).rejects.toThrow(
      new RegExp(`^${program} was not found.*INVOKE_COMMAND`),
    );
  });

  it('is found by an absolute path, and not known yet by a relative one, before the first checkout', async () => {
    const { folder, settings, options } = createPlace();
    rmSync(options.checkout, { recursive: true });
    expect(await checkTaskRunner(settings(path.join(folder, 'deploy'), command), options)).toBe(null);
    expect(await checkTaskRunner(settings('./deploy', command), options)).toEqual({
      note: './deploy is looked up in the checkout, and there is none before the first sync.',
    });
    const absent = settings(path.join(folder, 'no-such'), command);
    await expect(checkTaskRunner(absent, options)).rejects.toThrow('INVOKE_COMMAND');
  });
});

it('A workspace that is a file is reported as a file', async () => {
  const { folder } = createPlace();
  const workspaceDir = path.join(folder, 'deploy');
  await expect(checkWorkspace({ workspaceDir })).rejects.toThrow(
    `WORKSPACE_DIR ${workspaceDir} is a file, not a folder. Set it to a folder.`,
  );
});

describe('An executor', () => {
  it('that cannot be started is described in sentences with one full stop each', async () => {
    const { settings, options } = createPlace();
    const capture = () => options.executor.capture({ ...COMMAND, signal: options.signal });
    const check = checkTaskRunner(settings('deploy', ['x']), { ...options, executor: { capture } });
    await expect(check).rejects.toThrow(/was not found; install it or correct PATH\. Install invoke/);
  });

  it('that sees the workspace passes the check', async () => {
    const { settings, options } = createPlace();
    await checkExecutor(settings('deploy', ['elsewhere']), options);
  });

  /** Returns an executor that behaves as a container with another folder at the path. */
  function elsewhere(from: string, to: string): Pick<Executor, 'capture'> {
    const { capture } = createLocalExecutor();
    return {
      capture: ({ argv: [program, ...rest], ...command }) =>
        capture({ ...command, argv: [program, ...rest.map((word) => word.replace(from, to))] }),
    };
  }

  it.each(['', 'mark of another'])('that has another folder there is reported (%s)', async (content) => {
    const { folder, settings, options } = createPlace();
    const other = path.join(folder, 'checkout');
    if (content !== '') writeFileSync(path.join(other, '.iac-runner-mark'), content);
    const executor = elsewhere(folder, other);
    await expect(checkExecutor(settings('deploy', ['x']), { ...options, executor })).rejects.toThrow(
      /does not see WORKSPACE_DIR .* EXECUTOR_COMMAND/,
    );
  });
});
