/** Decrypts the tokens that the web application has encrypted: AES-256-GCM, `base64(iv):base64(tag):base64(text)`. */

import { createDecipheriv } from 'node:crypto';

const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Reads the 32 bytes of ENCRYPTION_KEY from 64 hexadecimal digits, 44 characters of base64, or the bytes themselves.
 * Returns null for any other text.
 */
export function readEncryptionKey(text: string): Buffer | null {
  const trimmed = text.trim();
  if (/^[0-9a-f]{64}$/i.test(trimmed)) return Buffer.from(trimmed, 'hex');
  if (/^[A-Za-z0-9+/]{43}=$/.test(trimmed)) {
    const key = Buffer.from(trimmed, 'base64');
    if (key.length === KEY_BYTES) return key;
  }
  const found = [text, trimmed].find((candidate) => Buffer.byteLength(candidate) === KEY_BYTES);
  return found === undefined ? null : Buffer.from(found);
}

/** Returns null if the text was not encrypted with this key, or was changed since. */
export function decryptToken(key: Buffer, sealed: string): string | null {
  const parts = sealed.split(':');
  const [iv, tag, content] = parts.map((part) => Buffer.from(part, 'base64'));
  if (parts.length !== 3 || iv?.length !== IV_BYTES || tag?.length !== TAG_BYTES || !content) return null;
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  decipher.setAuthTag(tag);
  try {
    return Buffer.concat([decipher.update(content), decipher.final()]).toString('utf8');
  } catch {
    // final() throws if the tag does not fit.
    return null;
  }
}
