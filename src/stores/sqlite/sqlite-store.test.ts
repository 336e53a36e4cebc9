import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import { blankReport } from '../../runs/report.ts';
import { describeApprovals } from '../approvals-contract.ts';
import { describeHolds } from '../holds-contract.ts';
import { describeRunStore, pushRequest } from '../run-store-contract.ts';
import { createSqliteStore } from './sqlite-store.ts';

let directory: string;
beforeEach(() => {
  directory = path.join(mkdtempSync(path.join(tmpdir(), 'iac-store-')), 'data');
});
afterEach(() => rmSync(path.dirname(directory), { recursive: true, force: true }));

describeRunStore(
  'The SQLite store',
  () => createSqliteStore({ directory, requestTimeoutMs: 60_000 }),
  async () => {},
);

describeHolds('The SQLite store', () => createSqliteStore({ directory, requestTimeoutMs: 60_000 }));
describeApprovals('The SQLite store', () => createSqliteStore({ directory, requestTimeoutMs: 60_000 }));

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
    expect(await database.get('PRAGMA journal_mode')).toMatchObject({ journal_mode: 'wal' });
    expect(await database.get('PRAGMA synchronous')).toMatchObject({ synchronous: 2 });
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

  it('F21: that was written by a newer version is refused and not changed', async () => {
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

  it('F17: rounds every number that is no whole one, and refuses what is none', async () => {
    const store = await createSqliteStore({ directory });
    const { run } = await store.enqueue(pushRequest());
    const claim = async () => {
      const claimed = await store.claim({ owner: 'w', leaseMs: 60_000.5 });
      if (!claimed) throw new Error('Nothing to claim.');
      return claimed.lease;
    };
    await store.renew(await claim(), 1e5 / 3);
    const [running] = await store.takeBack({ all: true, maxAttempts: 9 });
    expect(running).toBe(run.id);
    const message = '';
    const putOff = { type: 'run.requeued', countAttempt: false, notBefore: 1234.5, message } as const;
    await store.append(await claim(), [putOff]);
    expect(await store.run(run.id)).toMatchObject({ notBefore: 1235 });
    const expiresAt = Date.now() + 1e7 / 3;
    const waits = { type: 'run.awaiting_approval', subject: 's', expiresAt, message } as const;
    await store.append(await claim(), [waits]);
    expect(await store.run(run.id)).toMatchObject({ approvalExpiresAt: Math.round(expiresAt) });
    const report = blankReport('commit-status', run.id, 'a');
    await store.saveReport({ ...report, failures: 1, notBefore: 1e12 + 0.25 });
    expect(await store.reports('commit-status', run.id)).toMatchObject([{ notBefore: 1e12 }]);
    expect(await store.prune({ before: 0.5, deliveriesBefore: 0.5, reporters: [] })).toBe(false);
    for (const notBefore of [Number.NaN, Number.POSITIVE_INFINITY]) {
      await expect(store.saveReport({ ...report, notBefore })).rejects.toThrow('for a number');
    }
    await store.close();
  });

  it('F18: is worked on again when another program has held it for longer than a lease', async () => {
    const store = await createSqliteStore({ directory });
    const { run } = await store.enqueue(pushRequest());
    const claimed = await store.claim({ owner: 'w', leaseMs: 50 });
    if (!claimed) throw new Error('Nothing to claim.');
    const other = new DatabaseSync(path.join(directory, 'iac-runner.db'));
    other.exec('BEGIN IMMEDIATE');
    // The write is refused after the time that SQLite waits. The lease has ended long before.
    const refused: unknown = await store.renew(claimed.lease, 60_000).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(StoreUnavailableError);
    expect(refused).toMatchObject({
      nextAction: expect.stringContaining('Another process holds the database'),
    });
    other.exec('ROLLBACK');
    other.close();
    // Nobody else took the lease, so it still belongs to this worker.
    await store.renew(claimed.lease, 60_000);
    expect(await store.run(run.id)).toMatchObject({ state: 'running' });
    await store.close();
  });

  it('F17: that cannot grow refuses a write that does not fit, and accepts it once there is space', async () => {
    const store = await createSqliteStore({ directory });
    const { run } = await store.enqueue(pushRequest());
    const claimed = await store.claim({ owner: 'w', leaseMs: 60_000 });
    if (!claimed) throw new Error('Nothing to claim.');
    const wal = path.join(directory, 'iac-runner.db-wal');
    const limit = (bytes: number | 'unlimited') =>
      execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`]);
    const lines = Array.from({ length: 1_000 }, () => 'x'.repeat(200));
    const events = [{ type: 'step.log', step: 's', stream: 'stdout', lines } as const];
    limit(statSync(wal).size + 20_000);
    try {
      await expect(store.append(claimed.lease, events)).rejects.toThrow(StoreUnavailableError);
      await expect(store.append(claimed.lease, events)).rejects.toThrow(StoreUnavailableError);
    } finally {
      limit('unlimited');
    }
    await store.append(claimed.lease, events);
    const stored = await store.eventsOf(run.id, 'run.started');
    expect(stored).toHaveLength(1);
    // The events are stored once, not three times.
    expect(await store.events(run.id, { after: 0, limit: 10 })).toHaveLength(3);
    await store.close();
  });
});
