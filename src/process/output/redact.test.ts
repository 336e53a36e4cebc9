import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { createRedactor } from './redact.ts';

const SECRET = 'ghp_CANARY/+?&="\\ é\'~end';

describe('redactor', () => {
  it('F41: masks a secret, and several that overlap', () => {
    expect(createRedactor([SECRET])(`a ${SECRET}${SECRET} b`)).toBe('a **** b');
    expect(createRedactor(['abcdefgh', 'efghijkl', 'defghi'])('x abcdefghijkl y')).toBe('x **** y');
    expect(createRedactor(['secret', 'secret-longer'])('secret-longer secret')).toBe('**** ****');
  });

  it('F41: masks it in the encodings that tools print', () => {
    const redact = createRedactor([SECRET]);
    const forms = [
      Buffer.from(SECRET).toString('base64'),
      Buffer.from(SECRET).toString('base64').replace(/=+$/, ''),
      Buffer.from(SECRET).toString('base64url'),
      encodeURIComponent(SECRET),
      encodeURIComponent(SECRET).toLowerCase().replace('ghp_canary', 'ghp_CANARY'),
      new URLSearchParams({ t: SECRET }).toString().slice(2),
      JSON.stringify(SECRET).slice(1, -1),
      JSON.stringify(SECRET).slice(1, -1).replace('é', '\\u00e9'),
      SECRET.replace("'", `'\\''`),
    ];
    for (const form of forms) expect(redact(`<${form}>`), form).toBe('<****>');
  });

  it('F41: masks it inside the base64 of a longer text, whatever its alignment', () => {
    const secret = 'p4ssw0rd-of-some-length';
    const redact = createRedactor([secret]);
    for (const user of ['', 'a:', 'ab:', 'abc:', 'abcd:']) {
      const encoded = Buffer.from(`${user}${secret}@host`).toString('base64');
      const masked = redact(encoded);
      expect(masked).toContain('****');
      // The rest decodes to at most one character of the secret at each side.
      for (const rest of masked.split('****')) {
        const text = Buffer.from(rest, 'base64').toString('latin1');
        for (let at = 0; at + 2 <= secret.length; at += 1)
          expect(text).not.toContain(secret.slice(at, at + 2));
      }
    }
  });

  it('F41: masks each line of a secret of several lines, and base64 wrapped by a tool', () => {
    const key = `-----BEGIN KEY-----\n${'Zm9vYmFy'.repeat(20)}\n  indented-part\n}\n-----END KEY-----\n`;
    const redact = createRedactor([key]);
    for (const line of key.split('\n')) {
      expect(redact(line).trim()).toBe(line.length > 1 ? '****' : line);
    }
    for (const line of execFileSync('base64', { input: key, encoding: 'utf8' }).split('\n')) {
      expect(redact(line).replace('****', '').length).toBeLessThan(5);
    }
  });

  it('does not change text if there are no secrets, or only short ones', () => {
    expect(createRedactor([])('anything')).toBe('anything');
    expect(createRedactor(['', 'true', '12345'])('true 12345')).toBe('true 12345');
  });

  it('takes a secret literally, and knows the length of the longest text that it masks', () => {
    expect(createRedactor(['a.*(b)$'])('aXX(b)$ a.*(b)$')).toBe('aXX(b)$ ****');
    expect(createRedactor([]).longestLength).toBe(0);
    expect(createRedactor(['ÄÖÜäöü']).longestLength).toBe(36);
  });
});
