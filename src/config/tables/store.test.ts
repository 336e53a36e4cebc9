/** The address of the store, and how long a machine may be silent. */

import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../config.ts';

const BASE = { WEBHOOK_SECRET: 'a-real-secret-0123', GIT_REPO_URL: 'https://github.com/acme/platform.git' };

describe('LEASE_SECONDS', () => {
  it.each([
    [undefined, 60_000],
    ['', 60_000],
    ['10', 10_000],
    [' 600 ', 600_000],
  ])('as %j is %d milliseconds', (value, leaseMs) => {
    expect(loadConfig({ ...BASE, LEASE_SECONDS: value })).toMatchObject({ leaseMs });
  });

  it.each(['9', '601', '0', '-30', '30.5', '60s'])('as %j is refused', (value) => {
    expect(() => loadConfig({ ...BASE, LEASE_SECONDS: value })).toThrow(
      /^LEASE_SECONDS is wrong: expected whole seconds from 10 to 600, e\.g\. 60\.$/,
    );
  });
});

describe('STORE_URL', () => {
  it.each([
    undefined,
    'postgres://runner:password@postgres.internal/runner',
    'postgresql://runner@[::1]:5433/runner?sslmode=verify-full',
  ])('as %j is taken', (value) => {
    expect(loadConfig({ ...BASE, STORE_URL: value }).storeUrl).toBe(value ?? null);
  });

  it.each(['redis://redis:6379', 'rediss://:secret-password@redis:6379/2'])(
    'as %j is refused with the name of what it has to be, and without its password',
    (value) => {
      const load = () => loadConfig({ ...BASE, STORE_URL: value });
      expect(load).toThrow(/^STORE_URL is wrong: expected the address of a PostgreSQL database/);
      expect(load).not.toThrow('secret-password');
    },
  );

  it.each(['postgres://host', 'postgres:///runner', 'mysql://host/runner', 'runner'])(
    'as %j is refused',
    (value) => {
      expect(() => loadConfig({ ...BASE, STORE_URL: value })).toThrow(/^STORE_URL is wrong/);
    },
  );
});
