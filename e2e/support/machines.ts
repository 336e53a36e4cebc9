/** Machines that share a Redis, as far as a test on one machine can have them: each with folders and a name of its own. */

import { join } from 'node:path';
import { hasRedisServer, type RedisServer } from '../../src/stores/redis-jobs/redis-server.fixture.ts';

/** For a Redis that loses nothing. */
export const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'] as const;

/** For the title of tests that are skipped without it. */
export const withoutRedis: string | null = hasRedisServer() ? null : 'redis-server is not installed';

export function machineEnvironment(
  { folder }: { folder: string },
  redis: Pick<RedisServer, 'url'>,
  machine: string,
): Record<string, string> {
  const own = (kind: string) => join(folder, machine, kind);
  return {
    STORE_URL: redis.url,
    WORKER_ID: machine,
    DATA_DIR: own('data'),
    WORKSPACE_DIR: own('workspace'),
    DEPLOY_DIR: own('deploy'),
  };
}
