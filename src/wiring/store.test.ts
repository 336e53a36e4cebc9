import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { StoreUnreachableError } from '../errors.ts';
import { startPostgres, withoutPostgres } from '../stores/postgres/postgres-server.fixture.ts';
import { createPostgresStore } from '../stores/postgres/postgres-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { recover } from '../worker/recover.ts';
import { onceReachable } from './store.ts';

it.skipIf(withoutPostgres !== null)(
  'A start goes on when the database is restarted in the middle of it',
  async () => {
    const server = await startPostgres();
    onTestFinished(() => server.remove());
    const store = await createPostgresStore({ url: await server.createDatabase() });
    onTestFinished(() => store.close());
    const directory = await mkdtemp(path.join(tmpdir(), 'iac-store-'));
    onTestFinished(() => rm(directory, { recursive: true }));
    const { run } = await store.enqueue(pushRequest());
    await store.claim({ owner: 'one:1', leaseMs: 60_000 });
    await server.kill();

    const { signal } = new AbortController();
    const log = pino({ level: 'silent' });
    const marker = `IAC_RUNNER_DATA=${directory}`;
    const recovering = onceReachable(
      () => recover({ store, maxAttempts: 9, machine: 'one', marker, log }),
      signal,
      log,
    );
    await sleep(500);
    await server.start();
    await recovering;
    expect((await store.run(run.id))?.state).toBe('queued');
  },
);

it('A start does not wait for the database once the process ends', async () => {
  const refused = new StoreUnreachableError('The database cannot be reached.');
  const waiting = onceReachable(
    () => Promise.reject(refused),
    AbortSignal.abort(),
    pino({ level: 'silent' }),
  );
  await expect(waiting).rejects.toBe(refused);
});
