/** What a pipeline is given and what it gives back. */

import type { FinalRunState, Run, RunKind, RunReason, RunRequest } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';

export interface PipelineContext<Kind extends RunKind> {
  run: Run<Kind>;
  /** Superseded runs whose commits this one stands for too. */
  covers: readonly Run<Kind>[];
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
interface Waiting {
  state: 'queued';
  notBefore: number;
  message: string;
}

/** Somebody has to approve first; the run holds no process meanwhile. */
export interface AwaitingApproval {
  state: 'awaiting_approval';
  /** What the approval is bound to: the digest of a plan, or a commit. */
  subject: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
  message: string;
  /** The plan, sealed: kept beside the run until that ends. */
  sealed?: string;
}

export type Outcome = Ended | Waiting | AwaitingApproval;

export type Pipeline<Kind extends RunKind> = (context: PipelineContext<Kind>) => Promise<Outcome>;

export type Pipelines = { readonly [Kind in RunKind]: Pipeline<Kind> };
