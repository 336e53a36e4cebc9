import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connect } from './connection.ts';
import { type PostgresServer, startPostgres, withoutPostgres } from './postgres-server.fixture.ts';

describe.skipIf(withoutPostgres !== null)(
  `A connection to PostgreSQL${withoutPostgres ? ` (skipped: ${withoutPostgres})` : ''}`,
  () => {
    let server: PostgresServer;
    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(() => server.remove());

    it('commits to the disk and compiles no statement, whatever the database is set to', async () => {
      const client = await connect(await server.createDatabase());
      try {
        const show = async (name: string) =>
          Object.values((await client.query(`SHOW ${name}`)).rows[0] ?? {});
        expect(await show('synchronous_commit')).toEqual(['on']);
        expect(await show('jit')).toEqual(['off']);
      } finally {
        await client.end();
      }
    });
  },
);
