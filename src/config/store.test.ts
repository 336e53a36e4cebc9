/** How long a machine may be silent is a minute, or what the operator says within bounds. */

import { describe, expect, it } from 'vitest';
import { loadConfig } from '../config.ts';

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
