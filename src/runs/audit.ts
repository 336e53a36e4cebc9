/** Defines an entry of the audit log: what somebody did by a page or by the API. */

export interface AuditEntry {
  id: string;
  /** Milliseconds since the epoch. */
  at: number;
  /** The name of the token or of the person. */
  actor: string;
  role: string;
  /** For example `retry`. */
  action: string;
  /** What it was done to, for example the id of a run. Empty if the request names nothing. */
  target: string;
  /** Where the request came from. */
  address: string;
  /** How it ended, such as `done` or `refused (403)`; null if the server ended before it could note that. */
  result: string | null;
}

/** What is only known when an action has ended. */
export type ActionEnd = Pick<AuditEntry, 'action' | 'target'> & { result: string };

export type NewAuditEntry = Omit<AuditEntry, 'id' | 'at'>;
