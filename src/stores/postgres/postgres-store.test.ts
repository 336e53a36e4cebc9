import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { describeApprovals } from '../approvals-contract.ts';
import { describeHolds } from '../holds-contract.ts';
import { describeRunStore } from '../run-store-contract.ts';
import { type PostgresServer, startPostgres, withoutPostgres } from './postgres-server.fixture.ts';
import { createPostgresStore } from './postgres-store.ts';

describe.skipIf(withoutPostgres !== null)(
  `With PostgreSQL${withoutPostgres ? ` (skipped: ${withoutPostgres})` : ''}`,
  () => {
    let server: PostgresServer;
    let url: string;
    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(() => server.remove());
    beforeEach(async () => {
      url = await server.createDatabase();
    });

    describeRunStore(
      'The PostgreSQL store',
      () => createPostgresStore({ url, requestTimeoutMs: 60_000 }),
      async () => {},
    );
    describeHolds('The PostgreSQL store', () => createPostgresStore({ url, requestTimeoutMs: 60_000 }));
    describeApprovals('The PostgreSQL store', () => createPostgresStore({ url, requestTimeoutMs: 60_000 }));
  },
);
