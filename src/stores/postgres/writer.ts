/**
 * Runs the writes on one connection: all calls that arrive while one commit waits for the disk share the next one.
 * Every transaction takes the same lock first, so machines that share the database write one after the other, as
 * threads do that share a file: each statement may rely on what it has read.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, escapeLiteral, type QueryResult } from 'pg';
import { NonceSpentError, QueueFullError, StaleLeaseError, StoreUnavailableError } from '../../errors.ts';
import type { Row, Transaction } from '../sql/database.ts';
import type { Driver } from '../sql/run-store.ts';
import { grouped, perform, type WriteName } from '../sql/writes.ts';
import { connect, drop, isConnectionLost, isUnavailable, statementsOf, unavailable } from './connection.ts';
import { type Change, toPayloads } from './news.ts';

/** The lock that every writing transaction holds. Any number that nobody else uses in this database. */
const WRITE_LOCK = 7_262_018;
const BATCH = 200;
/** Plans are kept, and one that is made while a table is small would read the whole table when it has become large. */
const BY_INDEX = 'SET enable_seqscan TO off; SET enable_hashjoin TO off; SET enable_mergejoin TO off';
const RETRY_MS = 500;
const EXPIRY_CHECK_MS = 250;
/** A write that takes longer waits for somebody, or for a database that stands still. */
const HANGING_MS = 4_000;

interface Call {
  name: WriteName;
  values: unknown[];
  resolve(value: unknown): void;
  reject(error: Error): void;
  timeoutMs: number;
  /** By performance.now(): the caller gives up then, unless the call was taken into a transaction. */
  deadline: number;
  state: 'waiting' | 'taken' | 'given_up';
}

interface Answer {
  call: Call;
  outcome: Awaited<ReturnType<typeof perform>>[number];
}

export interface Writer {
  write: Driver['write'];
  close(): Promise<void>;
}

export function startWriter(url: string, instance: string, onChange: (change: Change) => void): Writer {
  let client: Client | null = null;
  let waiting: Call[] = [];
  /** The calls that wait for a transaction to begin. */
  let next: readonly Call[] = [];
  let working: Promise<void> | null = null;
  let isClosed = false;
  let isCommitting = false;
  /** By performance.now(): when the last write of a transaction began. */
  let lastProgressAt = 0;

  async function use(): Promise<Client> {
    if (client) return client;
    const opened = await connect(url, (ended) => {
      if (client === ended) client = null;
    });
    client = opened;
    await opened.query(BY_INDEX);
    return opened;
  }

  function forget(lost: Client): void {
    if (client === lost) client = null;
    drop(lost);
  }

  async function work(): Promise<void> {
    while (waiting.length > 0) {
      next = waiting.splice(0, BATCH);
      await commit(next).catch((error) => {
        for (const call of next) fail(call, error);
      });
    }
    working = null;
  }

  /** Runs the calls in one transaction. When one of them fails, each is run again in a transaction of its own. */
  async function commit(calls: readonly Call[]): Promise<void> {
    const current = await use();
    const id = randomUUID();
    const answers: Answer[] = [];
    try {
      const transaction = await begin(current);
      for (const group of grouped(calls)) {
        lastProgressAt = performance.now();
        // The calls are taken only now: their callers may have given up while the lock was waited for.
        const taken = group.filter(({ state }) => state !== 'given_up');
        for (const call of taken) call.state = 'taken';
        for (const [index, outcome] of (await perform(transaction, taken)).entries()) {
          const call = taken[index];
          if (call) answers.push({ call, outcome });
        }
      }
    } catch (error) {
      for (const call of calls) if (call.state === 'taken') call.state = 'waiting';
      if (isConnectionLost(error)) forget(current);
      else await current.query('ROLLBACK').catch(() => forget(current));
      if (calls.length === 1 || isUnavailable(error)) throw error;
      for (const call of calls) await commit([call]).catch((alone) => fail(call, alone));
      return;
    }
    await store(current, id, answers);
    for (const { call, outcome } of answers) {
      if (outcome instanceof Error) fail(call, outcome);
      else call.resolve(outcome.result);
    }
    for (const change of changesOf(answers)) onChange(change);
  }

  /**
   * Commits, with a note of the transaction's id and with the news for the other machines. After an error only the
   * database knows the outcome, so it is asked.
   */
  async function store(on: Client, id: string, answers: readonly Answer[]): Promise<void> {
    const news = toPayloads(instance, changesOf(answers)).map(
      (payload) => `SELECT pg_notify('iac_runner', ${escapeLiteral(payload)});`,
    );
    const limits = limitUncertain(answers.map(({ call }) => call));
    isCommitting = true;
    try {
      const noted = on.query(`${news.join(' ')} ${noteCommit(instance, id)}`);
      const [, { command }] = await Promise.all([noted, on.query('COMMIT')]);
      if (command !== 'COMMIT') throw new Error('The database did not make the commit.');
    } catch (error) {
      forget(on);
      if (!(await wasCommitted(id))) throw unavailable('written', error);
    } finally {
      isCommitting = false;
      for (const limit of limits) clearTimeout(limit);
    }
  }

  /** The lock is free once the transaction has ended, and the row then has its id or does not. */
  async function wasCommitted(id: string): Promise<boolean> {
    while (true) {
      if (isClosed) throw uncertain();
      let on: Client | null = null;
      try {
        on = await use();
        await begin(on);
        const rows = lastRows(
          await on.query(`SELECT 1 FROM last_commits WHERE instance = '${instance}' AND id = '${id}'`),
        );
        await on.query('ROLLBACK');
        return rows.length > 0;
      } catch (error) {
        if (on) forget(on);
        if (!isUnavailable(error)) throw error;
      }
      await sleep(RETRY_MS);
    }
  }

  const expiry = setInterval(() => {
    const now = performance.now();
    const late = [...next, ...waiting].filter(({ deadline }) => deadline <= now);
    // Nothing is committed yet, so without the connection nothing of it is stored.
    const hangs = !isCommitting && now - lastProgressAt > HANGING_MS;
    if (client && hangs && late.some(({ state }) => state === 'taken')) forget(client);
    for (const call of late) {
      if (call.state !== 'waiting') continue;
      call.state = 'given_up';
      call.reject(
        new StoreUnavailableError('The database did not answer in time, and nothing was stored.', {
          nextAction: 'Try again; if it stays so, look into the log of the database.',
        }),
      );
    }
    waiting = waiting.filter(({ state }) => state === 'waiting');
  }, EXPIRY_CHECK_MS);
  expiry.unref();

  return {
    write: (name, values, timeoutMs = Number.POSITIVE_INFINITY) =>
      new Promise((resolve, reject) => {
        if (isClosed) return reject(new StoreUnavailableError('The store is closed.'));
        waiting.push({
          ...{ name, values, reject, timeoutMs },
          resolve: resolve as (value: unknown) => void,
          deadline: performance.now() + timeoutMs,
          state: 'waiting',
        });
        working ??= new Promise<void>((done) => setImmediate(done)).then(work);
      }),
    async close() {
      isClosed = true;
      clearInterval(expiry);
      await working;
      await client?.end().catch(() => undefined);
    },
  };
}

async function begin(on: Client): Promise<Transaction> {
  const [row] = lastRows(
    await on.query(
      `BEGIN; SELECT pg_advisory_xact_lock(${WRITE_LOCK});
       SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now`,
    ),
  );
  return { ...statementsOf(on), now: async () => Number(row?.now), mayClaim: false };
}

/** Several statements in one query give a list of results, which the types lack. */
function lastRows(results: QueryResult<Row> | QueryResult<Row>[]): Row[] {
  return [results].flat().at(-1)?.rows ?? [];
}

function changesOf(answers: readonly Answer[]): Change[] {
  return answers.flatMap(({ outcome }) =>
    outcome instanceof Error ? [] : { runs: outcome.changed, mayClaim: outcome.mayClaim },
  );
}

function fail(call: Call, error: unknown): void {
  const isAnswer =
    error instanceof StaleLeaseError || error instanceof QueueFullError || error instanceof NonceSpentError;
  if (!isAnswer && isUnavailable(error)) call.reject(unavailable('written', error));
  else call.reject(error instanceof Error ? error : new Error(String(error)));
}

/** Somebody waits for the answer of these, and the outcome may stay unknown for as long as the database is away. */
function limitUncertain(calls: readonly Call[]): NodeJS.Timeout[] {
  return calls
    .filter(({ timeoutMs }) => Number.isFinite(timeoutMs))
    .map(({ timeoutMs, reject }) => setTimeout(() => reject(uncertain()), timeoutMs).unref());
}

function uncertain(): StoreUnavailableError {
  return new StoreUnavailableError(
    'The database did not confirm a commit: it may have stored this, or not.',
    {
      nextAction: 'Try again; the same delivery or request is stored once.',
    },
  );
}

/**
 * Notes the id of a transaction that has written something. The number that PostgreSQL gives to a transaction would not
 * do: after a crash it may give the same one to another.
 */
function noteCommit(instance: string, id: string): string {
  return `INSERT INTO last_commits (instance, id, at)
    SELECT '${instance}', '${id}', now() WHERE pg_current_xact_id_if_assigned() IS NOT NULL
    ON CONFLICT (instance) DO UPDATE SET id = excluded.id, at = excluded.at`;
}
