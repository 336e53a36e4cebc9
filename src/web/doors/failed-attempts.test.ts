import { describe, expect, it } from 'vitest';
import { createFailedAttempts } from './failed-attempts.ts';

function setUp() {
  const logged: { fields: object; message: string }[] = [];
  let now = 1_000;
  const attempts = createFailedAttempts({
    clock: () => now,
    log: { warn: (fields, message) => void logged.push({ fields, message }) },
  });
  const fail = (address = '192.0.2.1', times = 1) =>
    Array.from({ length: times }, () => attempts.failed(address, 'api_token', 'No.').status).at(-1);
  return {
    attempts,
    logged,
    fail,
    pass(ms: number) {
      now += ms;
    },
  };
}

describe('Failed authentications', () => {
  it('are answered 401 ten times a minute, and then 429 with the time to wait', () => {
    const { attempts, fail, pass } = setUp();
    expect(fail('192.0.2.1', 9)).toBe(401);
    pass(20_000);
    expect(fail()).toBe(401);
    const refused = attempts.failed('192.0.2.1', 'api_token', 'No.');
    expect([refused.status, refused.retryAfterSeconds]).toEqual([429, 40]);
    expect(attempts.refusal('192.0.2.1', 'api_token')?.status).toBe(429);
    pass(40_000);
    expect(attempts.refusal('192.0.2.1', 'api_token')).toBeNull();
    expect(fail()).toBe(401);
  });

  it('of one address do not count for another, nor those of one credential for another', () => {
    const { attempts, fail } = setUp();
    fail('192.0.2.1', 20);
    expect(fail('192.0.2.2')).toBe(401);
    expect(attempts.refusal('192.0.2.1', 'signature')).toBeNull();
  });

  it('of one network of IPv6 count together', () => {
    const { fail } = setUp();
    for (let host = 1; host <= 10; host += 1) expect(fail(`2001:db8::${host}`)).toBe(401);
    expect(fail('2001:db8::ffff')).toBe(429);
  });

  it('are logged with their address until they are refused, and all of them are counted', () => {
    const { attempts, logged, fail } = setUp();
    fail('192.0.2.1', 25);
    expect(logged).toHaveLength(10);
    expect(logged[0]).toEqual({
      fields: { address: '192.0.2.1', credential: 'api_token' },
      message: 'authentication failed',
    });
    expect(logged[9]?.message).toContain('429');
    expect(attempts.counts().get('api_token')).toBe(25);
  });

  it('of very many addresses are forgotten, the oldest first', () => {
    const { attempts, fail } = setUp();
    fail('192.0.2.1', 10);
    for (let number = 0; number < 10_000; number += 1) fail(`10.${number >> 8}.${number & 255}.1`);
    expect(attempts.refusal('192.0.2.1', 'api_token')).toBeNull();
  });
});
