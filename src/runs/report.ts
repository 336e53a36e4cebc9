/** The reporters, and the stored state of what each of them sends about a run. */

/** The reporters. A run stays unreported for each of them until that reporter settles it. */
export const REPORTERS = [
  'commit-status',
  'service-status',
  'github-deployment',
  'pull-request-comment',
  'plan-comment',
  'event-webhook',
  'notification',
] as const;

export type ReporterName = (typeof REPORTERS)[number];

/** The last state of a report about a run to one target: a commit, a service at a commit, a comment or an address. */
export interface Report {
  reporter: ReporterName;
  runId: string;
  target: string;
  /** The text that was last sent with success, in the reporter's own words, or null. */
  sent: string | null;
  /** True if everything was sent, or was given up: nothing more is sent for this run and target. */
  settled: boolean;
  /** Consecutive failures, the earliest time of the next try, and what went wrong. */
  failures: number;
  notBefore: number;
  problem: string | null;
}

/** Returns the report of a target that nothing was sent to yet. */
export function blankReport(reporter: ReporterName, runId: string, target: string): Report {
  return { reporter, runId, target, sent: null, settled: false, failures: 0, notBefore: 0, problem: null };
}
