/** What a Run and a Step are: their states, the legal transitions, and the closed list of reasons. */

import type { CommandInput } from './command.ts';
import type { DeployInput } from './deployments/deployment.ts';
import type { PlanInput } from './plan-comment.ts';

export const RUN_STATES = [
  'queued',
  'running',
  'awaiting_approval',
  'succeeded',
  'failed',
  'errored',
  'cancelled',
  'timed_out',
  'superseded',
] as const;

export type RunState = (typeof RUN_STATES)[number];

export type FinalRunState = Exclude<RunState, 'queued' | 'running' | 'awaiting_approval'>;

/** Every state with the states that may follow it. A state with none is final. */
const NEXT_STATES: Record<RunState, readonly RunState[]> = {
  queued: ['running', 'cancelled', 'superseded', 'errored'],
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
};

export function isFinal(state: RunState): state is FinalRunState {
  return NEXT_STATES[state].length === 0;
}

/** `to`, or an error when a run in state `from` may not become that. The only gate for state changes. */
export function transition<To extends RunState>(from: RunState, to: To): To {
  if (!NEXT_STATES[from].includes(to)) throw new Error(`A run cannot go from ${from} to ${to}.`);
  return to;
}

/**
 * Why a run ended as it did, with the next action shown beside it. `failed` means that a command said no;
 * `errored` means that we could not do our part.
 */
export const RUN_REASONS = {
  step_failed: 'Open the failed step, fix it and push, or retry the run.',
  step_timed_out: 'Find what the task waits for, or raise SYNC_TIMEOUT, then retry the run.',
  repository_invalid: 'Fix the named folders in the repository and push.',
  service_missing: 'Ask for services that the commit holds; the branch may have lost them since.',
  rules_invalid: 'Mend .iac-runner.yaml at the named line and push; the last good rules were used.',
  unsigned_commit: 'Sign the commit with a key that the operator allows and push it again.',
  git_unavailable: 'Check that the repository can be reached with the credentials given, then try again.',
  unknown_revision: 'Check that the commit, branch or tag was pushed, then try again.',
  not_on_branch: 'Nothing to do: the branch head was queued instead.',
  covered_by_newer: 'Nothing to do: a newer run of the branch covers this commit.',
  pull_request_closed: 'Nothing to do, unless the pull request is opened again.',
  newer_already_synced: 'Nothing to do, unless an older commit is wanted: then ask for a rollback.',
  tool_missing: 'Install the tool, or ask for a version that is there, then deploy again.',
  no_wall: 'Set EXECUTOR_COMMAND, or the named variable that trusts these people, then start the run again.',
  executor_lost: 'Look at EXECUTOR_COMMAND and at where it leads, then start the run again.',
  request_invalid: 'Mend what the message names, then deploy again.',
  credentials_lost: 'Deploy again: the credentials of the request cannot be read any more.',
  plan_lost: 'Deploy again: the plan that was shown is not there unchanged, so it is not applied.',
  check_failed: 'Open the failed check; change the configuration, or the check, and deploy again.',
  not_allowed: 'Ask somebody with write access to the repository to write it.',
  not_approved: 'Mend what the message names, then write a new comment.',
  github_unavailable: 'Check GITHUB_TOKEN and GITHUB_API_URL, then write a new comment.',
  interrupted: 'Look at what the tool says was applied, check the state and its lock, then deploy again.',
  rejected: 'Nothing was applied. Deploy again when it is wanted after all.',
  approval_expired: 'Nothing was applied: nobody approved in time. Deploy again.',
  task_runner_missing: 'Install invoke or set INVOKE_COMMAND, then retry the run.',
  workspace_unavailable: 'Check who holds the workspace lock and its permissions, then retry the run.',
  disk_full: 'Free space on the disk, then retry the run.',
  attempts_exhausted: 'Read the log of the last attempt, then retry the run.',
  handed_back_too_often:
    'See whether a task of this run stops the server: then let a helper replace it (docs/operations.md). Retry the run.',
  cancelled_by_request: 'Retry the run when it is wanted after all.',
  internal: 'Read the server log for this run and report a bug.',
} as const;

export type RunReason = keyof typeof RUN_REASONS;

export type StepState =
  | 'pending'
  | 'running'
  | 'succeeded'
  | 'failed'
  | 'timed_out'
  | 'cancelled'
  | 'skipped'
  | 'blocked'
  | 'removed';

const NEXT_STEP_STATES: Record<StepState, readonly StepState[]> = {
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
};

export function stepTransition<To extends StepState>(from: StepState, to: To): To {
  if (!NEXT_STEP_STATES[from].includes(to)) throw new Error(`A step cannot go from ${from} to ${to}.`);
  return to;
}

/** Who asked for a run. Nothing here decides what runs: it is shown, and kept for the record. */
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
    | 'comment';
  /** GitHub login, API token name, or null when unknown. */
  actor: string | null;
  deliveryId: string | null;
  /** The run that this one retries. */
  retryOf: string | null;
}

/** Which services a sync is asked to look at. `changed` lets git and the ledger decide. */
export type Selection = { mode: 'changed' } | { mode: 'all' } | { mode: 'services'; services: string[] };

/**
 * `follow` brings the branch up to date: the commit is only where the branch was seen. `exact` means this commit and
 * no other, and never goes backwards. `back` takes services back to this commit on purpose, and keeps them there.
 */
export type SyncIntent = 'follow' | 'exact' | 'back';

export interface SyncInput {
  branch: string;
  /** What the run is meant to do; missing in runs that an earlier version stored. Read it by `meaningOf`. */
  intent?: SyncIntent;
  /** Full commit id, or null for the branch head at work time. */
  revision: string | null;
  /** The commit the pusher's branch was at before, or null. Only a baseline for services never synced. */
  before: string | null;
  selection: Selection;
  /** Run also what is unchanged. */
  force: boolean;
  /** Select and explain, run nothing. */
  dryRun: boolean;
  /** Failed services whose next automatic retry is not due yet. */
  postponed: string[];
  /** Give pinned services back to pushes. */
  unpin: boolean;
  /** The services named in the answer to whoever asked; a courtesy, never the selection. */
  announced: string[];
}

export interface PreviewInput {
  /** The branch that the pull request is to be merged into. */
  branch: string;
  /** Full id of the pull request's head. */
  revision: string;
  pullRequest: number;
}

/** The kinds of runs, each with what it is asked for; what else differs by kind is in kinds/. */
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
  /** True when a newer queued run of the same group, also coalescing, makes this one needless. */
  coalesce: boolean;
  /** A second request with this key gets the first one's run, unless that one ended badly. */
  dedupeKey: string | null;
  /** Higher is begun first, of its group and of all. Left out: 0. */
  priority?: number;
  /** Only a worker that has all of them takes the run. Left out: none. */
  labels?: string[];
}

/** What a trigger asks for. */
export type RunRequest = { [P in RunKind]: RequestOf<P> }[RunKind];

/** Added when a run is approved, and more than anybody can ask for: it goes on before whatever else waits. */
const APPROVED_PRIORITY = 1_000_000;

export function approvedPriority(run: Pick<Run, 'priority'>): number {
  return APPROVED_PRIORITY + requestedPriority(run);
}

/** The one that a run was asked for with, for everybody but the queue. */
export function requestedPriority({ priority }: Pick<Run, 'priority'>): number {
  return priority > APPROVED_PRIORITY / 2 ? priority - APPROVED_PRIORITY : priority;
}

/** What becomes of a request. Times are milliseconds since the epoch. */
interface RunRecord {
  id: string;
  /** The order in the queue; what was asked for is `requestedPriority`. */
  priority: number;
  labels: string[];
  state: RunState;
  reason: RunReason | null;
  /** One sentence for a person, in the words of the commit status. */
  message: string;
  /** The commit that is really worked on, once known. */
  revision: string | null;
  /** First line of that commit's message. */
  subject: string | null;
  /** How many times a worker has started it; handing it back on drain does not count. */
  attempt: number;
  /** How many times a server that was stopped cut off its work and handed it back. */
  handBacks: number;
  cancelRequestedBy: string | null;
  /** The run whose outcome this superseded run shares. */
  coveredBy: string | null;
  /** Services really chosen: the N of "Syncing N service(s)...". */
  chosen: number;
  /** A queued run is not begun before this time; 0 when it may at once. */
  notBefore: number;
  /** Until when somebody may approve; null unless awaiting approval. */
  approvalExpiresAt: number | null;
  createdAt: number;
  startedAt: number | null;
  finishedAt: number | null;
}

/** The durable record: one type for each kind, told apart by `kind`. */
export type Run<K extends RunKind = RunKind> = Extract<AnyRun, { kind: K }>;
type AnyRun = { [P in RunKind]: RequestOf<P> & RunRecord }[RunKind];
export type SyncRun = Run<'sync'>;
export type PreviewRun = Run<'preview'>;
export type DeployRun = Run<'deploy'>;
export type PlanRun = Run<'plan'>;
export type CommandRun = Run<'command'>;

export interface Step {
  /** Unique in its run: the service id of a sync, the phase of a deployment. */
  id: string;
  position: number;
  wave: number;
  state: StepState;
  /** One sentence: why it is in this state. */
  message: string;
  exitCode: number | null;
  startedAt: number | null;
  finishedAt: number | null;
}

/** States after which the same request is worth running again: Redeliver and retry use it. */
export function endedBadly(state: RunState): boolean {
  return state === 'failed' || state === 'errored' || state === 'cancelled' || state === 'timed_out';
}

/** The commit that was asked for; null when a branch, a tag or a head was. */
export function askedRevision({ input }: Run): string | null {
  return 'revision' in input ? input.revision : null;
}
