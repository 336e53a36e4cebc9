/** Tests the SQLite store when its files, its thread or its queue have a fault. */

import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QueueFullError, StoreUnavailableError } from '../../errors.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { pushRequest } from '../run-store-contract.ts';
import { openForWriting } from './database.ts';
import { createSqliteStore } from './sqlite-store.ts';

let root: string;
let directory: string;
let file: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'iac-store-'));
  directory = path.join(root, 'data');
  file = path.join(directory, 'iac-runner.db');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Copies the files in their present state, as a power loss would leave them. */
function copyFiles(name: string): string {
  const copy = path.join(root, name);
  mkdirSync(copy);
  for (const entry of readdirSync(directory)) {
    // The owner's lock is left out, because SQLite holds it, and the shared memory, because it does not outlive a
    // machine.
    if (entry === 'owner.lock' || entry.endsWith('-shm')) continue;
    copyFileSync(path.join(directory, entry), path.join(copy, entry));
  }
  return path.join(copy, 'iac-runner.db');
}

function runsIn(database: string): string[] {
  const opened = openForWriting(database);
  const all = (sql: string) => opened.raw.prepare(sql).all();
  try {
    expect(all('PRAGMA integrity_check')).toMatchObject([{ integrity_check: 'ok' }]);
    expect(all("SELECT value FROM counters WHERE name = 'queued_runs'")).toMatchObject(
      all("SELECT count(*) AS value FROM runs WHERE state = 'queued'"),
    );
    return all('SELECT id FROM runs ORDER BY number').map(({ id }) => String(id));
  } finally {
    opened.close();
  }
}

async function enqueueMany(store: RunStore, count: number): Promise<string[]> {
  const ids: string[] = [];
  // The requests are sent one after the other, so that each is a commit of its own.
  for (let i = 0; i < count; i += 1) ids.push((await store.enqueue(pushRequest())).run.id);
  return ids;
}

describe('A store whose files are damaged', () => {
  it('F20: opens at a whole commit wherever its write-ahead log is cut off', async () => {
    const store = await createSqliteStore({ directory });
    const ids = await enqueueMany(store, 30);
    const whole = copyFiles('whole');
    await store.close();
    expect(runsIn(copyOf(whole, 'untouched'))).toEqual(ids);
    const size = statSync(`${whole}-wal`).size;
    const lengths = new Set<number>();
    for (let round = 0; round < 200; round += 1) {
      const copy = copyOf(whole, `cut-${round}`);
      const offset = Math.floor(Math.random() * size);
      truncateSync(`${copy}-wal`, offset);
      const found = runsIn(copy);
      expect([offset, found]).toEqual([offset, ids.slice(0, found.length)]);
      lengths.add(found.length);
      rmSync(path.dirname(copy), { recursive: true });
    }
    expect(lengths.size).toBeGreaterThan(10);
  });

  function copyOf(original: string, name: string): string {
    mkdirSync(path.join(root, name));
    for (const entry of readdirSync(path.dirname(original))) {
      copyFileSync(path.join(path.dirname(original), entry), path.join(root, name, entry));
    }
    return path.join(root, name, path.basename(original));
  }

  it('F20: loses nothing without its -shm', async () => {
    const store = await createSqliteStore({ directory });
    const ids = await enqueueMany(store, 3);
    const copy = copyFiles('copy');
    await store.close();
    expect(existsSync(`${copy}-shm`)).toBe(false);
    expect(runsIn(copy)).toEqual(ids);
  });

  it.each([
    ['is empty', (name: string) => truncateSync(name, 0)],
    ['is removed', (name: string) => rmSync(name)],
  ])('F20: is refused, and its log left alone, when the file %s', async (_title, damage) => {
    const store = await createSqliteStore({ directory });
    await enqueueMany(store, 3);
    const copy = copyFiles('copy');
    await store.close();
    for (const [database, log] of [
      [file, 0],
      [copy, statSync(`${copy}-wal`).size],
    ] as const) {
      damage(database);
      const opening = createSqliteStore({ directory: path.dirname(database) });
      await expect(opening).rejects.toThrow('is missing or empty, although it has been in use');
      await expect(opening).rejects.toMatchObject({ nextAction: expect.stringContaining('backup') });
      expect(statSync(`${database}-wal`, { throwIfNoEntry: false })?.size ?? 0).toBe(log);
    }
    // The log alone also shows that the store has been in use.
    rmSync(`${copy}.created`);
    await expect(createSqliteStore({ directory: path.dirname(copy) })).rejects.toThrow('has been in use');
  });

  it('F20: does not start an empty store when the log that held everything is missing', async () => {
    const store = await createSqliteStore({ directory });
    await enqueueMany(store, 3);
    const copy = copyFiles('copy');
    await store.close();
    rmSync(`${copy}-wal`);
    // The file itself contains the schema, but the runs of the lost log are missing.
    expect(runsIn(copy)).toEqual([]);
    const raw = new DatabaseSync(copy);
    raw.exec('PRAGMA user_version = 0');
    raw.close();
    await expect(createSqliteStore({ directory: path.dirname(copy) })).rejects.toThrow('has been in use');
  });
});

describe('The write-ahead log', () => {
  it('F19: is cut after a reader has held it up, and nothing waits for that', async () => {
    const store = await createSqliteStore({ directory });
    const { run } = await store.enqueue(pushRequest());
    const claim = await store.claim({ owner: 'w', leaseMs: 60_000 });
    if (!claim) throw new Error('Nothing to claim.');
    const reader = new DatabaseSync(file, { readOnly: true });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM events').get();
    const lines = Array.from({ length: 1_000 }, () => 'x'.repeat(200));
    for (let i = 0; i < 100; i += 1) {
      await store.append(claim.lease, [{ type: 'step.log', step: 's', stream: 'stdout', lines }]);
    }
    const wal = () => statSync(`${file}-wal`).size;
    expect(wal()).toBeGreaterThan(16 * 1024 * 1024);
    // A reader that was stopped in the middle of its work does not block the writer.
    expect(await store.events(run.id, { after: 500, limit: 3 })).toHaveLength(3);
    reader.close();
    await expect.poll(wal, { interval: 250 }).toBe(0);
    expect((await store.events(run.id, { after: 99_000, limit: 10 })).length).toBeGreaterThan(0);
    await store.close();
  });
});

/**
 * Returns the number of locks that this process holds on a file. Without a lock, another program that looks into the
 * file believes that nobody else uses it, and removes its log
 * (https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
 */
function locksOn(name: string): number {
  const inode = statSync(name).ino;
  const locks = readFileSync('/proc/locks', 'utf8').split('\n');
  return locks.filter((line) => line.includes(` ${process.pid} `) && line.includes(`:${inode} `)).length;
}

/** Sets the longest file that this process may write. A write beyond it is an I/O error. */
function limitFiles(bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`]);
}

describe('An I/O error', () => {
  /** Makes the next write of the log fail as a broken disk would. */
  async function failOnce(store: RunStore): Promise<void> {
    limitFiles(statSync(`${file}-wal`).size);
    try {
      await expect(store.enqueue(pushRequest())).rejects.toThrow(StoreUnavailableError);
    } finally {
      limitFiles('unlimited');
    }
  }

  it('F17: costs no lock on the file, and nothing that is acknowledged after it', async () => {
    const store = await createSqliteStore({ directory });
    const ids = await enqueueMany(store, 2);
    await store.runs({ limit: 1 });
    expect(locksOn(file)).toBe(1);
    await failOnce(store);
    ids.push(...(await enqueueMany(store, 3)));
    expect(locksOn(file)).toBe(1);
    expect((await store.runs({ limit: 10 })).map(({ id }) => id)).toEqual(ids.toReversed());
    // The files are copied as a kill would leave them. Another process copies them, because reading them here would
    // cost the locks.
    execFileSync('cp', ['-r', directory, path.join(root, 'killed')]);
    rmSync(path.join(root, 'killed', 'iac-runner.db-shm'));
    expect(runsIn(path.join(root, 'killed', 'iac-runner.db'))).toEqual(ids);
    await store.close();
  });

  it('F17: while reading is reported, and reads work again once the disk works again', async () => {
    const store = await createSqliteStore({ directory });
    const [id = ''] = await enqueueMany(store, 1);
    const claim = await store.claim({ owner: 'w', leaseMs: 60_000 });
    if (!claim) throw new Error('Nothing to claim.');
    const lines = Array.from({ length: 100 }, () => 'x'.repeat(200));
    const log = { type: 'step.log', step: 's', stream: 'stdout', lines } as const;
    await store.append(claim.lease, Array(20).fill(log));
    const other = new DatabaseSync(file);
    other.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    other.close();
    const good = path.join(root, 'good.db');
    execFileSync('cp', [file, good]);
    const overwrite = (source: string) =>
      execFileSync(
        'dd',
        [`if=${source}`, `of=${file}`, 'bs=4096', 'seek=30', 'skip=30', 'count=60', 'conv=notrunc'],
        {
          stdio: 'ignore',
        },
      );
    const page = { after: 0, limit: 1_000 };
    overwrite('/dev/zero');
    await expect(store.events(id, page)).rejects.toThrow(StoreUnavailableError);
    overwrite(good);
    expect(await store.events(id, page)).toHaveLength(22);
    await store.close();
  });

  it('F21: and a second start that is refused cost no lock on the data directory', async () => {
    const store = await createSqliteStore({ directory });
    await expect(createSqliteStore({ directory })).rejects.toThrow('Another iac-runner already uses');
    expect(locksOn(path.join(directory, 'owner.lock'))).toBeGreaterThan(0);
    await store.close();
  });
});

describe('The file', () => {
  it('shrinks when what was in it is old', async () => {
    const store = await createSqliteStore({ directory });
    await store.enqueue(pushRequest());
    const claim = await store.claim({ owner: 'w', leaseMs: 60_000 });
    if (!claim) throw new Error('Nothing to claim.');
    const lines = Array.from({ length: 300 }, () => 'x'.repeat(200));
    const log = { type: 'step.log', step: 's', stream: 'stdout', lines } as const;
    for (let i = 0; i < 40; i += 1) await store.append(claim.lease, Array(25).fill(log));
    const finished = { type: 'run.finished', state: 'succeeded', reason: null, message: '' } as const;
    await store.append(claim.lease, [{ ...finished, coveredBy: null }]);
    const options = { before: Date.now() + 1_000, deliveriesBefore: 0, reporters: [] };
    while (await store.prune(options));
    expect(await store.runs({ limit: 1 })).toEqual([]);
    await store.close();
    expect(statSync(file).size).toBeLessThan(45 * 1024 * 1024);
  });
});

describe('The queue', () => {
  it('takes no more than its limit, counts nothing twice, and takes more once a run was claimed', async () => {
    const store = await createSqliteStore({ directory, queueLimit: 3 });
    const request = (dedupeKey: string) => pushRequest({ coalesce: false, dedupeKey });
    const answers = await Promise.allSettled(
      ['a', 'b', 'c', 'd', 'e'].map((key) => store.enqueue(request(key))),
    );
    expect(answers.map(({ status }) => status)).toEqual([
      ...['fulfilled', 'fulfilled', 'fulfilled'],
      ...['rejected', 'rejected'],
    ]);
    await expect(store.enqueue(request('d'))).rejects.toThrow(QueueFullError);
    await expect(store.enqueue(request('d'))).rejects.toThrow(StoreUnavailableError);
    // A request whose run is stored already adds no new run.
    expect(await store.enqueue(request('b'))).toMatchObject({ created: false });
    const claim = await store.claim({ owner: 'w', leaseMs: 60_000 });
    if (!claim) throw new Error('Nothing to claim.');
    expect(await store.enqueue(request('d'))).toMatchObject({ created: true });
    // A write for a run that is worked on is never refused.
    const message = 'Not on main';
    const end = { type: 'run.finished', state: 'superseded', reason: 'not_on_branch', message } as const;
    await store.append(claim.lease, [{ ...end, coveredBy: null }], pushRequest());
    await expect(store.enqueue(request('e'))).rejects.toThrow(QueueFullError);
    await store.close();
    expect(runsIn(file)).toHaveLength(5);
  });
});

describe('The writer thread', () => {
  it('reports that it died, and fails what waits for it', async () => {
    const started: Worker[] = [];
    const onWorker = (worker: Worker) => void started.push(worker);
    process.on('worker', onWorker);
    const failed = Promise.withResolvers<Error>();
    const store = await createSqliteStore({ directory, onFailure: failed.resolve });
    process.off('worker', onWorker);
    const waiting = expect(store.enqueue(pushRequest())).rejects.toThrow(StoreUnavailableError);
    await started.at(-1)?.terminate();
    await waiting;
    expect(await failed.promise).toMatchObject({ message: 'The thread that writes the store has ended.' });
    expect(store.isAlive()).toBe(false);
    await expect(store.check()).rejects.toThrow(StoreUnavailableError);
    await store.close();
  });

  it('ends without an error when the store is closed', async () => {
    const failures: Error[] = [];
    const store = await createSqliteStore({ directory, onFailure: (error) => failures.push(error) });
    await store.close();
    expect(failures).toEqual([]);
  });
});
