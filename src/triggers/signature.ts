/** HMAC signatures over raw bytes, as GitHub makes them (docs: "Validating webhook deliveries"). */

import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';

/** A key object is ready to use. A string is converted for each signature, which costs more than the signature. */
export type Secret = string | KeyObject;

const FORM = /^sha256=([0-9a-f]{64})$/;

export function hasSignatureForm(header: string | undefined): boolean {
  return FORM.test(header ?? '');
}

/**
 * Returns whether the header signs exactly these bytes under one of the secrets. Never throws: anything but
 * `sha256=` and 64 hex digits is not a signature. All secrets are always tried, in constant time.
 */
export function isSigned(
  secrets: readonly Secret[],
  body: string | Uint8Array,
  header: string | undefined,
): boolean {
  const [, hex] = FORM.exec(header ?? '') ?? [];
  if (hex === undefined) return false;
  const given = Buffer.from(hex, 'hex');
  let matches = false;
  for (const secret of secrets) {
    const expected = createHmac('sha256', secret).update(body).digest();
    matches = timingSafeEqual(expected, given) || matches;
  }
  return matches;
}

/** The time (Unix seconds) and nonce that make a request good once. */
export interface Stamp {
  timestamp: string;
  nonce: string;
}

/** The text that is signed before the body. */
export function stampPrefix({ timestamp, nonce }: Stamp): string {
  return `${timestamp}.${nonce}.`;
}

/** The headers of a signed JSON request. */
export async function signedHeaders(
  secret: string,
  body: string,
  stamp?: Stamp,
): Promise<Record<string, string>> {
  // Only commands that ask a server sign; the server itself does not load the library.
  const { Webhooks } = await import('@octokit/webhooks');
  const { sign } = new Webhooks({ secret });
  return {
    'Content-Type': 'application/json',
    'X-Hub-Signature-256': await sign(stamp ? stampPrefix(stamp) + body : body),
    ...(stamp ? { 'X-IAC-Timestamp': stamp.timestamp, 'X-IAC-Nonce': stamp.nonce } : {}),
  };
}
