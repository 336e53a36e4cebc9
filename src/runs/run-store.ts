/** The port every store implements. All writes are durable (fsynced) before their promise resolves. */

import type { OutsideHash } from './config-hashes.ts';
import type { Delivery, NewDelivery } from './delivery.ts';
import type { FinalRunState, Run, RunKind, RunRequest, RunState, Step } from './run.ts';
import type { ApprovalDecision, RunEvent, RunEventBody } from './run-events.ts';

/** Proof of being the worker of a run. `token` grows with every claim; the store refuses older ones. */
export interface Lease {
  runId: string;
  owner: string;
  token: number;
}

export interface Claim {
  run: Run;
  lease: Lease;
  /** Queued runs of the group that this claim superseded; their commits count as asked for too. */
  covers: Run[];
}

/** What each service was last synced at. `synced` is null until a sync has succeeded. */
export interface LedgerEntry {
  service: string;
  folder: string;
  synced: {
    commit: string;
    tree: string;
    shared: string;
    inputs: string;
    configHash: string | null;
    runId: string;
    at: number;
  } | null;
  /** The newest commit a task was started at, whatever came of it. */
  attemptedCommit: string;
  attemptedRunId: string;
  /** `started` is one that was cut off. */
  outcome: 'started' | 'succeeded' | 'failed' | 'cancelled' | 'removed';
  /** Starts since the last success with these inputs, and the time of the latest. */
  attempts: number;
  attemptedInputs: string;
  attemptedAt: number;
}

export interface Ledger {
  entries: Map<string, LedgerEntry>;
  /** The commit assumed deployed when the branch was first met, or null before that. */
  baseline: string | null;
  /** The newest commit all of whose changed services were attempted, and by which run. */
  examined: { commit: string; runId: string } | null;
  /** Services rolled back by hand, with the commit they are kept at. */
  pins: Map<string, string>;
  /** Text of the branch's last good rules file, or null. */
  rules: string | null;
}

/** Whoever tells the outside world about runs. A run stays unreported for each until it settles it. */
export const REPORTERS = ['commit-status', 'pull-request-comment', 'plan-comment', 'event-webhook'] as const;

export type ReporterName = (typeof REPORTERS)[number];

/** One thing a reporter has told, or failed to: a run for one of its targets (a commit, a comment, an address). */
export interface Report {
  reporter: ReporterName;
  runId: string;
  target: string;
  /** What was last told successfully, in the reporter's own words, or null. */
  told: string | null;
  /** Set when told for good, or given up: nothing more will be sent for this run and target. */
  settled: boolean;
  /** Consecutive failures, the earliest time of the next try, and what went wrong. */
  failures: number;
  notBefore: number;
  problem: string | null;
}

/** Of a target that nothing was told yet. */
export function blankReport(reporter: ReporterName, runId: string, target: string): Report {
  return { reporter, runId, target, told: null, settled: false, failures: 0, notBefore: 0, problem: null };
}

export interface RunFilter {
  state?: RunState;
  kind?: RunKind;
  concurrencyGroup?: string;
  /** Runs created before this one (exclusive), for paging backwards. */
  before?: string;
  limit: number;
}

/** How many runs there are and were. */
export interface RunTally {
  /** Of those that have not ended. */
  open: { kind: RunKind; state: Exclude<RunState, FinalRunState>; runs: number }[];
  /** Of all that ever ended, also of those deleted since, by how long they took. */
  ended: {
    kind: RunKind;
    state: FinalRunState;
    /** None of these took longer; null when there is no such bound. The bounds are the same for all. */
    upToSeconds: number | null;
    runs: number;
    /** Of all of these together. */
    durationMs: number;
  }[];
  /** Every bound, in ascending order. */
  boundsSeconds: number[];
}

/** Makes a request good once. */
export interface Nonce {
  value: string;
  /** Milliseconds since the epoch: until then it is remembered. */
  expiresAt: number;
}

export interface RunStore {
  /**
   * Stores the run, or finds the one the dedupe key already stands for; with it, in the same transaction, the
   * delivery that asked for it, what is sealed for the run, and its nonce. Throws QueueFullError when a new run would
   * be one too many, and NonceSpentError; nothing is stored then, and the nonce stays as it was.
   */
  enqueue(
    request: RunRequest,
    beside?: { delivery?: NewDelivery | undefined; sealed?: string | undefined; nonce?: Nonce | undefined },
  ): Promise<{ run: Run; created: boolean }>;
  /**
   * What was stored beside a run, sealed by the caller; null when there is none. It goes when the run ends, or once
   * `plan-comment` has settled it: the comment is written with what is sealed.
   */
  sealed(runId: string): Promise<string | null>;
  /** The plan that `append` kept beside a run, sealed by the caller; null when there is none. It goes when the run ends. */
  keptPlan(runId: string): Promise<string | null>;
  /** Stores a delivery that asked for no run. */
  recordDelivery(delivery: NewDelivery): Promise<void>;
  /** Newest first. */
  deliveries(filter: {
    before?: number;
    decision?: Delivery['decision'];
    limit: number;
  }): Promise<Delivery[]>;
  delivery(number: number): Promise<Delivery | null>;
  /** Stores those deliveries whose id none stored so far has; resolves to how many. */
  recordMissed(missed: readonly NewDelivery[]): Promise<number>;

  /**
   * Leases the next queued run whose group is free, superseding queued runs it covers; null when none is. Only of
   * these kinds, and only runs whose labels are all among `labels`; left out: of any.
   */
  claim(options: {
    owner: string;
    leaseMs: number;
    kinds?: readonly RunKind[];
    labels?: readonly string[] | undefined;
  }): Promise<Claim | null>;
  /** Extends the lease. Throws StaleLeaseError. */
  renew(lease: Lease, leaseMs: number): Promise<void>;
  /**
   * Appends events and everything that follows from them, in one transaction. `followUp` is enqueued in the
   * same transaction, and becomes `coveredBy` of a run that finishes as superseded. Throws StaleLeaseError. After a
   * StoreUnavailableError the same array may be given again: what had been written after all is not written twice.
   * `keptPlan` is printable ASCII and may be large; it takes the place of an earlier one.
   */
  append(lease: Lease, events: RunEventBody[], followUp?: RunRequest, keptPlan?: string): Promise<void>;
  /**
   * Takes runs back whose worker is gone: lease older than now, or held by anyone when `all`, or by `owner`, whose
   * leases are in its name or begin with that and a colon. They are queued again, or errored after `maxAttempts`
   * starts. With `runs`, only those among these. Returns their ids.
   */
  takeBack(options: {
    all: boolean;
    owner?: string | undefined;
    runs?: readonly string[] | undefined;
    maxAttempts: number;
  }): Promise<string[]>;
  /** Cancels a waiting run at once; marks a running one for its worker. Null when there is no such run. */
  requestCancel(runId: string, by: string): Promise<Run | null>;
  /**
   * Decides about a run that awaits approval; the first decision holds. `decided` is false when the run awaits none.
   * Null when there is no such run.
   */
  decide(
    runId: string,
    decision: ApprovalDecision,
    by: string,
  ): Promise<{ run: Run; decided: boolean } | null>;

  run(id: string): Promise<Run | null>;
  /** Runs being worked on, and queued ones, of a group. */
  active(concurrencyGroup: string): Promise<Run[]>;
  /** Newest first. */
  runs(filter: RunFilter): Promise<Run[]>;
  steps(runId: string): Promise<Step[]>;
  /**
   * Events with `seq` greater than `after`, oldest first, at most `limit`; a log chunk may begin before. There may be
   * fewer although more are stored, to keep a page small: the end is an empty one.
   */
  events(runId: string, options: { after: number; limit: number }): Promise<RunEvent[]>;
  /** The processes that steps of the run have started and not ended, as far as the store knows. */
  processes(runId: string): Promise<{ step: string; pid: number; startTicks: string }[]>;
  /** The newest event of a type, e.g. the stored explanation. */
  latestEvent<T extends RunEvent['type']>(
    runId: string,
    type: T,
  ): Promise<Extract<RunEvent, { type: T }> | null>;
  /** All events of a type that a run has few of, oldest first; none of `step.log`. */
  eventsOf<T extends Exclude<RunEvent['type'], 'step.log'>>(
    runId: string,
    type: T,
  ): Promise<Extract<RunEvent, { type: T }>[]>;
  ledger(scope: string): Promise<Ledger>;
  /** By service: what is remembered of the config hashes that stand outside. */
  outsideHashes(scope: string): Promise<Map<string, OutsideHash>>;
  saveOutsideHashes(scope: string, hashes: OutsideHash[]): Promise<void>;
  /** Sets the baseline of a branch that has none yet. */
  saveBaseline(scope: string, commit: string): Promise<void>;

  tally(): Promise<RunTally>;

  /** Runs not yet settled for the reporter, oldest first. */
  unreported(reporter: ReporterName, limit: number): Promise<Run[]>;
  reports(reporter: ReporterName, runId: string): Promise<Report[]>;
  saveReport(report: Report): Promise<void>;
  /** Marks a run as having nothing more to tell. */
  settleRun(reporter: ReporterName, runId: string): Promise<void>;

  /** True the first time a nonce is seen; it is remembered until `expiresAt` (ms since the epoch). */
  spendNonce(nonce: string, expiresAt: number): Promise<boolean>;
  /** True for a nonce that was spent and is still remembered. */
  isNonceSpent(nonce: string): Promise<boolean>;
  /** A random key made once and kept, e.g. for signed links. 32 bytes. */
  key(name: string): Promise<Buffer>;
  /**
   * Called with a run's id after each committed change of it, and whether a run, this one or another, can perhaps be
   * claimed since that could not before. Returns the unsubscribe function.
   */
  watch(listener: (runId: string, mayClaim: boolean) => void): () => void;
  /**
   * Deletes a small part of what ended before `before`: runs with their events and logs, and deliveries that came
   * before `deliveriesBefore`. Kept is a run that one of `reporters` has still to tell about, that the ledger or a
   * pin names, or that covers a run which is kept. True as long as there may be more to delete.
   */
  prune(options: {
    before: number;
    deliveriesBefore: number;
    reporters: readonly ReporterName[];
  }): Promise<boolean>;
  /** Throws StoreUnavailableError when a commit is not possible now. */
  check(): Promise<void>;
  /** False once the store has failed for good, so that only a restart helps. */
  isAlive(): boolean;
  close(): Promise<void>;
}
