import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  ACCOUNT,
  AUDIENCE,
  goodClaims,
  ISSUER,
  type KeyServer,
  startKeyServer,
} from '../key-server.fixture.ts';
import { createOidcVerifier } from './oidc.ts';

const HOUR_MS = 3_600_000;

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

describe('An OIDC bearer token', () => {
  let keys: KeyServer;

  beforeEach(async () => {
    keys = await startKeyServer();
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
  });
  afterEach(async () => {
    vi.useRealTimers();
    await keys.close();
  });

  function createVerifier() {
    return createOidcVerifier({
      audience: AUDIENCE,
      issuer: ISSUER,
      jwksUrl: keys.url,
      serviceAccount: ACCOUNT,
    });
  }

  /** 204 when it is taken, else the status of the refusal. */
  async function statusOf(verify: ReturnType<typeof createVerifier>, header: string | undefined) {
    return verify(header).then(
      () => 204,
      (error: { status?: number }) => error.status,
    );
  }

  it('is accepted when it is good, and the keys are fetched once for many tokens', async () => {
    const verify = createVerifier();
    const token = await keys.sign(goodClaims());
    for (let round = 0; round < 5; round += 1) expect(await statusOf(verify, `Bearer ${token}`)).toBe(204);
    expect(keys.asked).toBe(1);
  });

  const seconds = () => Math.floor(Date.now() / 1_000);
  it.each<[string, () => Record<string, unknown>]>([
    ['another audience', () => ({ aud: 'https://other.example.com' })],
    ['another issuer', () => ({ iss: 'https://evil.example.com' })],
    ['an expiry that has passed', () => ({ exp: seconds() - 60 })],
    ['no expiry', () => ({ exp: undefined })],
    ['a time before which it is not good', () => ({ nbf: seconds() + 600 })],
    ['another service account', () => ({ email: 'other@project.iam.example.com' })],
    ['an unverified e-mail address', () => ({ email_verified: false })],
    ['an e-mail address verified in words', () => ({ email_verified: 'true' })],
    ['no e-mail address', () => ({ email: undefined })],
    [
      'neither an e-mail address nor whether it is verified',
      () => ({ email: undefined, email_verified: undefined }),
    ],
    ['an e-mail address of which nothing says that it is verified', () => ({ email_verified: undefined })],
  ])('is refused with %s', async (_what, changes) => {
    const token = await keys.sign(goodClaims(changes()));
    expect(await statusOf(createVerifier(), `Bearer ${token}`)).toBe(401);
  });

  it('F3: is refused with a RequestError, whatever the header contains', async () => {
    const verify = createVerifier();
    const none = `${encoded({ alg: 'none' })}.${encoded(goodClaims())}.`;
    const body = `${encoded({ alg: 'HS256', kid: 'k1' })}.${encoded(goodClaims())}`;
    const symmetric = `${body}.${createHmac('sha256', 'public key').update(body).digest('base64url')}`;
    const stranger = await keys.makeKey('k1', { stranger: true });
    const forged = await keys.sign(goodClaims(), { key: stranger });
    const headers = [undefined, '', 'Bearer', 'Bearer a.b.c', 'Basic abc', `Bearer ${'a'.repeat(9_000)}`];
    for (const header of [...headers, `Bearer ${none}`, `Bearer ${symmetric}`, `Bearer ${forged}`]) {
      expect(await statusOf(verify, header)).toBe(401);
    }
  });

  it('of an unknown key is refused, and the keys are not fetched for each such token', async () => {
    const verify = createVerifier();
    const stranger = await keys.makeKey('k9', { stranger: true });
    const token = await keys.sign(goodClaims(), { key: stranger, kid: 'k9' });
    for (let round = 0; round < 5; round += 1) expect(await statusOf(verify, `Bearer ${token}`)).toBe(401);
    expect(keys.asked).toBe(1);
  });

  it('is answered 503 while the key server is down', async () => {
    const verify = createVerifier();
    const token = await keys.sign(goodClaims());
    keys.status = 500;
    for (let round = 0; round < 5; round += 1) expect(await statusOf(verify, `Bearer ${token}`)).toBe(503);
    expect(keys.asked).toBe(1);
    keys.status = null;
    vi.advanceTimersByTime(6_000);
    expect(await statusOf(verify, `Bearer ${token}`)).toBe(204);
  });

  it('of a known key is accepted for a day while the key server is down', async () => {
    const verify = createVerifier();
    const token = await keys.sign(goodClaims({ exp: seconds() + 3 * 86_400 }));
    const stranger = await keys.makeKey('k9', { stranger: true });
    const unknown = await keys.sign(goodClaims({ exp: seconds() + 3 * 86_400 }), {
      key: stranger,
      kid: 'k9',
    });
    expect(await statusOf(verify, `Bearer ${token}`)).toBe(204);
    keys.status = 502;
    vi.advanceTimersByTime(HOUR_MS);
    expect(await statusOf(verify, `Bearer ${token}`)).toBe(204);
    // It may be a new key, which only the server knows.
    expect(await statusOf(verify, `Bearer ${unknown}`)).toBe(503);
    vi.advanceTimersByTime(24 * HOUR_MS);
    expect(await statusOf(verify, `Bearer ${token}`)).toBe(503);
  });
});
