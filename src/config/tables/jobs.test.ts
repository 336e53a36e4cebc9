/** A worker for jobs needs only the key; all other variables have defaults. */

import { describe, expect, it } from 'vitest';
import { loadWorkerConfig } from '../../config.ts';

const KEY = { ENCRYPTION_KEY: '0123456789abcdef'.repeat(4) };

describe('The variables of jobs', () => {
  it('have the defaults that producers and runners have agreed on', () => {
    expect(loadWorkerConfig({ ...KEY, REDIS_URL: 'redis://redis:6379' }).jobs).toMatchObject({
      redisUrl: 'redis://redis:6379',
      runnerId: null,
      agentCommand: null,
      perUser: 3,
      concurrency: 10,
      timeoutMs: 3_600_000,
      claimIdleMs: 300_000,
      tempDir: '/tmp/repobox',
      cleanUp: true,
      changeRequests: false,
    });
  });

  it('look for Redis on this machine unless REDIS_URL is set', () => {
    expect(loadWorkerConfig(KEY).jobs).toMatchObject({ redisUrl: 'redis://localhost:6379' });
  });
});
