/** Identifies callers: by API tokens, by browser sessions made from tokens, and by signed links that open one run. */

import { createHash, createHmac, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Context } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import type { ApiToken, Role } from '../../config.ts';
import { forgetFirst } from '../../forget-first.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { HOUR, SECOND } from '../../units.ts';
import type { Gate } from '../doors/gate.ts';
import { type AuditStore, type AuditVariables, audited } from './audited.ts';

export interface Identity {
  name: string;
  role: Role;
  /** A browser sends a session by itself, so changes of state by a session need a same-origin check. */
  credential: 'bearer' | 'session';
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
  /** Sets the session cookie and returns its holder; null if `token` is no API token. Throws as `identify` does. */
  signIn(c: Context, token: string): Identity | null;
  addressOf(c: Context): string;
  /** Does what a request asks for, and notes it in the audit log. Throws StoreUnavailableError before anything is done. */
  audited(
    c: Context<RunPageEnv>,
    identity: Identity,
    perform: () => Promise<Response | undefined>,
  ): Promise<Response | undefined>;
  /** Removes the cookie and ends its session, also for copies of the cookie. */
  signOut(c: Context): Promise<void>;
}

export interface AccessOptions {
  tokens: readonly ApiToken[];
  gate: Pick<Gate, 'addressOf' | 'failed' | 'refusal' | 'verified'>;
  /** Remembers the sessions that were ended, and what people did. */
  store: Pick<RunStore, 'spendNonce' | 'isNonceSpent'> & AuditStore;
  sessionKey: Buffer;
  linkKey: Buffer;
  /** True when browsers reach the server by https: cookies are then Secure and bound to the host. */
  https: boolean;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

const SESSION_MS = 12 * HOUR;
const SESSION_COOKIE = 'iac_runner_session';
/** Tokens that were right are remembered with their address; the oldest are forgotten. */
const MAX_PROVED = 1_000;
const ROLE_RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export function hasRole(identity: Identity | null, role: Role): boolean {
  return identity !== null && ROLE_RANK[identity.role] >= ROLE_RANK[role];
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

interface Session {
  holder: Holder;
  id: string;
  expiresAt: number;
}

export function createAccess({ store, linkKey, https, ...options }: AccessOptions): Access {
  const known = options.tokens.map(({ name, role, token }) => ({ name, role, digest: sha256(token) }));
  const holderOf = createTokenCheck(known, options.gate);
  const cookies = createSessionCookies(known, options);
  // With the __Host- prefix no other host of the domain can plant a session.
  const prefix = https ? 'host' : undefined;
  const sessionOf = (c: Context) => cookies.read(getCookie(c, SESSION_COOKIE, prefix) ?? '');

  return {
    hasTokens: known.length > 0,

    async identify(c) {
      const bearer = /^Bearer +(\S+) *$/i.exec(c.req.header('Authorization') ?? '')?.[1];
      if (bearer !== undefined) {
        const holder = holderOf(c, bearer);
        return holder && { name: holder.name, role: holder.role, credential: 'bearer' };
      }
      const session = sessionOf(c);
      if (session === null || (await store.isNonceSpent(session.id))) return null;
      options.gate.verified(c);
      return { name: session.holder.name, role: session.holder.role, credential: 'session' };
    },

    opensRun(c, runId) {
      const key = c.req.query('key');
      return key !== undefined && isSameText(key, signRunLink(linkKey, runId));
    },

    signIn(c, token) {
      const holder = holderOf(c, token);
      if (!holder) return null;
      const maxAge = SESSION_MS / SECOND;
      setCookie(c, SESSION_COOKIE, cookies.make(holder), { ...cookieOptions(https), maxAge });
      return { name: holder.name, role: holder.role, credential: 'session' };
    },

    addressOf: options.gate.addressOf,

    audited: (c, identity, perform) =>
      audited({ store, address: options.gate.addressOf(c) }, c, identity, perform),

    async signOut(c) {
      const session = sessionOf(c);
      deleteCookie(c, SESSION_COOKIE, cookieOptions(https));
      if (session) await store.spendNonce(session.id, session.expiresAt);
    },
  };
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

/**
 * A cookie is `name.id.end.mac`. It is only good as long as its token, because the MAC includes the token's digest.
 */
function createSessionCookies(
  known: readonly Holder[],
  { sessionKey, clock }: Pick<AccessOptions, 'sessionKey' | 'clock'>,
) {
  function macOf({ holder, id, expiresAt }: Session): string {
    const bound = `${encodeName(holder.name)}.${id}.${expiresAt}.${holder.digest.toString('hex')}`;
    return createHmac('sha256', sessionKey).update(bound).digest('base64url');
  }
  return {
    make(holder: Holder): string {
      const id = `session:${randomBytes(16).toString('base64url')}`;
      const session = { holder, id, expiresAt: clock() + SESSION_MS };
      return `${encodeName(holder.name)}.${id.slice('session:'.length)}.${session.expiresAt}.${macOf(session)}`;
    },
    read(cookie: string): Session | null {
      const form = /^([\w-]*)\.([\w-]{22})\.(\d{1,15})\.([\w-]{43})$/.exec(cookie);
      const [, encodedName, id, end, mac = ''] = form ?? [];
      const expiresAt = Number(end);
      if (!form || expiresAt <= clock()) return null;
      return (
        known
          .filter(({ name }) => encodeName(name) === encodedName)
          .map((holder) => ({ holder, id: `session:${id}`, expiresAt }))
          .find((session) => isSameText(mac, macOf(session))) ?? null
      );
    },
  };
}

function cookieOptions(https: boolean) {
  // Lax, so that people who follow a link from GitHub are signed in. Changes of state check the origin as well.
  const options = { path: '/', httpOnly: true, sameSite: 'Lax' } as const;
  return https ? ({ ...options, secure: true, prefix: 'host' } as const) : options;
}

/** Compares every token, so that the time it takes reveals nothing. */
function findHolder(known: readonly Holder[], token: string): Holder | undefined {
  const digest = sha256(token);
  return known.filter((holder) => timingSafeEqual(holder.digest, digest))[0];
}

/** Digests have one length, which timingSafeEqual needs, and hide where two texts differ. */
function isSameText(left: string, right: string): boolean {
  return timingSafeEqual(sha256(left), sha256(right));
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function encodeName(name: string): string {
  return Buffer.from(name).toString('base64url');
}
