/** What is kept about people: what they did, and their sessions. */

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

/** Which entries of the audit log somebody asks for. Left out: all of them. */
export interface AuditFilter {
  actor?: string | undefined;
  action?: string | undefined;
  target?: string | undefined;
  /** Only what is older than this entry. */
  before?: string | undefined;
}

/** A sign-in of a person in a browser, which lasts until it ends by itself or somebody ends it. */
export interface Session {
  /** A digest of the cookie, so that the store holds nothing to sign in with. */
  id: string;
  name: string;
  role: string;
  /** How the person signed in. */
  method: 'token' | 'oidc';
  /** A digest of what the session depends on. It is over as soon as the configuration has that no more. */
  bound: string;
  /** The address and the User-Agent of the sign-in. */
  address: string;
  agent: string;
  /** Milliseconds since the epoch. */
  createdAt: number;
  endsAt: number;
}
