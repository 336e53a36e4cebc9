/** What a pipeline is given and what it gives back. */

import type { FinalRunState, Run, RunReason, RunRequest } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';

export interface PipelineContext {
  run: Run;
  /** Superseded runs whose commits this one stands for too. */
  covers: readonly Run[];
  /** Aborted on cancel, at the end of a drain and when the lease is lost: end the work, then throw. */
  signal: AbortSignal;
  /** Aborted when the worker drains: begin no further step, let those under way end, then throw. */
  draining: AbortSignal;
  /** Stores events in one transaction. Log lines may be durable a moment later, with bounded memory. */
  emit(...events: RunEventBody[]): Promise<void>;
}

export interface Ended {
  state: FinalRunState;
  reason: RunReason | null;
  /** One sentence, in the words of the commit status. */
  message: string;
  /** For a superseded run: what takes its place, */
  followUp?: RunRequest;
  /** or the run that had done so before. */
  coveredBy?: string | null;
}

/** Not now: queued again, to be begun at `notBefore` (ms since the epoch) or later. */
export interface Waiting {
  state: 'queued';
  notBefore: number;
  message: string;
}

export type Outcome = Ended | Waiting;

export type Pipeline = (context: PipelineContext) => Promise<Outcome>;
