/** Checks which signatures are valid, and that neither time nor errors reveal anything about them. */

import { createHmac, createSecretKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import fastGlob from 'fast-glob';
import { describe, expect, it } from 'vitest';
import { isSigned, signedHeaders } from './signature.ts';

const SECRET = 'a secret of this test';
const BODY = Buffer.from('{"zen":"Keep it logically awesome."}\n\u00e9\u0000');
/** Signs as GitHub does. */
function sign(secret: string, body: string | Uint8Array): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

const GOOD = sign(SECRET, BODY);
const HEX = GOOD.slice('sha256='.length);

describe('A signature', () => {
  it('is what GitHub documents', () => {
    // The example of https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    const header = 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17';
    expect(sign("It's a Secret to Everybody", 'Hello, World!')).toBe(header);
    expect(isSigned(["It's a Secret to Everybody"], 'Hello, World!', header)).toBe(true);
  });

  it('is good under the current and the previous secret, as text or as key', () => {
    const previous = sign('the previous one', BODY);
    for (const make of [(secret: string) => secret, (secret: string) => createSecretKey(secret, 'utf8')]) {
      const secrets = [make(SECRET), make('the previous one')];
      expect(isSigned(secrets, BODY, GOOD)).toBe(true);
      expect(isSigned(secrets, BODY, previous)).toBe(true);
      expect(isSigned(secrets, BODY, sign('the oldest one', BODY))).toBe(false);
    }
    expect(isSigned([SECRET], BODY, previous)).toBe(false);
    expect(isSigned([], BODY, GOOD)).toBe(false);
  });

  it('covers the time and the nonce of a stamped request', async () => {
    const stamp = { timestamp: '1700000000', nonce: 'nonce-0001' };
    const header = (await signedHeaders(SECRET, '{}', stamp))['X-Hub-Signature-256'];
    expect(isSigned([SECRET], '1700000000.nonce-0001.{}', header)).toBe(true);
    expect(isSigned([SECRET], '{}', header)).toBe(false);
  });

  const NONE: Record<string, string | undefined> = {
    'that is missing': undefined,
    'that is empty': '',
    'of another body': sign(SECRET, `${BODY} `),
    'under another secret': sign(`${SECRET} `, BODY),
    'under the empty secret': sign('', BODY),
    'of SHA-1': `sha1=${createHmac('sha1', SECRET).update(BODY).digest('hex')}`,
    'of SHA-1 said to be SHA-256': `sha256=${createHmac('sha1', SECRET).update(BODY).digest('hex')}`,
    'without its algorithm': HEX,
    'with nothing but its algorithm': 'sha256=',
    'with its algorithm in upper case': `SHA256=${HEX}`,
    'in upper case': `sha256=${HEX.toUpperCase()}`,
    'too short by a digit': GOOD.slice(0, -1),
    'too short by a byte': GOOD.slice(0, -2),
    'too long by a digit': `${GOOD}0`,
    'too long by a newline': `${GOOD}\n`,
    'with a blank before it': ` ${GOOD}`,
    'with a wrong first digit': `sha256=${HEX.startsWith('0') ? '1' : '0'}${HEX.slice(1)}`,
    'with a wrong last digit': GOOD.slice(0, -1) + (GOOD.endsWith('0') ? '1' : '0'),
    'that is not hexadecimal': `sha256=${'g'.repeat(64)}`,
    'beyond ASCII': `sha256=${'\u00ff'.repeat(64)}`,
    'of digits that only look like them': `sha256=${HEX.slice(0, -1)}\uff11`,
    'with a NUL': `sha256=${HEX.slice(0, -1)}\0`,
    // Node joins two headers of one name so.
    'in two headers': `${GOOD}, ${GOOD}`,
    'of 1 MiB': `sha256=${'a'.repeat(1024 * 1024)}`,
  };

  it.each(Object.entries(NONE))('F3: %s is not a signature, and nothing throws', (_what, header) => {
    expect(isSigned([SECRET, 'the previous one'], BODY, header)).toBe(false);
  });
});

describe('Secrets', () => {
  // Time itself is not measured: on a shared machine such a test proves nothing either way.
  it('F2: are compared by timingSafeEqual on digests of one length, all of them, and by nothing else', () => {
    const source = path.join(import.meta.dirname, '..');
    const files = fastGlob
      .sync('**/*.ts', { cwd: source })
      .filter((file) => !/\.(test|fixture|fixtures)\.ts$/.test(file));
    const lines = files.flatMap((file) =>
      readFileSync(path.join(source, file), 'utf8')
        .split('\n')
        .map((line) => ({ file, line: line.trim() })),
    );
    const comparing = lines.filter(({ line }) => /timingSafeEqual\(/.test(line));
    expect([...new Set(comparing.map(({ file }) => file))].sort()).toEqual([
      'triggers/signature.ts',
      'web/access/access.ts',
    ]);
    // The result of the one before does not decide whether the next secret is tried.
    expect(comparing.map(({ line }) => line)).toContain(
      'matches = timingSafeEqual(expected, given) || matches;',
    );
    const name = String.raw`\b\w*(?:secret|signature|token|hmac)`;
    const byValue = new RegExp(`${name} [!=]==? (?!null|undefined|')|[!=]==? ${name}\\b`, 'i');
    const suspicious = lines.filter(
      ({ file, line }) => /^(triggers|web|commands|config)/.test(file) && byValue.test(line),
    );
    expect(suspicious).toEqual([]);
  });
});
