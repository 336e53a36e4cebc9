/** The sessions of browsers. A cookie holds random bytes, and the store holds only their digest. */

import { createHash, randomBytes } from 'node:crypto';
import type { Context } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import type { Role } from '../../config.ts';
import type { Session } from '../../runs/people.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { HOUR, SECOND } from '../../units.ts';

/** Somebody who has proved who they are. */
export interface SignIn {
  name: string;
  role: Role;
  method: Session['method'];
  /** A digest of what the session depends on. */
  bound: string;
}

export interface SessionsOptions {
  store: Pick<RunStore, 'saveSession' | 'session' | 'endSession'>;
  /** True when browsers reach the server by https: cookies are then Secure and bound to the host. */
  https: boolean;
  addressOf(c: Context): string;
  /** Returns the role that the holder of a session has now; null if the session is over. */
  roleNow(session: Session): Role | null;
  /** Milliseconds since the epoch. */
  clock(): number;
}

const SESSION_MS = 12 * HOUR;
export const SESSION_COOKIE = 'iac_runner_session';
const COOKIE_BYTES = 32;
const MAX_AGENT = 200;

export function createSessions({ store, https, addressOf, roleNow, clock }: SessionsOptions) {
  // With the __Host- prefix no other host of the domain can plant a session.
  const prefix = https ? 'host' : undefined;
  const idOf = (c: Context): string | null => {
    const cookie = getCookie(c, SESSION_COOKIE, prefix) ?? '';
    return /^[\w-]{43}$/.test(cookie) ? digestOf(cookie) : null;
  };

  return {
    /** Stores a session and sets its cookie. Throws StoreUnavailableError, and sets no cookie then. */
    async begin(c: Context, { name, role, method, bound }: SignIn): Promise<void> {
      const cookie = randomBytes(COOKIE_BYTES).toString('base64url');
      const createdAt = clock();
      await store.saveSession({
        ...{ id: digestOf(cookie), name, role, method, bound, address: addressOf(c) },
        agent: (c.req.header('User-Agent') ?? '').slice(0, MAX_AGENT),
        createdAt,
        endsAt: createdAt + SESSION_MS,
      });
      setCookie(c, SESSION_COOKIE, cookie, { ...cookieOptions(https), maxAge: SESSION_MS / SECOND });
    },

    /** Resolves to the session of the request and the role of its holder, or to null. */
    async find(c: Context): Promise<{ session: Session; role: Role } | null> {
      const id = idOf(c);
      const session = id === null ? null : await store.session(id);
      if (session === null || session.endsAt <= clock()) return null;
      const role = roleNow(session);
      return role === null ? null : { session, role };
    },

    /** Ends the session of the request, also for copies of its cookie. */
    async end(c: Context): Promise<void> {
      const id = idOf(c);
      deleteCookie(c, SESSION_COOKIE, cookieOptions(https));
      if (id !== null) await store.endSession(id);
    },
  };
}

export function cookieOptions(https: boolean) {
  // Lax, so that people who follow a link from GitHub are signed in. Changes of state check the origin as well.
  const options = { path: '/', httpOnly: true, sameSite: 'Lax' } as const;
  return https ? ({ ...options, secure: true, prefix: 'host' } as const) : options;
}

/** Digests show that something is the same, and not what it is. */
export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
