/** Defines a run and a step: their fields, their states, and the legal transitions. */

import type { CommandInput } from './command.ts';
import type { DeployInput } from './deployments/deployment.ts';
import type { PlanInput } from './plan-comment.ts';
import type { RunReason } from './run-reasons.ts';
import type { PlaceInput } from './sync/place.ts';
import type { SyncInput } from './sync/sync-input.ts';

/** Every state with the states that may follow it. A state with none is final. */
const NEXT_STATES = {
  queued: ['running', 'awaiting_approval', 'cancelled', 'superseded', 'errored'],
  running: [
    'queued',
    'awaiting_approval',
    'succeeded',
    'failed',
    'errored',
    'cancelled',
    'timed_out',
    'superseded',
  ],
  awaiting_approval: ['queued', 'cancelled', 'superseded'],
  succeeded: [],
  failed: [],
  errored: [],
  cancelled: [],
  timed_out: [],
  superseded: [],
} as const satisfies Record<string, readonly string[]>;

export type RunState = keyof typeof NEXT_STATES;

export type FinalRunState = Exclude<RunState, 'queued' | 'running' | 'awaiting_approval'>;

export const RUN_STATES = Object.keys(NEXT_STATES) as RunState[];

export function isFinal(state: RunState): state is FinalRunState {
  return NEXT_STATES[state].length === 0;
}

/** Returns `to`. Throws if a run in state `from` may not become that. Every change of state goes through here. */
export function transition<To extends RunState>(from: RunState, to: To): To {
  const next: readonly RunState[] = NEXT_STATES[from];
  if (!next.includes(to)) throw new Error(`A run cannot go from ${from} to ${to}.`);
  return to;
}

const NEXT_STEP_STATES = {
  // A new attempt of the run puts unfinished steps back to pending.
  pending: ['pending', 'running', 'skipped', 'blocked', 'removed', 'cancelled', 'failed'],
  running: ['pending', 'succeeded', 'failed', 'timed_out', 'cancelled', 'skipped'],
  succeeded: ['pending'],
  failed: ['pending'],
  timed_out: ['pending'],
  cancelled: ['pending'],
  skipped: ['pending'],
  blocked: ['pending'],
  removed: ['pending'],
} as const satisfies Record<string, readonly string[]>;

export type StepState = keyof typeof NEXT_STEP_STATES;

export function stepTransition<To extends StepState>(from: StepState, to: To): To {
  const next: readonly StepState[] = NEXT_STEP_STATES[from];
  if (!next.includes(to)) throw new Error(`A step cannot go from ${from} to ${to}.`);
  return to;
}

/** The requester of a run. It is shown and recorded, and never decides what runs. */
export interface Trigger {
  source:
    | 'webhook'
    | 'pull_request'
    | 'sync_api'
    | 'retry'
    | 'replay'
    | 'reconcile'
    | 'deploy_api'
    | 'drift_check'
    | 'pubsub'
    | 'comment'
    | 'promote_api'
    | 'automatic_promotion';
  /** GitHub login, API token name, or null when unknown. */
  actor: string | null;
  deliveryId: string | null;
  /** The run that this one retries. */
  retryOf: string | null;
}

/** The branch is the one that the pull request is to be merged into. */
export interface PreviewInput extends PlaceInput {
  /** Full id of the pull request's head. */
  revision: string;
  pullRequest: number;
}

/** The kinds of runs, each with its input. Everything else that differs by kind is in kinds/. */
export interface RunInputs {
  sync: SyncInput;
  preview: PreviewInput;
  deploy: DeployInput;
  plan: PlanInput;
  command: CommandInput;
}

export type RunKind = keyof RunInputs;

interface RequestOf<K extends RunKind> {
  kind: K;
  trigger: Trigger;
  input: RunInputs[K];
  /** At most one run of a group is worked on at a time. */
  concurrencyGroup: string;
  /** True if a newer queued run of the same group that also coalesces makes this one unnecessary. */
  coalesce: boolean;
  /** A second request with this key gets the run of the first one, unless that ended badly. */
  dedupeKey: string | null;
  /** A run with a higher priority starts first, in its group and among all. Left out: 0. */
  priority?: number;
  /** Only a worker that has all these labels takes the run. Left out: none. */
  labels?: string[];
  /** First line of the commit's message, if the sender said it. Left out: it is not known before the run has started. */
  subject?: string | null | undefined;
  /** The run is stored as one that awaits an approval. It holds nothing until it is approved. Left out: it may start. */
  approval?: ApprovalRequest;
}

/** An approval that a run needs before its first start. */
export interface ApprovalRequest {
  /** What the approval is bound to: the digest of what the run would change. */
  subject: string;
  /** Milliseconds since the epoch. */
  expiresAt: number;
  /** The message of the run while it waits. */
  message: string;
}

/**
 * A store keeps no more runs than this that have not started and await an approval, because all of them are read to find
 * those whose time is over.
 */
export const MAX_UNAPPROVED = 1_000;

/** The request of a trigger for a run. */
export type RunRequest = { [P in RunKind]: RequestOf<P> }[RunKind];

/**
 * The approval of a run that has started adds this to its priority. It is more than a request can have, so the run goes
 * on before all others.
 */
const APPROVED_PRIORITY = 1_000_000;

export function approvedPriority(run: Pick<Run, 'priority'>): number {
  return APPROVED_PRIORITY + requestedPriority(run);
}

/** Returns the priority of the request, which everybody but the queue should use. */
export function requestedPriority({ priority }: Pick<Run, 'priority'>): number {
  return priority > APPROVED_PRIORITY / 2 ? priority - APPROVED_PRIORITY : priority;
}

/** The program's own record of a request. Times are milliseconds since the epoch. */
interface RunRecord {
  id: string;
  /** The order in the queue. `requestedPriority` gives that of the request. */
  priority: number;
  labels: string[];
  state: RunState;
  reason: RunReason | null;
  /** One sentence for a person, in the words of the commit status. */
  message: string;
  /** The commit that the run works on, once it is known. */
  revision: string | null;
  /** First line of that commit's message. */
  subject: string | null;
  /** How often a worker has started it, without the starts after which a drain handed it back. */
  attempt: number;
  /** How often a server that was stopped cut off its work and handed it back. */
  handBacks: number;
  cancelRequestedBy: string | null;
  /** The run whose outcome this superseded run shares. */
  coveredBy: string | null;
  /** The number of services that were chosen: the N of "Syncing N service(s)...". */
  chosen: number;
  /** A queued run does not start before this time; 0 if it may start at once. */
  notBefore: number;
  /** The time until which somebody may approve; null unless the run awaits approval. */
  approvalExpiresAt: number | null;
  createdAt: number;
  startedAt: number | null;
  finishedAt: number | null;
}

/** The durable record. Each kind has a type of its own, which `kind` distinguishes. */
export type Run<K extends RunKind = RunKind> = Extract<AnyRun, { kind: K }>;
type AnyRun = { [P in RunKind]: RequestOf<P> & RunRecord }[RunKind];
export type SyncRun = Run<'sync'>;
export type PreviewRun = Run<'preview'>;
export type DeployRun = Run<'deploy'>;
export type PlanRun = Run<'plan'>;
export type CommandRun = Run<'command'>;

export interface Step {
  /** The key is unique in its run: the service id of a sync, the phase of a deployment. */
  id: string;
  position: number;
  wave: number;
  state: StepState;
  /** One sentence that says why the step is in this state. */
  message: string;
  exitCode: number | null;
  startedAt: number | null;
  finishedAt: number | null;
}

/** True for states after which the same request may run again, by a redelivery or a retry. */
export function endedBadly(state: RunState): boolean {
  return state === 'failed' || state === 'errored' || state === 'cancelled' || state === 'timed_out';
}

/** Returns the commit of the request; null if it named a branch, a tag or a head. */
export function askedRevision({ input }: Run): string | null {
  return 'revision' in input ? input.revision : null;
}
