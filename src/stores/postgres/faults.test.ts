/**
 * Tests the store while PostgreSQL is killed, stands still, loses the connection in the middle of a commit, or is set up
 * so that it would lose data.
 */

import { connect as connectTo, createServer, type Server, type Socket } from 'node:net';
import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { StaleLeaseError, StoreUnavailableError } from '../../errors.ts';
import type { Fleet } from '../../runs/fleet.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { pushRequest } from '../run-store-contract.ts';
import { type PostgresServer, startPostgres, withoutPostgres } from './postgres-server.fixture.ts';
import { createPostgresStore, type PostgresStoreOptions } from './postgres-store.ts';

const because = withoutPostgres ? ` (skipped: ${withoutPostgres})` : '';

describe.skipIf(withoutPostgres !== null)(`A PostgreSQL server${because}`, () => {
  let server: PostgresServer;
  let url: string;
  const stores: RunStore[] = [];
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.remove());
  beforeEach(async () => {
    url = await server.createDatabase();
  });
  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
  });

  async function open(options: Partial<PostgresStoreOptions> = {}): Promise<RunStore & { fleet: Fleet }> {
    const store = await createPostgresStore({ url, requestTimeoutMs: 60_000, ...options });
    stores.push(store);
    return store;
  }

  /** A connection beside the store. */
  async function connect(): Promise<Client> {
    const client = new Client({ connectionString: url });
    client.on('error', () => undefined);
    await client.connect();
    onTestFinished(() => client.end().catch(() => undefined));
    return client;
  }

  const request = () => pushRequest({ coalesce: false });

  it('F49: that was killed loses nothing that was stored, and is used again once it is back', async () => {
    const store = await open({ requestTimeoutMs: 2_000 });
    const before = await store.enqueue(request());
    await server.kill();
    await expect(store.enqueue(request())).rejects.toThrow(StoreUnavailableError);
    await expect(store.run(before.run.id)).rejects.toThrow(StoreUnavailableError);
    await server.start();
    const after = await store.enqueue(request());
    const found = await store.runs({ limit: 10 });
    expect(found.map(({ id }) => id)).toEqual([after.run.id, before.run.id]);
  });

  it('F49: that was restored from an older dump grants no lease that was granted before', async () => {
    const store = await open();
    const { run } = await store.enqueue(request());
    const dump = server.dump(url);
    const before = await store.claim({ owner: 'before:1', leaseMs: 60_000 });
    server.restore(url, dump);
    const after = await store.claim({ owner: 'after:1', leaseMs: 60_000 });
    if (!before || !after) throw new Error('Nothing was there to be claimed.');
    expect(after.run.id).toBe(run.id);
    await expect(store.renew(before.lease, 60_000)).rejects.toThrow(StaleLeaseError);
    await store.renew(after.lease, 60_000);
  });

  it('F51: that stands still stores nothing of a request that was answered "not stored"', async () => {
    const store = await open({ requestTimeoutMs: 500 });
    // Another machine holds the lock of all writes, as a paused one would.
    const other = await connect();
    await other.query('BEGIN; SELECT pg_advisory_xact_lock(7262018)');
    await expect(store.enqueue(request())).rejects.toThrow('nothing was stored');
    await other.query('ROLLBACK');
    const { run } = await store.enqueue(request());
    expect((await store.runs({ limit: 10 })).map(({ id }) => id)).toEqual([run.id]);
  });

  it('F50: ends the session of a machine that stopped in the middle of a write, so that the others go on', async () => {
    const store = await open({ requestTimeoutMs: 60_000 });
    const paused = await connect();
    await paused.query('SET idle_in_transaction_session_timeout TO 1000');
    await paused.query('BEGIN; SELECT pg_advisory_xact_lock(7262018)');
    expect((await store.enqueue(request())).created).toBe(true);
    // The connections of the store have the same limit.
    const { rows } = await paused
      .query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")
      .catch(() => ({ rows: [] }));
    expect(rows).toEqual([]);
  });

  describe('behind a connection that breaks', () => {
    let proxy: Server;
    let proxied: string;
    const sockets = new Set<Socket>();
    /** `when` sees what is sent to the database. If it returns true, the connection breaks before or after `passOn`. */
    let breaks: { when: (sent: string) => boolean; passOn: boolean } | null;

    beforeEach(async () => {
      breaks = null;
      proxy = createServer((socket) => {
        const upstream = connectTo(server.port, '127.0.0.1');
        sockets.add(socket);
        const end = () => {
          socket.destroy();
          upstream.destroy();
        };
        socket.on('error', end).on('close', end);
        upstream.on('error', end).on('close', end);
        upstream.on('data', (data) => socket.write(data));
        socket.on('data', (data) => {
          if (!breaks?.when(data.toString('latin1'))) {
            upstream.write(data);
            return;
          }
          const { passOn } = breaks;
          breaks = null;
          socket.destroy();
          // The database commits although nobody hears of it.
          if (passOn) upstream.end(data);
          else upstream.destroy();
        });
      });
      await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
      const address = proxy.address();
      const port = address !== null && typeof address === 'object' ? address.port : 0;
      proxied = url.replace(`:${server.port}/`, `:${port}/`);
    });
    afterEach(() => {
      for (const socket of sockets) socket.destroy();
      sockets.clear();
      proxy.close();
    });

    const isCommit = (sent: string) => sent.includes('COMMIT');

    it('during a commit that the database made, answers that it is stored, once', async () => {
      const store = await open({ url: proxied });
      breaks = { when: isCommit, passOn: true };
      const { run, created } = await store.enqueue(request());
      expect(created).toBe(true);
      expect((await store.runs({ limit: 10 })).map(({ id }) => id)).toEqual([run.id]);
    });

    it('during a commit that the database did not make, answers that it is not stored', async () => {
      const [store, other] = [await open({ url: proxied }), await open()];
      // Another transaction takes the number of this one, as happens after a crash of the database.
      breaks = { when: isCommit, passOn: false };
      const [refused, { run }] = await Promise.all([
        store.enqueue(request()).catch((error: unknown) => error),
        other.enqueue(request()),
      ]);
      expect(refused).toBeInstanceOf(StoreUnavailableError);
      expect((await store.runs({ limit: 10 })).map(({ id }) => id)).toEqual([run.id]);
      expect((await store.enqueue(request())).created).toBe(true);
    });

    it('at any statement, every write is stored once or not at all, and says which', async () => {
      const store = await open({ url: proxied });
      for (let position = 1, wasBroken = true; wasBroken; position += 1) {
        const before = (await store.runs({ limit: 1_000 })).length;
        let sent = 0;
        const when = () => {
          sent += 1;
          return sent === position;
        };
        breaks = { when, passOn: position % 2 === 0 };
        const outcome = await store.enqueue(request()).then(
          () => 1,
          (error: unknown) => {
            expect(error).toBeInstanceOf(StoreUnavailableError);
            return 0;
          },
        );
        wasBroken = breaks === null;
        breaks = null;
        const stored = (await store.runs({ limit: 1_000 })).length - before;
        expect([position, stored]).toEqual([position, outcome]);
        expect(position).toBeLessThan(100);
      }
    });

    it('reports what others wrote while the connection was lost', async () => {
      const store = await open({ url: proxied });
      const other = await open();
      const heard = new Set<string>();
      store.watch((runId) => heard.add(runId));
      for (const socket of sockets) socket.destroy();
      const { run } = await other.enqueue(request());
      await expect.poll(() => heard.has(run.id), { timeout: 60_000 }).toBe(true);
    });
  });

  it('notifies each machine of the writes of the others, and ignores the notifications of other programs', async () => {
    const [store, other] = [await open(), await open()];
    const heard: string[] = [];
    store.watch((runId) => heard.push(runId));
    const stranger = await connect();
    for (const payload of ['', 'not JSON', '{"by":1}']) {
      await stranger.query("SELECT pg_notify('iac_runner', $1)", [payload]);
    }
    const { run } = await other.enqueue(request());
    await expect.poll(() => heard).toEqual([run.id]);
  });

  it('F50: never gives one run to two machines, however many claim at the same moment', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => open()));
    const [first] = all;
    if (!first) throw new Error('No store was opened.');
    const groups = Array.from({ length: 40 }, (_, index) => `sync:${index}`);
    await Promise.all(groups.map((group) => first.enqueue(pushRequest({ concurrencyGroup: group }))));
    const claims = await Promise.all(
      Array.from({ length: 80 }, (_, index) =>
        all[index % all.length]?.claim({ owner: `machine-${index % all.length}:1`, leaseMs: 60_000 }),
      ),
    );
    const ids = claims.flatMap((claim) => (claim ? [claim.run.id] : []));
    expect(ids).toHaveLength(40);
    expect(new Set(ids).size).toBe(40);
  });

  describe('that would lose data', () => {
    it.each([['fsync=off', 'does not write to the disk before it answers']])(
      'with %s is refused at the start',
      async (setting, problem) => {
        const careless = await startPostgres(setting);
        onTestFinished(() => careless.remove());
        await expect(open({ url: await careless.createDatabase() })).rejects.toThrow(problem);
      },
    );

    it('with synchronous_commit=off is used with the setting on, and a warning names the setting', async () => {
      const careless = await startPostgres('synchronous_commit=off', 'full_page_writes=off');
      onTestFinished(() => careless.remove());
      const warnings: string[] = [];
      await open({ url: await careless.createDatabase(), onWarning: (warning) => warnings.push(warning) });
      expect(warnings).toEqual([
        expect.stringContaining('synchronous_commit = off'),
        expect.stringContaining('full_page_writes = off'),
      ]);
      await Promise.all(stores.splice(0).map((store) => store.close()));
    });
  });

  it('whose tables are of a newer version is refused and not changed', async () => {
    await open();
    const client = await connect();
    await client.query('UPDATE iac_runner.schema_version SET version = 999');
    await expect(open()).rejects.toThrow('newer iac-runner');
  });

  it('that waits for a lock of somebody else fails the write that hangs, and stores nothing of it', async () => {
    const store = await open({ requestTimeoutMs: 500 });
    const stranger = await connect();
    await stranger.query('BEGIN; LOCK TABLE iac_runner.events IN ACCESS EXCLUSIVE MODE');
    await expect(store.enqueue(request())).rejects.toThrow(StoreUnavailableError);
    await stranger.query('ROLLBACK');
    const { run } = await store.enqueue(request());
    expect((await store.runs({ limit: 10 })).map(({ id }) => id)).toEqual([run.id]);
  });

  it('is prepared once by machines that start at the same moment', async () => {
    const all = await Promise.all(Array.from({ length: 5 }, () => open()));
    const [one, two] = all;
    const made = await one?.enqueue(request());
    expect(await two?.run(made?.run.id ?? '')).toEqual(made?.run);
  });

  it('F51: that does not run causes an error with its address and the remedy, and without the password', async () => {
    const nowhere = url.replace('iac@', 'iac:secret-password@').replace(/:\d+\//, ':1/');
    const opening = open({ url: nowhere });
    await expect(opening).rejects.toThrow(StoreUnavailableError);
    await expect(opening).rejects.not.toThrow('secret-password');
  });
});
