/**
 * The actions of the storm and the server's answers. The storm records them, and the invariants are checked against
 * them.
 */

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
  /** The services that were requested by name, or null for a push. */
  services: string[] | null;
}

/** A delivery that was sent twice with the same id. */
interface DoubledDelivery {
  first: string;
  second: string;
}

/** A task that got SIGKILL. */
export interface TaskKill {
  service: string;
  commit: string;
  runId: string;
  atNs: bigint;
}

/** A request that was sent to /sync, whether or not an answer arrived. */
export interface SyncRequest {
  services: string[];
  /** Set for a rollback. */
  revision: string | null;
  answered: boolean;
  atNs: bigint;
}

/** A fault of the machine. */
export interface Hardship {
  kind: 'clock' | 'full disk' | 'I/O error' | 'locked store' | 'killed database' | 'stalled database';
  fromNs: bigint;
  /** Null while it lasts. */
  untilNs: bigint | null;
}

/** The time from one peace to the next. */
interface Round {
  fromNs: bigint;
  untilNs: bigint;
}

/** The facts about staging, and about the server and its machine. */
export interface Facts {
  /** The commit that counted as deployed when the server first saw the branch. */
  baseline: string;
  pushes: RecordedPush[];
  accepted: AcceptedRun[];
  doubled: DoubledDelivery[];
  taskKills: TaskKill[];
  gitKillsNs: bigint[];
  serverKillsNs: bigint[];
  hardships: Hardship[];
  syncRequests: SyncRequest[];
  /** The time of the last check at which all invariants held. */
  peaceNs: bigint;
  /** For each run that had ended at a peace, the round in which it ended. Its status may be sent later. */
  endedIn: Map<string, Round>;
  /** Answers and events that must never happen, recorded at once. */
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
    endedIn: new Map(),
    surprises: [],
  };
}

/** Records that all invariants hold now, and that these runs have ended. */
export function recordPeace(facts: Facts, ended: Iterable<string>): void {
  const round = { fromNs: facts.peaceNs, untilNs: nowNs() };
  for (const runId of ended) if (!facts.endedIn.has(runId)) facts.endedIn.set(runId, round);
  facts.peaceNs = round.untilNs;
}

/** The current time on the clock of the journal. */
export function nowNs(): bigint {
  return process.hrtime.bigint();
}
