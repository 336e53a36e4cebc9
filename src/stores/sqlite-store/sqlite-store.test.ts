import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import { describeRunStore, pushRequest } from '../run-store-contract.ts';
import { createSqliteStore } from './sqlite-store.ts';

let directory: string;
beforeEach(() => {
  directory = path.join(mkdtempSync(path.join(tmpdir(), 'iac-store-')), 'data');
});
afterEach(() => rmSync(path.dirname(directory), { recursive: true, force: true }));

describeRunStore(
  'The SQLite store',
  () => createSqliteStore({ directory }),
  async () => {},
);

describe('The SQLite file', () => {
  it('keeps everything over a restart', async () => {
    const first = await createSqliteStore({ directory });
    const { run } = await first.enqueue(pushRequest());
    const key = await first.key('links');
    await first.close();
    const second = await createSqliteStore({ directory });
    expect(await second.run(run.id)).toEqual(run);
    expect(await second.key('links')).toEqual(key);
    await second.close();
  });

  it('F16: is written in WAL mode with synchronous=FULL', async () => {
    const { openForWriting } = await import('./database.ts');
    const database = openForWriting(path.join(directory, 'x.db'));
    expect(database.get('PRAGMA journal_mode')).toMatchObject({ journal_mode: 'wal' });
    expect(database.get('PRAGMA synchronous')).toMatchObject({ synchronous: 2 });
    database.close();
  });

  it('F18: answers StoreUnavailableError while somebody else holds the write lock, then works again', async () => {
    const store = await createSqliteStore({ directory, requestTimeoutMs: 500 });
    const other = new DatabaseSync(path.join(directory, 'iac-runner.db'));
    other.exec('BEGIN IMMEDIATE');
    await expect(store.enqueue(pushRequest())).rejects.toThrow(StoreUnavailableError);
    other.exec('ROLLBACK');
    other.close();
    await expect.poll(() => store.enqueue(pushRequest())).toMatchObject({ created: true });
    await store.close();
  });

  it('F21: is refused to a second process while the first lives', async () => {
    const store = await createSqliteStore({ directory });
    await expect(createSqliteStore({ directory })).rejects.toThrow('Another iac-runner already uses');
    await store.close();
    const again = await createSqliteStore({ directory });
    await again.close();
  });

  it('F21: written by a newer version is refused and left alone', async () => {
    await (await createSqliteStore({ directory })).close();
    const raw = new DatabaseSync(path.join(directory, 'iac-runner.db'));
    raw.exec('PRAGMA user_version = 999');
    raw.close();
    await expect(createSqliteStore({ directory })).rejects.toThrow('newer iac-runner');
  });

  it('F20: that is not a database is refused, never replaced', async () => {
    await (await createSqliteStore({ directory })).close();
    truncateSync(path.join(directory, 'iac-runner.db'), 50);
    await expect(createSqliteStore({ directory })).rejects.toThrow(StoreUnavailableError);
    expect(statSync(path.join(directory, 'iac-runner.db')).size).toBe(50);
  });

  it('F43: and its folder are readable by their owner only, whatever the umask', async () => {
    const umask = process.umask(0);
    try {
      const store = await createSqliteStore({ directory });
      await store.enqueue(pushRequest());
      expect(statSync(directory).mode & 0o777).toBe(0o700);
      for (const name of ['iac-runner.db', 'iac-runner.db-wal', 'iac-runner.db-shm', 'owner.lock']) {
        expect([name, statSync(path.join(directory, name)).mode & 0o777]).toEqual([name, 0o600]);
      }
      await store.close();
    } finally {
      process.umask(umask);
    }
  });

  it('a batch with one refused call still commits the others', async () => {
    const store = await createSqliteStore({ directory });
    const stale = { runId: 'none', owner: 'x', token: 0 };
    const [refused, stored] = await Promise.allSettled([
      store.append(stale, [{ type: 'run.notice', level: 'info', message: '' }]),
      store.enqueue(pushRequest()),
    ]);
    expect(refused.status).toBe('rejected');
    expect(stored.status).toBe('fulfilled');
    await store.close();
  });
});
