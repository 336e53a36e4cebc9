/** Runs one child process from start to end, and leaves no process behind. */

import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { MustEndError, RunnerError } from '../errors.ts';
import { MAX_TIMER_MS, SECOND } from '../units.ts';
import { limitedCommand, type ProcessLimits } from './limits.ts';
import { openOnePipe } from './output/one-pipe.ts';
import { readOutput } from './output/output-reader.ts';
import { type ProcessIdentity, startTicksOf } from './process-stat.ts';
import { endDescendants } from './process-table.ts';
import { describeSpawnFailure, type SpawnFailure } from './spawn-failure.ts';
import type { Watchdog } from './watchdog/watchdog.ts';

export interface ProcessSpec {
  /** The program and its arguments. It is never a shell line. */
  argv: readonly [string, ...string[]];
  cwd: string;
  /** The whole environment of the child. Nothing is inherited. */
  env: Record<string, string>;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
  /** Written or piped to stdin. Without it stdin is empty. */
  input?: string | Uint8Array | Readable | undefined;
  /** The time between TERM and KILL. Default 5 s. */
  killGraceMs?: number | undefined;
  /** After an abort, a timeout or a failure an interrupt is sent first, and TERM after this time. Without it no interrupt is sent. */
  interruptGraceMs?: number | undefined;
  /** For the child and each of its descendants. */
  limits?: ProcessLimits | null | undefined;
  /** Uses one pipe for stdout and stderr, which keeps their order. All output counts as stdout. */
  onePipe?: boolean | undefined;
  /** An entry `NAME=value` of `env` that only this process has. It finds descendants in other sessions. */
  marker?: string | undefined;
  /** Ends the child and its descendants if this process dies or hangs. */
  watchdog?: Watchdog | null | undefined;
}

export interface ProcessHooks {
  onStart?(process: ProcessIdentity): void;
  /** Calls never overlap. The child waits while the promise is pending. An error ends the child. */
  onChunk(stream: 'stdout' | 'stderr', chunk: Buffer): Promise<void> | void;
}

export type ProcessEnd =
  | { kind: 'exited'; exitCode: number }
  | { kind: 'killed'; signal: string }
  | { kind: 'timed_out' }
  | { kind: 'cancelled' }
  | SpawnFailure;

const KILL_GRACE_MS = 5 * SECOND;
/** Processes that still run after the child has ended by itself get less time. */
const LEFTOVER_GRACE_MS = SECOND;

/** Loads execa, a quarter of all modules of a server, at a moment when nobody waits for it. */
export async function loadProcessLibrary(): Promise<void> {
  await import('execa');
}

/**
 * Runs a program to its end. Resolves when the child, its session and every process with its marker have ended and all
 * their output was passed on. An escaped process that cannot be found delays this by less than 2 s. A child that cannot
 * be killed, because it belongs to another user or hangs in the kernel, is waited for: a second start beside it would be
 * worse. Rejects with the error of a hook, and if there is no /proc.
 */
export async function superviseProcess(spec: ProcessSpec, hooks: ProcessHooks): Promise<ProcessEnd> {
  const started = await start(spec);
  if ('kind' in started) return started;
  const { leader, exit, outputs } = started;
  const letGo = spec.watchdog?.hold({ ...leader, marker: spec.marker });
  let ending: Promise<unknown> | null = null;
  const endAll = (patience: { graceMs: number; interruptMs?: number | undefined }): Promise<unknown> =>
    (ending ??= endDescendants({ ...leader, ...patience, marker: spec.marker }));

  const stops = watchForStop(spec, () => void endAll(patienceWith(spec)));
  const passOn = createQueue(hooks, stops.fail);
  const readers = outputs.map(([stream, output]) => readOutput(output, (chunk) => passOn(stream, chunk)));
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

interface Started {
  leader: ProcessIdentity;
  exit: Promise<{ exitCode: number | null; signal: string | null }>;
  outputs: Output[];
}

async function start(spec: ProcessSpec): Promise<Started | ProcessEnd> {
  if (spec.signal?.aborted) return { kind: 'cancelled' };
  const [name] = spec.argv;
  if (holdsNulByte(spec)) return describeSpawnFailure(name, spec.cwd, 'EINVAL');
  const command = await limitedCommand(spec);
  if (!command.ok) return command.failure;
  const pipe = spec.onePipe ? await openOnePipe() : null;
  const { execa } = await import('execa');
  if (spec.signal?.aborted) {
    pipe?.close();
    return { kind: 'cancelled' };
  }
  const subprocess = startChild(execa, { ...spec, argv: command.argv }, pipe?.writeEnd);
  pipe?.closeWriteEnd();
  const { pid, nodeChildProcess: child } = subprocess;
  if (pid === undefined) {
    pipe?.close();
    return describeSpawnFailure(name, spec.cwd, (await subprocess).code ?? 'UNKNOWN');
  }
  const exit = exitOf(child);
  return { leader: identify(child, pid), exit, outputs: outputsOf(subprocess, pipe?.reader) };
}

/** The usual times between signals, or the same part of each if there is less time. */
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
    // Makes the child lead its own session, which ends if this program exits first.
    killDescendants: true,
    buffer: false,
    reject: false,
    ...(output === undefined ? {} : { stdout: output, stderr: output }),
    ...(spec.input === undefined ? { stdin: 'ignore' } : { input: spec.input }),
  });
}

/** Checked here, because execa's error quotes the argument, which may be secret. */
function holdsNulByte({ argv, cwd, env }: ProcessSpec): boolean {
  return [...argv, cwd, ...Object.entries(env).flat()].some((text) => text.includes('\0'));
}

/** Resolves at 'exit' and not at 'close', which also waits for other processes that hold the pipes. */
function exitOf(child: ChildProcess): Promise<{ exitCode: number | null; signal: string | null }> {
  return new Promise((resolve) => {
    child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
  });
}

/** Call it right after the start. Until the next turn of the event loop even a dead child has its entry in /proc. */
function identify(child: ChildProcess, pid: number): ProcessIdentity {
  const startTicks = startTicksOf(pid);
  if (startTicks !== null) return { pid, startTicks };
  child.kill('SIGKILL');
  throw new RunnerError(`Process ${pid} was started but is not in /proc.`, {
    nextAction: 'Run on Linux with /proc mounted.',
  });
}

/** Calls `end` if the time is up, the caller aborts, or a hook fails. */
function watchForStop(spec: ProcessSpec, end: () => void) {
  let reason: 'timed_out' | 'cancelled' | null = null;
  let failure: { error: unknown } | null = null;
  const stop = (why: 'timed_out' | 'cancelled'): void => {
    reason ??= why;
    end();
  };
  const cancel = (): void => stop('cancelled');
  const timer = setTimeout(stop, Math.min(spec.timeoutMs, MAX_TIMER_MS), 'timed_out');
  if (spec.signal?.aborted) cancel();
  else spec.signal?.addEventListener('abort', cancel, { once: true });
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

/** Passes chunks on one at a time. After a failure, chunks are only read. */
function createQueue(hooks: ProcessHooks, fail: (error: unknown) => void) {
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
