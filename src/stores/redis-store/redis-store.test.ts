import { afterAll, beforeAll, describe } from 'vitest';
import { describeRunStore } from '../run-store-contract.ts';
import { hasRedisServer, type RedisServer, startRedisServer } from './redis-server.fixture.ts';
import { createRedisStore } from './redis-store.ts';

describe.skipIf(!hasRedisServer())('With a redis-server', () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedisServer();
  });
  afterAll(() => server.remove());

  describeRunStore(
    'The Redis store',
    () => createRedisStore({ url: server.url }),
    async () => void (await server.client().flushall()),
  );
});
