/** The port through which a pipeline runs a step's command. */

import type { OutputStream } from '../runs/run-events.ts';
import type { CapturedText } from './captured-text.ts';

export interface StepCommand {
  /** The program and its arguments; never a shell line. */
  argv: readonly [string, ...string[]];
  cwd: string;
  /** The whole environment of the child. Nothing is inherited. */
  env: Record<string, string>;
  timeoutMs: number;
  /** Aborting it ends the child and all its descendants: TERM, then KILL after a grace. */
  signal: AbortSignal;
  /** On abort and timeout an interrupt comes first, and TERM this long after it; left out: no interrupt. */
  interruptGraceMs?: number;
  /** Masked in the output, beside what the names of variables tell to be secret. */
  secrets?: readonly string[];
  /** Written to stdin; without it stdin is at its end from the start. */
  input?: string;
  /** The variable names a file that the child may write, a small one; afterwards it is at `file`, wherever the child ran. */
  result?: { variable: string; file: string };
}

export interface StepHooks {
  /** Called once the child runs; `startTicks` is field 22 of /proc/PID/stat, which tells reused pids apart. */
  onStart(process: { pid: number; startTicks: string }): void;
  /** Called with whole lines, already masked and bounded. The child waits while the promise is pending. */
  onLines(stream: OutputStream, lines: string[]): Promise<void> | void;
}

export type StepResult =
  | { kind: 'exited'; exitCode: number }
  | { kind: 'killed'; signal: string }
  | { kind: 'timed_out' }
  | { kind: 'cancelled' }
  | { kind: 'not_started'; code: string; message: string }
  /** The executor itself failed: how far the command came is not known. */
  | { kind: 'lost'; message: string };

/** What a program said on stdout, not cut; `stderr` is its last 64 KiB. That and `problem` are masked. */
export type CapturedOutput =
  | { kind: 'exited'; exitCode: number; stdout: CapturedText; stderr: string }
  | { kind: 'failed'; problem: string };

export interface Executor {
  run(command: StepCommand, hooks: StepHooks): Promise<StepResult>;
  /** For output that is read by us, e.g. JSON. Not ended by an interrupt first. */
  capture(command: StepCommand): Promise<CapturedOutput>;
}
