/** Seals the credentials of requests, so that the store may keep them: AES-256-GCM with a key that is not in it. */

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

export interface Sealer {
  /** Printable; the same text is sealed differently each time. */
  seal(text: string): string;
  /** The text, or null when it was changed or none of the keys has sealed it. */
  open(sealed: string): string | null;
}

const ALGORITHM = 'aes-256-gcm';
const VERSION = 'v1';
/** Keeps this key different from other keys that are derived from the same secret (RFC 5869, 3.2). */
const PURPOSE = 'iac-runner: credentials of requests, v1';
const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Seals with the first of `keys`; the others only open texts that were sealed before. */
export function createSealer(keys: readonly [string, ...string[]]): Sealer {
  const [current, ...previous] = [deriveKey(keys[0]), ...keys.slice(1).map(deriveKey)] as const;
  return {
    seal(text) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv(ALGORITHM, current, iv, { authTagLength: TAG_BYTES });
      const content = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return `${VERSION}.${Buffer.concat([iv, cipher.getAuthTag(), content]).toString('base64url')}`;
    },
    open(sealed) {
      const [version, encoded = '', ...rest] = sealed.split('.');
      const bytes = Buffer.from(encoded, 'base64url');
      if (version !== VERSION || rest.length > 0 || bytes.length < IV_BYTES + TAG_BYTES) return null;
      for (const key of [current, ...previous]) {
        const text = openWith(key, bytes);
        if (text !== null) return text;
      }
      return null;
    },
  };
}

function deriveKey(secret: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', PURPOSE, KEY_BYTES));
}

function openWith(key: Buffer, bytes: Buffer): string | null {
  const iv = bytes.subarray(0, IV_BYTES);
  const decipher = createDecipheriv(ALGORITHM, key, iv, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
  try {
    const content = decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES));
    return Buffer.concat([content, decipher.final()]).toString('utf8');
  } catch {
    // final() throws when the tag does not match: the key is another one, or the text was changed.
    return null;
  }
}
