/** Who is calling: API tokens, browser sessions made from them, and signed links that open one run. */

import { createHash, createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { Context } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import type { ApiToken, Role } from '../config.ts';

export interface Identity {
  name: string;
  role: Role;
  /** How it was proved. A browser sends a session by itself, so state changes by it need a same-origin check. */
  credential: 'bearer' | 'session';
}

export interface Access {
  /** The caller by `Authorization: Bearer` or, without one, by session cookie; null when neither is valid. */
  identify(c: Context): Identity | null;
  /** True when the request carries the run's signed link as `?key=`. Opens that run for reading, nothing else. */
  opensRun(c: Context, runId: string): boolean;
  /** Sets the session cookie when `token` is one of the API tokens; false, and no cookie, otherwise. */
  signIn(c: Context, token: string): boolean;
  signOut(c: Context): void;
}

export interface AccessOptions {
  tokens: readonly ApiToken[];
  /** Key of the session cookies' HMAC. */
  sessionKey: Buffer;
  /** Key of the run links' HMAC. */
  linkKey: Buffer;
  /** True when browsers reach the product by https: cookies are then Secure and bound to the host. */
  https: boolean;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

const SESSION_MS = 12 * 60 * 60 * 1000;
const SESSION_COOKIE = 'iac_runner_session';
const ROLE_RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export function hasRole(identity: Identity | null, role: Role): boolean {
  return identity !== null && ROLE_RANK[identity.role] >= ROLE_RANK[role];
}

/** The `key` of `/runs/<id>?key=…`: HMAC-SHA256 of the run id, 43 characters of base64url. */
export function signRunLink(linkKey: Buffer | KeyObject, runId: string): string {
  return createHmac('sha256', linkKey).update(runId).digest('base64url');
}

export function createAccess({ tokens, sessionKey, linkKey, https, clock }: AccessOptions): Access {
  const known = tokens.map(({ name, role, token }) => ({ name, role, digest: sha256(token) }));
  // With the __Host- prefix no other host of the domain can plant a session.
  const prefix = https ? 'host' : undefined;

  function sessionMac(name: string, expiresAt: string, tokenDigest: Buffer): string {
    const bound = `${encodeName(name)}.${expiresAt}.${tokenDigest.toString('hex')}`;
    return createHmac('sha256', sessionKey).update(bound).digest('base64url');
  }

  function identifySession(cookie: string): Identity | null {
    const [encodedName = '', expiresAt = '', mac = '', ...rest] = cookie.split('.');
    if (rest.length > 0 || !/^\d{1,15}$/.test(expiresAt) || Number(expiresAt) <= clock()) return null;
    const holder = known.find(
      ({ name, digest }) =>
        encodeName(name) === encodedName && sameText(mac, sessionMac(name, expiresAt, digest)),
    );
    return holder ? { name: holder.name, role: holder.role, credential: 'session' } : null;
  }

  return {
    identify(c) {
      const bearer = /^Bearer +(\S+) *$/i.exec(c.req.header('Authorization') ?? '')?.[1];
      if (bearer !== undefined) {
        const holder = findHolder(known, bearer);
        return holder ? { name: holder.name, role: holder.role, credential: 'bearer' } : null;
      }
      const cookie = getCookie(c, SESSION_COOKIE, prefix);
      return cookie === undefined ? null : identifySession(cookie);
    },

    opensRun(c, runId) {
      const key = c.req.query('key');
      return key !== undefined && sameText(key, signRunLink(linkKey, runId));
    },

    signIn(c, token) {
      const holder = findHolder(known, token);
      if (!holder) return false;
      const expiresAt = String(clock() + SESSION_MS);
      const value = `${encodeName(holder.name)}.${expiresAt}.${sessionMac(holder.name, expiresAt, holder.digest)}`;
      setCookie(c, SESSION_COOKIE, value, { ...cookieOptions(https), maxAge: SESSION_MS / 1000 });
      return true;
    },

    signOut(c) {
      deleteCookie(c, SESSION_COOKIE, cookieOptions(https));
    },
  };
}

function cookieOptions(https: boolean) {
  const options = { path: '/', httpOnly: true, sameSite: 'Strict' } as const;
  return https ? ({ ...options, secure: true, prefix: 'host' } as const) : options;
}

/** Looks at every token whatever the first ones say, so that time tells nothing. */
function findHolder<Holder extends { digest: Buffer }>(known: readonly Holder[], token: string) {
  const digest = sha256(token);
  return known.filter((holder) => timingSafeEqual(holder.digest, digest))[0];
}

/** Digests have one length, as timingSafeEqual needs, and hide where two texts differ. */
function sameText(left: string, right: string): boolean {
  return timingSafeEqual(sha256(left), sha256(right));
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function encodeName(name: string): string {
  return Buffer.from(name).toString('base64url');
}
