/** The port that every store implements. Every write is durable (fsynced) before its promise resolves. */

import type { OutsideHash } from './config-hashes.ts';
import type { Delivery, NewDelivery } from './delivery.ts';
import type { RunSearch } from './kinds/run-search.ts';
import type { ActionEnd, AuditEntry, AuditFilter, NewAuditEntry, Session } from './people.ts';
import type { LogChunk, LogPage, LogTotals } from './projections/log-lines.ts';
import type { Report, ReporterName } from './report.ts';
import type { Run, RunKind, RunRequest, RunState, Step } from './run.ts';
import type { ApprovalDecision, RunEvent, RunEventBody } from './run-events.ts';
import type { RunTally } from './run-tally.ts';
import type { Hold, NewHold } from './sync/hold.ts';

/** The proof that a worker has a run. `token` grows with every claim; the store refuses older ones. */
export interface Lease {
  runId: string;
  owner: string;
  token: number;
}

export interface Claim {
  run: Run;
  lease: Lease;
  /** The queued runs of the group that this claim superseded. The run also works for their commits. */
  covers: Run[];
}

/** The last success and the last attempt of a service. `synced` is null until a sync has succeeded. */
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
  /** The newest commit at which a task was started, with any outcome. */
  attemptedCommit: string;
  attemptedRunId: string;
  /** `started`: the attempt was cut off. */
  outcome: 'started' | 'succeeded' | 'failed' | 'cancelled' | 'removed';
  /** The starts since the last success with these inputs, and the time of the latest. */
  attempts: number;
  attemptedInputs: string;
  attemptedAt: number;
}

export interface Ledger {
  entries: Map<string, LedgerEntry>;
  /** The commit that counted as deployed when the branch was first seen; null before that. */
  baseline: string | null;
  /** The newest commit whose changed services were all attempted, and the run that did it. */
  examined: { commit: string; runId: string } | null;
  /** The services that a rollback keeps at a commit. */
  pins: Map<string, string>;
  /** Text of the branch's last good rules file, or null. */
  rules: string | null;
}

export interface RunFilter extends RunSearch {
  state?: RunState;
  kind?: RunKind;
  concurrencyGroup?: string;
  dedupeKey?: string;
  /** Runs created before this one (exclusive), for paging backwards. */
  before?: string;
  limit: number;
}

/** Makes a request valid only once. */
export interface Nonce {
  value: string;
  /** The store remembers the nonce until this time, in milliseconds since the epoch. */
  expiresAt: number;
}

export interface RunStore {
  /**
   * Stores the run, or finds the one that already has the dedupe key. The same transaction stores the delivery of the
   * request, the sealed secrets of the run, and its nonce. Throws QueueFullError if a new run would be one too many, and
   * NonceSpentError. Nothing is stored then, and the nonce stays as it was. A run that needs an approval awaits it and
   * holds nothing meanwhile: other runs of its group start and end. A new run that coalesces supersedes those of its
   * group that still await their first approval and coalesce, too.
   */
  enqueue(
    request: RunRequest,
    beside?: { delivery?: NewDelivery | undefined; sealed?: string | undefined; nonce?: Nonce | undefined },
  ): Promise<{ run: Run; created: boolean }>;
  /**
   * Returns the secrets that the caller sealed and stored with the run; null if there are none. They are deleted when
   * the run ends, or, if the comment still needs them, when `plan-comment` has settled the run.
   */
  sealed(runId: string): Promise<string | null>;
  /** Returns the sealed plan that `append` stored with the run; null if there is none. It is deleted when the run ends. */
  keptPlan(runId: string): Promise<string | null>;
  /** Stores a delivery that led to no run. */
  recordDelivery(delivery: NewDelivery): Promise<void>;
  /** Returns the newest first. */
  deliveries(filter: {
    before?: number;
    decision?: Delivery['decision'];
    limit: number;
  }): Promise<Delivery[]>;
  delivery(number: number): Promise<Delivery | null>;
  /** Stores those deliveries whose ids are not stored yet. Resolves to their number. */
  recordMissed(missed: readonly NewDelivery[]): Promise<number>;

  /**
   * Leases the next queued run whose group is free, and supersedes the queued runs that it covers. Null if there is none.
   * Takes only these kinds, and only runs whose labels are all among `labels`. Left out: any.
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
   * StoreUnavailableError the same array may be given again. Events that were written after all are not written twice.
   * `keptPlan` is printable ASCII, may be large, and replaces an earlier one.
   */
  append(lease: Lease, events: RunEventBody[], followUp?: RunRequest, keptPlan?: string): Promise<void>;
  /**
   * Takes back runs whose worker has ended: those whose lease has ended; with `all`, every running one; with `owner`,
   * also those whose lease has this owner, or an owner that begins with it and a colon. They are queued again, or end as
   * errored after `maxAttempts` starts. With `runs`, only those among these. Returns their ids.
   */
  takeBack(options: {
    all: boolean;
    owner?: string | undefined;
    runs?: readonly string[] | undefined;
    maxAttempts: number;
  }): Promise<string[]>;
  /** Cancels a waiting run at once; marks a running one for its worker. Null if there is no such run. */
  requestCancel(runId: string, by: string): Promise<Run | null>;
  /**
   * Decides about a run that awaits approval. The first decision counts. `decided` is false if the run awaits none.
   * Null if there is no such run.
   */
  decide(
    runId: string,
    decision: ApprovalDecision,
    by: string,
  ): Promise<{ run: Run; decided: boolean } | null>;

  /** Resolves to null if as many holds stand as a store keeps. */
  saveHold(hold: NewHold): Promise<Hold | null>;
  /** Ends a hold, so that what it held goes on. Resolves to it; null if no such hold stands. */
  endHold(id: string): Promise<Hold | null>;
  /** The holds that stand now, the oldest first. */
  holds(): Promise<Hold[]>;

  /** Stores that somebody does something, before it is done, and then how it ended. Resolves to the id of the entry. */
  recordAction(entry: NewAuditEntry): Promise<string>;
  finishAction(id: string, end: ActionEnd): Promise<void>;
  /** The audit log, the newest first. */
  actions(page: AuditFilter & { limit: number }): Promise<AuditEntry[]>;

  saveSession(session: Session): Promise<void>;
  session(id: string): Promise<Session | null>;
  /** All sessions that may not have ended, the newest first. */
  sessions(): Promise<Session[]>;
  /** Resolves to false if there is no such session. */
  endSession(id: string): Promise<boolean>;

  run(id: string): Promise<Run | null>;
  /** The runs of a group that run, or that wait for anything but the end of a hold or the approval of their first start. */
  active(concurrencyGroup: string): Promise<Run[]>;
  /** Returns the newest first. */
  runs(filter: RunFilter): Promise<Run[]>;
  steps(runId: string): Promise<Step[]>;
  /**
   * Events with `seq` greater than `after`, oldest first, at most `limit`; a log chunk may start before. A page may be
   * shorter than `limit` although more events follow. Only an empty page is the end.
   */
  events(runId: string, options: { after: number; limit: number }): Promise<RunEvent[]>;
  /** How many lines the log of each step has, and up to which event they are counted. */
  logTotals(runId: string): Promise<LogTotals>;
  /**
   * The chunks with the lines of a page, in order. The first may begin before the page, the last may end after it. They
   * may end early, but there is one as long as there are lines. What it costs does not depend on the lines before.
   */
  logChunks(runId: string, page: LogPage): Promise<LogChunk[]>;
  /** The processes of the run's steps that have not ended, as far as the store knows. */
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
  /** The runs of a place that had a step for the service, with that step, the newest first. */
  serviceHistory(scope: string, service: string, limit: number): Promise<{ run: Run; step: Step }[]>;
  /** Every scope that has a ledger or a baseline, sorted. */
  scopes(): Promise<string[]>;
  /** Returns the known state of the config hashes outside, by service. */
  outsideHashes(scope: string): Promise<Map<string, OutsideHash>>;
  saveOutsideHashes(scope: string, hashes: OutsideHash[]): Promise<void>;
  /** Sets the baseline of a branch that has none yet. */
  saveBaseline(scope: string, commit: string): Promise<void>;

  tally(): Promise<RunTally>;

  /** The runs that the reporter has not settled yet, oldest first; with `after`, only those stored after that run. */
  unreported(reporter: ReporterName, limit: number, after?: string): Promise<Run[]>;
  reports(reporter: ReporterName, runId: string): Promise<Report[]>;
  saveReport(report: Report): Promise<void>;
  /** Marks that the reporter has nothing more to send about a run. */
  settleRun(reporter: ReporterName, runId: string): Promise<void>;

  /** Returns 32 random bytes that are made once and kept, e.g. as the key of signed links. */
  key(name: string): Promise<Buffer>;
  /**
   * Calls the listener with the id of a run after each committed change of it. `mayClaim` says whether some run can
   * perhaps be claimed now that could not be claimed before. Returns the unsubscribe function.
   */
  watch(listener: (runId: string, mayClaim: boolean) => void): () => void;
  /**
   * Deletes a small number of runs that ended before `before`, with their events and logs, and of deliveries and actions
   * from before `deliveriesBefore`. Keeps a run that one of `reporters` still has to report, that the ledger or a pin names, or that
   * covers a run that is kept. True as long as there may be more to delete.
   */
  prune(options: {
    before: number;
    deliveriesBefore: number;
    reporters: readonly ReporterName[];
  }): Promise<boolean>;
  /** Throws StoreUnavailableError if a commit is not possible now. */
  check(): Promise<void>;
  /** False once the store has failed for good, so that only a restart helps. */
  isAlive(): boolean;
  close(): Promise<void>;
}
