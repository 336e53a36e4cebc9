/** An executor under test, which is the real one or another program, and the observed course of a step. */

import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { isAlive, type ProcessIdentity, startTicksOf } from '../process/process-stat.ts';
import type { StepCommand, StepResult } from './executor.ts';
import { createIsolatedExecutor, type IsolatedExecutorOptions } from './isolated.ts';

export const EXEC = [process.execPath, join(import.meta.dirname, '../cli.ts'), 'exec'] as const;
const ENVIRONMENT = { PATH: '/usr/bin:/bin', SERVER_ONLY: 'server-CANARY' };

export function create(options: Partial<IsolatedExecutorOptions> = {}) {
  return createIsolatedExecutor({ command: EXEC, environment: ENVIRONMENT, ...options });
}

export function shell(script: string, more: Partial<StepCommand> = {}): StepCommand {
  return {
    argv: ['sh', '-c', script],
    cwd: tmpdir(),
    timeoutMs: 30_000,
    signal: new AbortController().signal,
    ...more,
    env: { PATH: '/usr/bin:/bin', ...more.env },
  };
}

export interface Observed {
  result: StepResult;
  lines: string[];
  streams: string[];
  started: ProcessIdentity[];
}

export async function run(
  command: StepCommand,
  options: Partial<IsolatedExecutorOptions> = {},
  onLines?: (lines: string[]) => Promise<void> | void,
): Promise<Observed> {
  const lines: string[] = [];
  const streams: string[] = [];
  const started: ProcessIdentity[] = [];
  const result = await create(options).run(command, {
    onStart: (identity) => void started.push(identity),
    async onLines(stream, batch) {
      lines.push(...batch);
      streams.push(...batch.map(() => stream));
      await onLines?.(batch);
    },
  });
  return { result, lines, streams, started };
}

/** A program in place of the executor. */
export async function executorThat(script: string): Promise<Partial<IsolatedExecutorOptions>> {
  const folder = await mkdtemp(join(tmpdir(), 'iac-runner-executor-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const program = join(folder, 'executor');
  await writeFile(program, `#!/bin/sh\nsay() { printf '%s\\n' "$1"; }\n${script}\n`);
  await chmod(program, 0o755);
  return { command: [program], killGraceMs: 500 };
}

export function isRunning(pid: string | undefined): boolean {
  return isAlive({ pid: Number(pid), startTicks: startTicksOf(Number(pid)) ?? '' });
}
