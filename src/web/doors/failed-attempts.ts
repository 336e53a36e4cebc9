/** Failed authentications: logged with their address, counted, and answered 429 when there are too many. */

import { RequestError } from '../../errors.ts';
import { forgetFirst } from '../../forget-first.ts';
import { MINUTE, SECOND } from '../../units.ts';
import { addressGroup } from './client-address.ts';

const CREDENTIALS = ['signature', 'api_token', 'pubsub_token'] as const;
export type Credential = (typeof CREDENTIALS)[number];

export interface FailedAttempts {
  /** Notes a failure. Returns the answer: 401 with `message`, or 429 after too many failures of one address. */
  failed(address: string, credential: Credential, message: string): RequestError;
  /** The 429 that an address gets while it has failed too often, or null. */
  refusal(address: string, credential: Credential): RequestError | null;
  /** The number of failures since the start. */
  counts(): ReadonlyMap<Credential, number>;
}

export interface FailedAttemptsOptions {
  /** The time in ms, by a clock that never goes back. */
  clock(): number;
  log: { warn(fields: object, message: string): void };
}

const ALLOWED_PER_MINUTE = 10;
/** The most addresses that are remembered. If there are more, the address that failed first is forgotten. */
const MAX_ADDRESSES = 10_000;

export function createFailedAttempts({ clock, log }: FailedAttemptsOptions): FailedAttempts {
  /** The times of the latest failures for each address and credential. */
  const failures = new Map<string, number[]>();
  const counts = new Map<Credential, number>(CREDENTIALS.map((credential) => [credential, 0]));
  const keyOf = (address: string, credential: Credential) => `${credential} ${addressGroup(address)}`;

  function recent(key: string): number[] {
    const now = clock();
    return (failures.get(key) ?? []).filter((at) => now - at < MINUTE);
  }

  function refusalFor(times: readonly number[]): RequestError | null {
    const [oldest] = times.slice(-ALLOWED_PER_MINUTE);
    if (oldest === undefined || times.length < ALLOWED_PER_MINUTE) return null;
    const retryAfterSeconds = Math.max(1, Math.ceil((oldest + MINUTE - clock()) / SECOND));
    const message = 'Too many failed attempts from this address; wait a minute';
    return new RequestError(429, message, { retryAfterSeconds });
  }

  return {
    failed(address, credential, message) {
      counts.set(credential, (counts.get(credential) ?? 0) + 1);
      const key = keyOf(address, credential);
      const times = recent(key);
      const refusal = refusalFor(times);
      if (refusal) return refusal;
      failures.delete(key);
      failures.set(key, [...times, clock()]);
      forgetFirst(failures, MAX_ADDRESSES);
      const isLast = times.length + 1 === ALLOWED_PER_MINUTE;
      log.warn(
        { address, credential, ...(isLast && { refusedForSeconds: MINUTE / SECOND }) },
        isLast ? 'authentication failed; the address is now answered 429' : 'authentication failed',
      );
      return new RequestError(401, message);
    },
    refusal: (address, credential) => refusalFor(recent(keyOf(address, credential))),
    counts: () => counts,
  };
}
