/** The interface through which a pipeline runs the command of a step. */

import type { ProcessIdentity } from '../process/process-stat.ts';
import type { OutputStream } from '../runs/run-events.ts';
import type { CapturedText } from './captured-text.ts';

export interface StepCommand {
  /** The program and its arguments. It is never a shell line. */
  argv: readonly [string, ...string[]];
  cwd: string;
  /** The whole environment of the child. Nothing is inherited. */
  env: Record<string, string>;
  timeoutMs: number;
  /** An abort ends the child and all its descendants: TERM, then KILL after a pause. */
  signal: AbortSignal;
  /** After an abort or a timeout an interrupt is sent first, and TERM after this time. Without it no interrupt is sent. */
  interruptGraceMs?: number;
  /** Masked in the output, together with the values of variables that have a secret's name. */
  secrets?: readonly string[];
  /** Written to stdin. Without it stdin is empty. */
  input?: string;
  /** The variable names a small file that the child may write. Afterwards it is at `file`, even if the child ran elsewhere. */
  result?: { variable: string; file: string };
}

export interface StepHooks {
  /** Called when the child runs. */
  onStart(process: ProcessIdentity): void;
  /** Called with whole lines, which are masked and not too long. The child waits while the promise is pending. */
  onLines(stream: OutputStream, lines: string[]): Promise<void> | void;
}

export type StepResult =
  | { kind: 'exited'; exitCode: number }
  | { kind: 'killed'; signal: string }
  | { kind: 'timed_out' }
  | { kind: 'cancelled' }
  | { kind: 'not_started'; code: string; message: string }
  /** The executor itself failed, so nobody knows how far the command came. */
  | { kind: 'lost'; message: string };

/** `stdout` is not cut. `stderr` is the last 64 KiB. `stderr` and `problem` are masked. */
export type CapturedOutput =
  | { kind: 'exited'; exitCode: number; stdout: CapturedText; stderr: string }
  | { kind: 'failed'; problem: string };

export interface Executor {
  run(command: StepCommand, hooks: StepHooks): Promise<StepResult>;
  /** Runs a command whose output our own code reads, such as JSON. It sends no interrupt. */
  capture(command: StepCommand): Promise<CapturedOutput>;
}
