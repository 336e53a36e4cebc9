/** The context that a pipeline gets, and the outcome that it returns. */

import type { FinalRunState, Run, RunKind, RunRequest } from '../runs/run.ts';
import type { LeftOut, RunEventBody } from '../runs/run-events.ts';
import type { RunReason } from '../runs/run-reasons.ts';

export interface PipelineContext<Kind extends RunKind> {
  run: Run<Kind>;
  /** Superseded runs. This run works for their commits too. */
  covers: readonly Run<Kind>[];
  /** Aborted by a cancel, at the end of a drain, and if the lease is lost. The pipeline then ends its work and throws. */
  signal: AbortSignal;
  /** Aborted if the worker drains. The pipeline then starts no other step, lets the running steps end, and throws. */
  draining: AbortSignal;
  /** Stores events in one transaction. Log lines may be stored a moment later. */
  emit(...events: RunEventBody[]): Promise<void>;
}

export interface Ended {
  state: FinalRunState;
  reason: RunReason | null;
  /** One sentence for people, which the commit status shows. */
  message: string;
  /** The run to make that replaces a superseded run. */
  followUp?: RunRequest;
  /** The id of an existing run that replaces a superseded run. */
  coveredBy?: string | null;
  /** The services that holds kept the run from syncing. When a hold ends, another run follows for them. */
  leftOut?: LeftOut;
}

/** The run goes back into the queue until `notBefore` (ms since the epoch). */
interface Waiting {
  state: 'queued';
  notBefore: number;
  message: string;
  /** The ids of holds. The end of one of them starts the run before that time. */
  holds?: string[];
}

/** Somebody has to approve first. The run has no process until then. */
interface AwaitingApproval {
  state: 'awaiting_approval';
  /** The digest of a plan, or a commit. The approval is bound to it. */
  subject: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
  message: string;
  /** The sealed plan. It is stored until the run ends. */
  sealed?: string;
}

export type Outcome = Ended | Waiting | AwaitingApproval;

export type Pipeline<Kind extends RunKind> = (context: PipelineContext<Kind>) => Promise<Outcome>;

export type Pipelines = { readonly [Kind in RunKind]: Pipeline<Kind> };
