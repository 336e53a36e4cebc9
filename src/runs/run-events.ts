/** The append-only events of a run. */

import type { DeployOutput, PlanSummary } from './deployments/deployment.ts';
import type { FinalRunState, StepState } from './run.ts';
import type { RunReason } from './run-reasons.ts';

export type OutputStream = 'stdout' | 'stderr';

/** The decision about one service of the commit. */
export interface ServiceDecision {
  service: string;
  folder: string;
  wave: number;
  decision:
    | 'run'
    | 'done'
    | 'skipped'
    | 'not_chosen'
    | 'excluded'
    | 'removed'
    | 'newer_synced'
    | 'pinned'
    | 'postponed'
    /** The service is stale, and needs a service that failed or was never synced. */
    | 'blocked'
    /** The service is stale, and a hold stops it. */
    | 'held'
    /** Only in a preview: the service is stale already, with or without the pull request. */
    | 'already_due'
    | 'invalid';
  /** One sentence: the rule and the fact that led to the decision. */
  because: string;
  /** Some of the changed paths that led to the decision. The page that shows them escapes them. */
  paths: string[];
}

/** The stored explanation of a sync: file → rule → service → decision, also for services that were not chosen. */
export interface Explanation {
  revision: string;
  /** The base of the comparison, and other remarks, one sentence each. */
  notes: string[];
  services: ServiceDecision[];
  /** Changed paths that belong to no service, at most a hundred. */
  unmatched: string[];
}

/** The facts about a service in a started or finished step, for the ledger. Commits and trees are full ids. */
export interface LedgerFact {
  scope: string;
  service: string;
  folder: string;
  commit: string;
  /** Tree id of the service's folder. */
  tree: string;
  /** Digest of the shared paths. */
  shared: string;
  /** Digest of everything that the task depends on: tree, shared paths, environment. */
  inputs: string;
  /** The value that the task gets as IAC_CONFIG_HASH. */
  configHash: string | null;
}

export type ApprovalDecision = 'approved' | 'rejected' | 'expired';

/** The services that a run leaves out, and the holds that stop them. */
export interface LeftOut {
  /** The ids of the holds. */
  holds: string[];
  services: string[];
}

export type RunEventBody =
  | { type: 'run.queued' }
  | { type: 'run.started'; owner: string; attempt: number }
  | { type: 'run.revision'; revision: string; subject: string }
  | { type: 'run.explained'; explanation: Explanation }
  | { type: 'run.chosen'; count: number; message: string }
  | { type: 'run.baseline'; scope: string; commit: string }
  | { type: 'run.examined'; scope: string; commit: string }
  | { type: 'run.pinned'; scope: string; services: string[]; commit: string | null }
  | { type: 'run.rules'; scope: string; text: string | null }
  /** Names covered runs whose commits are not on the branch, so that they do not share the outcome of this run. */
  | { type: 'run.uncovers'; runs: { id: string; message: string }[] }
  /** This event is written to each of these covered runs. */
  | { type: 'run.uncovered'; message: string }
  | { type: 'run.notice'; level: 'info' | 'warning'; message: string }
  /** `summary` is null if the tool gave none. `text` is the plan for people, without colours. */
  | { type: 'run.planned'; step: string; summary: PlanSummary | null; text: string }
  /** Why a root could not be planned and what to do about it; `lines` are the last of its log. */
  | { type: 'run.diagnosed'; step: string; problem: string; nextAction: string; lines: string[] }
  /** The verdict of a check about a plan, in one sentence; `lines` are the last of its log. */
  | {
      type: 'run.checked';
      step: string;
      required: boolean;
      passed: boolean;
      message: string;
      lines: string[];
    }
  | { type: 'run.outputs'; outputs: Record<string, DeployOutput> }
  /** An approval is bound to `subject`: the digest of a plan, or a commit. */
  | { type: 'run.awaiting_approval'; subject: string; expiresAt: number; message: string }
  | { type: 'run.decided'; decision: ApprovalDecision; by: string; subject: string }
  | { type: 'run.cancel_requested'; by: string }
  /** The run goes on without these services. When one of the holds ends, they are asked for again. */
  | ({ type: 'run.held' } & LeftOut)
  /** A hold that the run waited for has ended. */
  | { type: 'run.released'; message: string }
  /**
   * `handedBack`: a server that was stopped cut off a running step. `holds`: the run waits until one of these holds
   * ends.
   */
  | {
      type: 'run.requeued';
      message: string;
      countAttempt: boolean;
      notBefore: number;
      handedBack?: boolean;
      holds?: string[];
    }
  | {
      type: 'run.finished';
      state: FinalRunState;
      reason: RunReason | null;
      message: string;
      coveredBy: string | null;
      leftOut?: LeftOut;
    }
  | { type: 'step.planned'; step: string; position: number; wave: number; message: string }
  | { type: 'step.started'; step: string; command: string[]; ledger: LedgerFact | null }
  | { type: 'step.process'; step: string; pid: number; startTicks: string }
  | { type: 'step.log'; step: string; stream: OutputStream; lines: string[] }
  | {
      type: 'step.finished';
      step: string;
      state: Exclude<StepState, 'pending' | 'running'>;
      message: string;
      exitCode: number | null;
      ledger: LedgerFact | null;
    };

/**
 * A stored event. `seq` counts from 1 within the run without gaps; a `step.log` takes one number per line and
 * carries the number of its first, so that every log line can be named and resumed from.
 */
export type RunEvent = RunEventBody & { runId: string; seq: number; at: number };

/** Returns how many sequence numbers an event takes. */
export function sequenceWidth(event: RunEventBody): number {
  return event.type === 'step.log' ? event.lines.length : 1;
}
