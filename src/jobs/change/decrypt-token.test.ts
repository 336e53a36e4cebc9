import { describe, expect, it } from 'vitest';
import { decryptToken, readEncryptionKey } from './decrypt-token.ts';
import { createTokenMask, mayHaveToken, providerOrigin } from './job-access.ts';

const HEX = '0123456789abcdef'.repeat(4);
const SEALED = 'AQEBAQEBAQEBAQEB:jMntqnPotwBiCRrE97dLUQ==:hvlYm/o2nyW9C9Hs6+md2eb9I5qyJkZd5E/qBB+W';
const TOKEN = 'ghp_1234567890abcdefghijklmnop';

function key(): Buffer {
  const read = readEncryptionKey(HEX);
  if (!read) throw new Error('The key was not read.');
  return read;
}

describe('tokens of users', () => {
  it('are decrypted as the web application encrypts them', () => {
    expect(decryptToken(key(), SEALED)).toBe(TOKEN);
  });

  it.each([
    ['nothing', ''],
    ['two parts', SEALED.split(':').slice(0, 2).join(':')],
    ['four parts', `${SEALED}:AQ==`],
    ['a short tag', SEALED.replace(':jMntqnPotwBiCRrE97dLUQ==:', ':jMntqg==:')],
    ['a changed tag', SEALED.replace(':jMnt', ':jMnu')],
    ['a changed text', SEALED.replace('hvlY', 'hvlZ')],
    ['a changed iv', SEALED.replace('AQEB', 'AQEC')],
    ['a plain token', TOKEN],
  ])('are not decrypted from %s', (_what, sealed) => {
    expect(decryptToken(key(), sealed)).toBeNull();
  });

  it('accept a key in each of three forms', () => {
    const base64 = Buffer.from(HEX, 'hex').toString('base64');
    expect(readEncryptionKey(HEX)?.toString('hex')).toBe(HEX);
    expect(readEncryptionKey(`${HEX.toUpperCase()}\n`)?.toString('hex')).toBe(HEX);
    expect(readEncryptionKey(base64)?.toString('hex')).toBe(HEX);
    expect(readEncryptionKey('an ordinary text of 32 characters'.slice(0, 32))?.length).toBe(32);
    expect(readEncryptionKey(`${'x'.repeat(31)} `)?.toString()).toBe(`${'x'.repeat(31)} `);
  });

  it.each(['', 'short', 'x'.repeat(31), 'x'.repeat(33), HEX.slice(1), `${HEX}0`, 'é'.repeat(32)])(
    'take no key like %j',
    (text) => {
      expect(readEncryptionKey(text)).toBeNull();
    },
  );

  it('are masked wherever they are shown, in any encoding, even if a long line was cut inside one', () => {
    const mask = createTokenMask(TOKEN);
    expect(mask(`token ${TOKEN}!`)).toBe('token ghp_****mnop!');
    expect(mask(Buffer.from(`oauth2:${TOKEN}`).toString('base64'))).not.toContain(
      Buffer.from(TOKEN).toString('base64').slice(4, 20),
    );
    expect(mask(`x ${TOKEN.slice(0, 20)} [line cut after 16384 bytes]`)).toBe(
      'x **** [line cut after 16384 bytes]',
    );
    expect(createTokenMask('short-token')('a short-token b')).toBe('a **** b');
  });

  it('go only to the host of their provider and to listed hosts', () => {
    const github = { type: 'github', url: null, token: '' } as const;
    expect(providerOrigin(github)).toBe('https://github.com');
    expect(providerOrigin({ ...github, url: 'https://api.github.com/' })).toBe('https://github.com');
    expect(providerOrigin({ ...github, type: 'gitlab', url: 'https://gitlab.example.com/x' })).toBe(
      'https://gitlab.example.com',
    );
    expect(providerOrigin({ ...github, url: 'file:///etc' })).toBeNull();
    expect(mayHaveToken(github, { host: 'github.com', isListed: false })).toBe(true);
    expect(mayHaveToken(github, { host: 'evil.example.com', isListed: false })).toBe(false);
    expect(mayHaveToken(github, { host: 'git.internal', isListed: true })).toBe(true);
  });
});
