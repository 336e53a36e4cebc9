/** Verifies bearer tokens of OpenID Connect, as Google signs them for a push subscription. */

import type { JWTVerifyGetKey } from 'jose';
import { RequestError } from '../../errors.ts';
import { steadyNow } from '../../steady-clock.ts';
import { DAY, MINUTE, SECOND } from '../../units.ts';

export interface OidcOptions {
  audience: string;
  issuer: string;
  jwksUrl: string;
  /** The verified e-mail address that the token must be for. */
  serviceAccount: string;
}

/** Resolves when the header has a good token. Throws RequestError: 401, or 503 when the keys cannot be fetched. */
export type VerifyBearer = (authorization: string | undefined) => Promise<void>;

/**
 * Only signatures with a private key are accepted: never "none", and never a shared secret, for which somebody could use
 * the public key.
 */
const ALGORITHMS = ['RS256', 'ES256'];
const KEYS_TIMEOUT_MS = 5 * SECOND;
/** Keys are fetched again after the first time. An unknown key causes a fetch at most once in the second time. */
const KEYS_MAX_AGE_MS = 10 * MINUTE;
const KEYS_COOLDOWN_MS = 30 * SECOND;
/** While the key server is down, the last keys stay good this long, and it is asked again this often. */
const KEYS_LAST_MS = DAY;
const RETRY_AFTER_MS = 5 * SECOND;
const CLOCK_TOLERANCE_S = 10;

class KeysUnavailable extends Error {}

export function createOidcVerifier(options: OidcOptions): VerifyBearer {
  const { audience, issuer, serviceAccount } = options;
  let keys: Promise<JWTVerifyGetKey> | undefined;
  return async function verifyBearer(authorization) {
    const [, token] = /^Bearer +([\w-]+\.[\w-]+\.[\w-]*)$/i.exec(authorization ?? '') ?? [];
    if (token === undefined) throw new RequestError(401, 'A bearer token is needed');
    // The library is loaded with the first token, because most servers never see one.
    const { jwtVerify } = await import('jose');
    keys ??= openKeys(options.jwksUrl);
    try {
      const { payload } = await jwtVerify(token, await keys, {
        audience,
        issuer,
        algorithms: ALGORITHMS,
        requiredClaims: ['exp'],
        clockTolerance: CLOCK_TOLERANCE_S,
      });
      if (payload.email === serviceAccount && payload.email_verified === true) return;
    } catch (error) {
      if (error instanceof KeysUnavailable) {
        throw new RequestError(503, 'The token cannot be checked: its keys are not available', {
          cause: error,
        });
      }
      throw new RequestError(401, 'The bearer token is not accepted', { cause: error });
    }
    throw new RequestError(401, 'The bearer token is of another service account');
  };
}

async function openKeys(url: string): Promise<JWTVerifyGetKey> {
  const { createLocalJWKSet, createRemoteJWKSet, errors } = await import('jose');
  const remote = createRemoteJWKSet(new URL(url), {
    timeoutDuration: KEYS_TIMEOUT_MS,
    cooldownDuration: KEYS_COOLDOWN_MS,
    cacheMaxAge: KEYS_MAX_AGE_MS,
  });
  let knownAt = Number.NEGATIVE_INFINITY;
  let failedAt = Number.NEGATIVE_INFINITY;

  return async function getKey(header, token) {
    let cause: unknown;
    // Anybody may send tokens, and a server in trouble must not be asked for each of them.
    if (steadyNow() - failedAt >= RETRY_AFTER_MS) {
      try {
        const key = await remote(header, token);
        knownAt = steadyNow();
        return key;
      } catch (error) {
        const isAnswer =
          error instanceof errors.JWKSNoMatchingKey ||
          error instanceof errors.JWKSMultipleMatchingKeys ||
          error instanceof errors.JOSENotSupported;
        if (isAnswer) throw error;
        failedAt = steadyNow();
        cause = error;
      }
    }
    const known = steadyNow() - knownAt < KEYS_LAST_MS ? remote.jwks() : undefined;
    try {
      if (known) return await createLocalJWKSet(known)(header, token);
    } catch {
      // The key may be a new one, which only the server knows.
    }
    throw new KeysUnavailable('The key server does not answer.', { cause });
  };
}
