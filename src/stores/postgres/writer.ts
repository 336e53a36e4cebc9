/**
 * Runs the writes on one connection. All calls that arrive while one commit waits for the disk share the next one.
 * Every transaction takes the same lock first, so machines that share the database write one after the other. So each
 * statement may rely on the data that it has read.
 */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, escapeLiteral, type QueryResult } from 'pg';
import { StoreUnavailableError } from '../../errors.ts';
import type { Row, Transaction } from '../sql/database.ts';
import type { Driver } from '../sql/run-store.ts';
import { grouped, perform } from '../sql/writes.ts';
import { type Answer, type Call, changesOf, fail, limitUncertain, uncertain } from './calls.ts';
import { connect, drop, isConnectionLost, isUnavailable, statementsOf, unavailable } from './connection.ts';
import { type Change, toPayloads } from './news.ts';

/** The lock that every writing transaction holds. It may be any number that nobody else uses in this database. */
const WRITE_LOCK = 7_262_018;
const BATCH = 200;
/**
 * Makes every query use an index. PostgreSQL keeps its plan of a query, and a plan that is made while a table is small
 * would read the whole table when it has become large.
 */
const BY_INDEX = 'SET enable_seqscan TO off; SET enable_hashjoin TO off; SET enable_mergejoin TO off';
const RETRY_MS = 500;
const EXPIRY_CHECK_MS = 250;
/** A write that takes longer waits for another writer, or for a database that stands still. */
const HANGING_MS = 4_000;

export interface Writer {
  write: Driver['write'];
  close(): Promise<void>;
}

interface State {
  readonly url: string;
  readonly instance: string;
  readonly onChange: (change: Change) => void;
  client: Client | null;
  waiting: Call[];
  /** The calls that wait for a transaction to begin. */
  next: readonly Call[];
  /** The loop that commits the calls, or null while no call waits. */
  working: Promise<void> | null;
  isClosed: boolean;
  isCommitting: boolean;
  /** The time of performance.now() at which the last write of a transaction started. */
  lastProgressAt: number;
}

export function startWriter(url: string, instance: string, onChange: (change: Change) => void): Writer {
  const state: State = {
    url,
    instance,
    onChange,
    client: null,
    waiting: [],
    next: [],
    working: null,
    isClosed: false,
    isCommitting: false,
    lastProgressAt: 0,
  };
  const expiry = setInterval(() => expire(state), EXPIRY_CHECK_MS);
  expiry.unref();
  return {
    write: (name, values, timeoutMs = Number.POSITIVE_INFINITY) =>
      new Promise((resolve, reject) => {
        if (state.isClosed) return reject(new StoreUnavailableError('The store is closed.'));
        state.waiting.push({
          name,
          values,
          reject,
          timeoutMs,
          resolve: resolve as (value: unknown) => void,
          deadline: performance.now() + timeoutMs,
          state: 'waiting',
        });
        state.working ??= new Promise<void>((done) => setImmediate(done)).then(() => work(state));
      }),
    async close() {
      state.isClosed = true;
      clearInterval(expiry);
      await state.working;
      await state.client?.end().catch(() => undefined);
    },
  };
}

async function use(state: State): Promise<Client> {
  if (state.client) return state.client;
  const opened = await connect(state.url, (ended) => {
    if (state.client === ended) state.client = null;
  });
  try {
    await opened.query(BY_INDEX);
  } catch (error) {
    drop(opened);
    throw unavailable('reached', error);
  }
  state.client = opened;
  return opened;
}

function forget(state: State, lost: Client): void {
  if (state.client === lost) state.client = null;
  drop(lost);
}

async function work(state: State): Promise<void> {
  while (state.waiting.length > 0) {
    state.next = state.waiting.splice(0, BATCH);
    await commit(state, state.next).catch((error) => {
      for (const call of state.next) fail(call, error);
    });
  }
  state.next = [];
  state.working = null;
}

/** Runs the calls in one transaction. If one of them fails, each is run again in a transaction of its own. */
async function commit(state: State, calls: readonly Call[]): Promise<void> {
  const current = await use(state);
  const id = randomUUID();
  const answers: Answer[] = [];
  try {
    const transaction = await begin(current);
    for (const group of grouped(calls)) {
      state.lastProgressAt = performance.now();
      // The calls are taken only now: their callers may have given up while the lock was waited for.
      const taken = group.filter((call) => call.state !== 'given_up');
      for (const call of taken) call.state = 'taken';
      for (const [index, outcome] of (await perform(transaction, taken)).entries()) {
        const call = taken[index];
        if (call) answers.push({ call, outcome });
      }
    }
  } catch (error) {
    for (const call of calls) if (call.state === 'taken') call.state = 'waiting';
    if (isConnectionLost(error)) forget(state, current);
    else await current.query('ROLLBACK').catch(() => forget(state, current));
    if (calls.length === 1 || isUnavailable(error)) throw error;
    for (const call of calls) await commit(state, [call]).catch((alone) => fail(call, alone));
    return;
  }
  await store(state, current, id, answers);
  for (const { call, outcome } of answers) {
    if (outcome instanceof Error) fail(call, outcome);
    else call.resolve(outcome.result);
  }
  for (const change of changesOf(answers)) state.onChange(change);
}

/**
 * Commits, with a note of the transaction's id and with the news for the other machines. After an error only the
 * database knows the outcome, so it is asked. A transaction that wrote nothing fails, too, if its commit is lost.
 */
async function store(state: State, on: Client, id: string, answers: readonly Answer[]): Promise<void> {
  const { instance } = state;
  const news = toPayloads(instance, changesOf(answers)).map(
    (payload) => `SELECT pg_notify('iac_runner', ${escapeLiteral(payload)});`,
  );
  const limits = limitUncertain(answers.map(({ call }) => call));
  state.isCommitting = true;
  try {
    const noted = on.query(`${news.join(' ')} ${noteCommit(instance, id)}`);
    const [, { command }] = await Promise.all([noted, on.query('COMMIT')]);
    if (command !== 'COMMIT') throw new Error('it did not make the commit');
  } catch (error) {
    forget(state, on);
    if (!(await wasCommitted(state, id))) throw unavailable('written', error);
  } finally {
    state.isCommitting = false;
    for (const limit of limits) clearTimeout(limit);
  }
}

/** The lock is free once the transaction has ended, and the row then has its id or does not. */
async function wasCommitted(state: State, id: string): Promise<boolean> {
  while (true) {
    if (state.isClosed) throw uncertain();
    let on: Client | null = null;
    try {
      on = await use(state);
      await begin(on);
      const rows = lastRows(
        await on.query(`SELECT 1 FROM last_commits WHERE instance = '${state.instance}' AND id = '${id}'`),
      );
      await on.query('ROLLBACK');
      return rows.length > 0;
    } catch (error) {
      if (on) forget(state, on);
      if (!isUnavailable(error)) throw error;
    }
    await sleep(RETRY_MS);
  }
}

/** Rejects the calls whose callers give up now, and drops a connection on which a transaction hangs. */
function expire(state: State): void {
  const now = performance.now();
  const late = [...state.next, ...state.waiting].filter(({ deadline }) => deadline <= now);
  // Nothing is committed yet, so no write is stored if the connection is dropped.
  const hangs = !state.isCommitting && now - state.lastProgressAt > HANGING_MS;
  if (state.client && hangs && late.some((call) => call.state === 'taken')) forget(state, state.client);
  for (const call of late) {
    if (call.state !== 'waiting') continue;
    call.state = 'given_up';
    call.reject(
      new StoreUnavailableError('The database did not answer in time, and nothing was stored.', {
        nextAction: 'Try again. If that does not help, look into the log of the database.',
      }),
    );
  }
  state.waiting = state.waiting.filter((call) => call.state === 'waiting');
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

/**
 * Notes the id of a transaction that has written something. The number that PostgreSQL gives to a transaction would not
 * do: after a crash it may give the same one to another.
 */
function noteCommit(instance: string, id: string): string {
  return `INSERT INTO last_commits (instance, id, at)
    SELECT '${instance}', '${id}', now() WHERE pg_current_xact_id_if_assigned() IS NOT NULL
    ON CONFLICT (instance) DO UPDATE SET id = excluded.id, at = excluded.at`;
}
