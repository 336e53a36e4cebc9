/** The steps of a run: how they are announced, logged and ended. */

import type { StepHooks, StepResult } from '../executor/executor.ts';
import { resultWords } from '../executor/result-words.ts';
import type { RunKind, Step, StepState } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import { capitalized } from '../runs/texts/capitalized.ts';
import type { Ended, PipelineContext } from './pipeline.ts';

/** The part of a run's context that its steps need. */
export type StepContext = Pick<PipelineContext<RunKind>, 'signal' | 'draining' | 'emit'>;

/** A step did not succeed, so the run ends with this outcome. */
export class StepFailed extends Error {
  readonly outcome: Ended;

  constructor(outcome: Ended) {
    super(outcome.message);
    this.outcome = outcome;
  }
}

/** Announces a step. A step that an earlier attempt had started waits again. */
export function plannedStep(
  step: string,
  position: number,
  message = 'Waiting for the earlier steps',
): RunEventBody {
  return { type: 'step.planned', step, position, wave: position, message };
}

export function finishStep(
  { emit }: StepContext,
  step: string,
  end: { state: Exclude<StepState, 'pending' | 'running'>; message: string; exitCode?: number | null },
): Promise<void> {
  return emit({ type: 'step.finished', step, exitCode: null, ...end, ledger: null });
}

/** Ends the steps that the run will not start any more. */
export async function blockPending(context: StepContext, steps: readonly Step[]): Promise<void> {
  for (const { id, state } of steps) {
    if (state === 'pending') await finishStep(context, id, { state: 'blocked', message: 'Not run' });
  }
}

/** The ends of the steps that are still open when their run ends. */
export function endsOfOpenSteps(steps: readonly Step[]): RunEventBody[] {
  return steps
    .filter(({ state }) => state === 'pending' || state === 'running')
    .map(({ id: step }) => ({
      type: 'step.finished',
      step,
      state: 'cancelled',
      message: 'The run ended before this',
      exitCode: null,
      ledger: null,
    }));
}

/** Finishes a step whose command was ended, and throws the reason of the signal that ended it. */
export async function throwCancelled(context: StepContext, step: string): Promise<never> {
  await finishStep(context, step, { state: 'cancelled', message: 'Ended before it was done' });
  context.signal.throwIfAborted();
  throw new Error(`Step ${step} ended as cancelled, but nobody requested it.`);
}

/** Stores the process and the output of a step's command. */
export function stepHooks({ emit }: StepContext, step: string): StepHooks {
  return {
    onStart: ({ pid, startTicks }) => void emit({ type: 'step.process', step, pid, startTicks }),
    onLines: (stream, lines) => emit({ type: 'step.log', step, stream, lines }),
  };
}

/** How the command of a step ended. */
export interface CommandEnd {
  state: 'succeeded' | 'failed' | 'timed_out' | 'cancelled';
  exitCode: number | null;
  /** Why iac-runner could not do its part, or null if the command itself ended like this. */
  ourFailure: 'not_started' | 'lost' | null;
  /** They follow the name of the command: "failed with exit code 3". */
  words: string;
  /** The same as a sentence: "Failed with exit code 3". */
  message: string;
}

export function commandEnd(result: StepResult, timeoutMs: number): CommandEnd {
  const words = resultWords(result, timeoutMs);
  const message = capitalized(words.replace(/^was /, ''));
  const end = { exitCode: null, ourFailure: null, words, message };
  switch (result.kind) {
    case 'exited': {
      const { exitCode } = result;
      return { ...end, state: exitCode === 0 ? 'succeeded' : 'failed', exitCode };
    }
    case 'killed':
      return { ...end, state: 'failed' };
    case 'timed_out':
    case 'cancelled':
      return { ...end, state: result.kind };
    case 'not_started':
    case 'lost':
      return { ...end, state: 'failed', ourFailure: result.kind, message: words };
  }
}
