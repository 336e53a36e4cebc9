/** Identifies callers: by API tokens, by browser sessions made from tokens, and by signed links that open one run. */

import { createHash, createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { Context } from 'hono';
import { type ApiToken, isRole, ROLES, type Role } from '../../config.ts';
import { forgetFirst } from '../../forget-first.ts';
import type { Session } from '../../runs/people.ts';
import type { Run } from '../../runs/run.ts';
import type { Gate } from '../doors/gate.ts';
import { type AuditStore, type AuditVariables, audited } from './audited.ts';
import { createSessions, digestOf, SESSION_COOKIE, type SessionsOptions, type SignIn } from './sessions.ts';

export interface Identity {
  name: string;
  role: Role;
  /** A browser sends a session by itself, so changes of state by a session need a same-origin check. */
  credential: 'bearer' | 'session';
  /** The id of the session, or null. */
  sessionId: string | null;
}

/** The variables that a guarded handler finds in its context. `identity` is null for callers with a signed link. */
export interface RunPageEnv {
  Variables: { identity: Identity | null; run: Run } & AuditVariables;
}

export interface Access {
  /** False if no token can sign in. */
  hasTokens: boolean;
  /**
   * Identifies the caller by `Authorization: Bearer` or, without it, by the session cookie. Resolves to null when
   * neither is valid. Throws RequestError 429 when tokens from this address were wrong too often.
   */
  identify(c: Context): Promise<Identity | null>;
  /** True when the request carries the run's signed link as `?key=`, which opens that run for reading only. */
  opensRun(c: Context, runId: string): boolean;
  /** Returns the holder of an API token; null if `token` is none. Throws as `identify` does. */
  checkToken(c: Context, token: string): SignIn | null;
  /** True for the name of an API token, so that nobody else acts in it. */
  isTokenName(name: string): boolean;
  sessions: ReturnType<typeof createSessions>;
  /** Returns the role that the holder of a session has now; null if the session is over. */
  roleNow(session: Session): Role | null;
  addressOf(c: Context): string;
  /** Does what a request asks for, and notes it in the audit log. Throws StoreUnavailableError before anything is done. */
  audited(
    c: Context<RunPageEnv>,
    identity: Pick<Identity, 'name' | 'role'>,
    perform: () => Promise<Response | undefined>,
  ): Promise<Response | undefined>;
}

export interface AccessOptions {
  tokens: readonly ApiToken[];
  gate: Pick<Gate, 'addressOf' | 'failed' | 'refusal' | 'verified'>;
  /** Remembers the sessions, and what people did. */
  store: SessionsOptions['store'] & AuditStore;
  linkKey: Buffer;
  /** True when browsers reach the server by https: cookies are then Secure and bound to the host. */
  https: boolean;
  /** What sessions by OpenID Connect depend on. Null: there are none. */
  oidc: { bound: string } | null;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

/** Tokens that were right are remembered with their address; the oldest are forgotten. */
const MAX_PROVED = 1_000;

export function hasRole(identity: Identity | null, role: Role): boolean {
  return identity !== null && ROLES.indexOf(identity.role) >= ROLES.indexOf(role);
}

/** True for a request that names its sender, and has no signature of the whole. */
export function hasCredentials(c: Context): boolean {
  if (c.req.header('X-Hub-Signature-256') !== undefined) return false;
  const hasSession = (c.req.header('Cookie') ?? '').includes(`${SESSION_COOKIE}=`);
  return hasSession || c.req.header('Authorization') !== undefined;
}

/** The id of the run that the caller's signed link opens, or null for a caller who is signed in. */
export function linkOf(c: Context<RunPageEnv>): string | null {
  return c.var.identity === null ? c.var.run.id : null;
}

/** The `key` of `/runs/<id>?key=…`: HMAC-SHA256 of the run id, 43 characters of base64url. */
export function signRunLink(linkKey: Buffer | KeyObject, runId: string): string {
  return createHmac('sha256', linkKey).update(runId).digest('base64url');
}

interface Holder {
  name: string;
  role: Role;
  digest: Buffer;
}

export function createAccess({ store, linkKey, https, oidc, clock, ...options }: AccessOptions): Access {
  const known = options.tokens.map(({ name, role, token }) => ({ name, role, digest: sha256(token) }));
  const holderOf = createTokenCheck(known, options.gate);
  const { addressOf } = options.gate;
  const roleNow = (session: Session): Role | null => {
    if (session.method === 'oidc') {
      return session.bound === oidc?.bound && isRole(session.role) ? session.role : null;
    }
    return (
      known.find((holder) => holder.name === session.name && boundOf(holder) === session.bound)?.role ?? null
    );
  };
  const sessions = createSessions({ store, https, addressOf, roleNow, clock });

  return {
    hasTokens: known.length > 0,
    sessions,
    roleNow,

    async identify(c) {
      const bearer = /^Bearer +(\S+) *$/i.exec(c.req.header('Authorization') ?? '')?.[1];
      if (bearer !== undefined) {
        const holder = holderOf(c, bearer);
        return holder && { name: holder.name, role: holder.role, credential: 'bearer', sessionId: null };
      }
      const found = await sessions.find(c);
      if (found === null) return null;
      options.gate.verified(c);
      const { session, role } = found;
      return { name: session.name, role, credential: 'session', sessionId: session.id };
    },

    opensRun(c, runId) {
      const key = c.req.query('key');
      return key !== undefined && isSameText(key, signRunLink(linkKey, runId));
    },

    checkToken(c, token) {
      const holder = holderOf(c, token);
      return holder && { name: holder.name, role: holder.role, method: 'token', bound: boundOf(holder) };
    },

    isTokenName: (name) => known.some((holder) => holder.name === name),

    addressOf,

    audited: (c, identity, perform) => audited({ store, address: addressOf(c) }, c, identity, perform),
  };
}

/** A session is only good as long as its token. */
function boundOf({ digest }: Holder): string {
  return digestOf(digest.toString('hex'));
}

/**
 * Finds the holder of a token. An address with too many wrong tokens is refused, except for tokens that were right
 * there.
 */
function createTokenCheck(known: readonly Holder[], gate: AccessOptions['gate']) {
  const proved = new Set<string>();

  return (c: Context, token: string): Holder | null => {
    const refusal = gate.refusal(c, 'api_token');
    const holder = findHolder(known, token);
    if (!holder) {
      const error = gate.failed(c, 'api_token', 'The server does not know this token.');
      if (error.status === 429) throw error;
      return null;
    }
    const proof = `${gate.addressOf(c)} ${holder.name}`;
    // After too many failures even a right guess is refused. A known holder is not refused for the failures of others.
    if (refusal && !proved.has(proof)) throw refusal;
    proved.delete(proof);
    proved.add(proof);
    forgetFirst(proved, MAX_PROVED);
    gate.verified(c);
    return holder;
  };
}

/** Compares every token, so that the time it takes reveals nothing. */
function findHolder(known: readonly Holder[], token: string): Holder | undefined {
  const digest = sha256(token);
  return known.filter((holder) => timingSafeEqual(holder.digest, digest))[0];
}

/** Digests have one length, which timingSafeEqual needs, and hide where two texts differ. */
export function isSameText(left: string, right: string): boolean {
  return timingSafeEqual(sha256(left), sha256(right));
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
