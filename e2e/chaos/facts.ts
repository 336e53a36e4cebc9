/** What was done to the server and what it answered: written down by the storm, judged by the invariants. */

/** A push that reached the bare repository. Times are nanoseconds of the monotonic clock, as in the journal. */
export interface RecordedPush {
  ref: string;
  before: string;
  after: string;
  forced: boolean;
  atNs: bigint;
}

/** An answer 200 that named a run. */
interface AcceptedRun {
  runId: string;
  /** The pushed commit, or null for a request to /sync. */
  commit: string | null;
  /** Services that were asked for by name, or null for a push. */
  services: string[] | null;
}

/** A delivery that was sent twice under one id. */
interface DoubledDelivery {
  first: string;
  second: string;
}

/** A task that got SIGKILL. */
interface TaskKill {
  service: string;
  commit: string;
  runId: string;
  atNs: bigint;
}

/** A request to /sync that was sent, whether or not an answer came back. */
export interface SyncRequest {
  services: string[];
  /** Set for a rollback. */
  revision: string | null;
  answered: boolean;
  atNs: bigint;
}

/** Something that goes wrong with the machine. */
export interface Hardship {
  kind: 'clock' | 'full disk' | 'I/O error' | 'locked store' | 'killed database' | 'stalled database';
  fromNs: bigint;
  /** Null while it lasts. */
  untilNs: bigint | null;
}

export interface Facts {
  /** The commit that was taken as deployed when the branch was first met. */
  baseline: string;
  pushes: RecordedPush[];
  accepted: AcceptedRun[];
  doubled: DoubledDelivery[];
  taskKills: TaskKill[];
  gitKillsNs: bigint[];
  serverKillsNs: bigint[];
  hardships: Hardship[];
  syncRequests: SyncRequest[];
  /** When all invariants were last seen to hold. */
  peaceNs: bigint;
  /** What must never be answered or happen, found on the spot. */
  surprises: string[];
}

export function createFacts(baseline: string): Facts {
  return {
    baseline,
    pushes: [],
    accepted: [],
    doubled: [],
    taskKills: [],
    gitKillsNs: [],
    serverKillsNs: [],
    hardships: [],
    syncRequests: [],
    peaceNs: 0n,
    surprises: [],
  };
}

/** Now, on the clock of the journal. */
export function nowNs(): bigint {
  return process.hrtime.bigint();
}
