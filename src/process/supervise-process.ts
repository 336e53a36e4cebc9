/** Runs one child process from start to end and leaves nothing of it behind. */

import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { MustEndError, RunnerError } from '../errors.ts';
import { limitedCommand, type ProcessLimits } from './limits.ts';
import { openOnePipe } from './output/one-pipe.ts';
import { readOutput } from './output/output-reader.ts';
import { endDescendants, type ProcessIdentity, startTicksOf } from './process-table.ts';
import { describeSpawnFailure, type SpawnFailure } from './spawn-failure.ts';
import type { Watchdog } from './watchdog/watchdog.ts';

export interface ProcessSpec {
  /** The program and its arguments; never a shell line. */
  argv: readonly [string, ...string[]];
  cwd: string;
  /** The whole environment of the child. Nothing is inherited. */
  env: Record<string, string>;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** Written to stdin, or piped there; without it stdin is at its end from the start. */
  input?: string | Uint8Array | Readable | undefined;
  /** From TERM to KILL; default 5 s. */
  killGraceMs?: number | undefined;
  /** On abort, timeout and failure an interrupt comes first, and TERM this long after it; left out: no interrupt. */
  interruptGraceMs?: number | undefined;
  /** For each process of the child's family. */
  limits?: ProcessLimits | null | undefined;
  /** stdout and stderr through one pipe, in the order in which they were written; all of it comes as stdout. */
  onePipe?: boolean | undefined;
  /** An entry of `env`, `NAME=value`, that is this process's alone: finds descendants in other sessions. */
  marker?: string | undefined;
  /** Ends the child's family should this process die or stand still. */
  watchdog?: Watchdog | null | undefined;
}

export interface ProcessHooks {
  onStart?(process: ProcessIdentity): void;
  /** Calls never overlap. The child waits while the promise is pending; an error ends it. */
  onChunk(stream: 'stdout' | 'stderr', chunk: Buffer): Promise<void> | void;
}

export type ProcessEnd =
  | { kind: 'exited'; exitCode: number }
  | { kind: 'killed'; signal: string }
  | { kind: 'timed_out' }
  | { kind: 'cancelled' }
  | SpawnFailure;

const KILL_GRACE_MS = 5_000;
/** What still runs after the child itself has ended by its own will gets less time. */
const LEFTOVER_GRACE_MS = 1_000;
/** Longer delays make a Node timer fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Loads what starts processes, a quarter of all modules of a server, at a moment when nobody waits for it. */
export async function loadProcessLibrary(): Promise<void> {
  await import('execa');
}

/**
 * Runs a program to its end. The result comes when the child, its session and every process with its marker
 * are gone and all their output was handed over; an escaped process that cannot be found delays it by less
 * than 2 s. A child that cannot be killed (another user's, or stuck in the kernel) is waited for: starting
 * anew beside it would be worse. Rejects with what a hook threw, and where there is no /proc.
 */
export async function superviseProcess(spec: ProcessSpec, hooks: ProcessHooks): Promise<ProcessEnd> {
  if (spec.signal?.aborted) return { kind: 'cancelled' };
  if (holdsNulByte(spec)) return describeSpawnFailure(spec.argv[0], spec.cwd, 'EINVAL');
  const command = await limitedCommand(spec);
  if (!command.ok) return command.failure;
  const pipe = spec.onePipe ? await openOnePipe() : null;
  const { execa } = await import('execa');
  if (spec.signal?.aborted) {
    pipe?.close();
    return { kind: 'cancelled' };
  }
  const subprocess = startChild(execa, { ...spec, argv: command.argv }, pipe?.writeEnd);
  pipe?.childHasIt();
  const { pid, nodeChildProcess: child } = subprocess;
  if (pid === undefined) {
    pipe?.close();
    return describeSpawnFailure(spec.argv[0], spec.cwd, (await subprocess).code ?? 'UNKNOWN');
  }
  const exit = exitOf(child);
  const leader = identify(child, pid);
  const letGo = spec.watchdog?.hold({ ...leader, marker: spec.marker });
  let ending: Promise<unknown> | null = null;
  const endAll = (patience: { graceMs: number; interruptMs?: number | undefined }): Promise<unknown> =>
    (ending ??= endDescendants({ ...leader, ...patience, marker: spec.marker }));

  const stops = watchForStop(spec, () => void endAll(patienceWith(spec)));
  const handOver = createHandOver(hooks, stops.fail);
  const readers = outputsOf(subprocess, pipe?.reader).map(([stream, output]) =>
    readOutput(output, (chunk) => handOver(stream, chunk)),
  );
  try {
    hooks.onStart?.(leader);
  } catch (error) {
    stops.fail(error);
  }

  const { exitCode, signal } = await exit;
  stops.unwatch();
  await endAll({ graceMs: LEFTOVER_GRACE_MS });
  letGo?.();
  for (const reader of readers) reader.closeSoon();
  await Promise.all(readers.map((reader) => reader.finished));

  const { failure, reason } = stops.outcome();
  if (failure) throw failure.error;
  if (reason) return { kind: reason };
  return signal === null ? { kind: 'exited', exitCode: exitCode ?? 0 } : { kind: 'killed', signal };
}

/** As it was agreed, or each grace shorter by the same share when there is less time. */
function patienceWith({
  killGraceMs: graceMs = KILL_GRACE_MS,
  interruptGraceMs: interruptMs = 0,
  signal,
}: ProcessSpec): { graceMs: number; interruptMs: number | undefined } {
  const reason: unknown = signal?.reason;
  const limitMs = reason instanceof MustEndError ? reason.endWithinMs : Number.POSITIVE_INFINITY;
  const share = Math.min(1, limitMs / (graceMs + interruptMs));
  return { graceMs: graceMs * share, interruptMs: interruptMs === 0 ? undefined : interruptMs * share };
}

type Output = ['stdout' | 'stderr', Readable];

function outputsOf(
  { stdout, stderr }: { stdout: Readable | null; stderr: Readable | null },
  onePipe: Readable | undefined,
): Output[] {
  if (onePipe) return [['stdout', onePipe]];
  return [
    ...(stdout ? [['stdout', stdout] as Output] : []),
    ...(stderr ? [['stderr', stderr] as Output] : []),
  ];
}

function startChild(execa: typeof import('execa').execa, spec: ProcessSpec, output?: Writable) {
  const [program, ...args] = spec.argv;
  return execa(program, args, {
    cwd: spec.cwd,
    env: spec.env,
    extendEnv: false,
    // Makes the child lead its own session, and ends that should this program exit first.
    killDescendants: true,
    buffer: false,
    reject: false,
    ...(output === undefined ? {} : { stdout: output, stderr: output }),
    ...(spec.input === undefined ? { stdin: 'ignore' } : { input: spec.input }),
  });
}

/** Checked here because execa's error for it quotes the argument, which may be secret. */
function holdsNulByte({ argv, cwd, env }: ProcessSpec): boolean {
  return [...argv, cwd, ...Object.entries(env).flat()].some((text) => text.includes('\0'));
}

/** Resolves at 'exit', not at 'close': that waits for whoever else holds the pipes. */
function exitOf(child: ChildProcess): Promise<{ exitCode: number | null; signal: string | null }> {
  return new Promise((resolve) => {
    child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
  });
}

/** Must come right after the start: until the event loop turns, even a dead child has its entry in /proc. */
function identify(child: ChildProcess, pid: number): ProcessIdentity {
  const startTicks = startTicksOf(pid);
  if (startTicks !== null) return { pid, startTicks };
  child.kill('SIGKILL');
  throw new RunnerError(`Process ${pid} was started but is not to be seen in /proc.`, {
    nextAction: 'Run on Linux with /proc mounted.',
  });
}

/** Calls `end` at the first reason to: the time is up, the caller aborts, or a hook failed. */
function watchForStop(spec: ProcessSpec, end: () => void) {
  let reason: 'timed_out' | 'cancelled' | null = null;
  let failure: { error: unknown } | null = null;
  const stop = (why: 'timed_out' | 'cancelled'): void => {
    reason ??= why;
    end();
  };
  const cancel = (): void => stop('cancelled');
  const timer = setTimeout(stop, Math.min(spec.timeoutMs, MAX_TIMER_MS), 'timed_out');
  spec.signal?.addEventListener('abort', cancel, { once: true });
  return {
    fail(error: unknown): void {
      failure ??= { error };
      end();
    },
    unwatch(): void {
      clearTimeout(timer);
      spec.signal?.removeEventListener('abort', cancel);
    },
    outcome: () => ({ reason, failure }),
  };
}

/** Hands chunks over one at a time, and no more after a failure: then they are only read away. */
function createHandOver(hooks: ProcessHooks, fail: (error: unknown) => void) {
  let last = Promise.resolve();
  let failed = false;
  return (stream: 'stdout' | 'stderr', chunk: Buffer): Promise<void> => {
    last = last.then(async () => {
      if (failed) return;
      try {
        await hooks.onChunk(stream, chunk);
      } catch (error) {
        failed = true;
        fail(error);
      }
    });
    return last;
  };
}
