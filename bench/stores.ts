/** Measures the file and PostgreSQL through the port of the store, on one machine. */

import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'pg';
import type { RunRequest } from '../src/runs/run.ts';
import type { RunEventBody } from '../src/runs/run-events.ts';
import type { RunStore } from '../src/runs/run-store.ts';
import { type PostgresServer, startPostgres } from '../src/stores/postgres/postgres-server.fixture.ts';
import { createPostgresStore } from '../src/stores/postgres/postgres-store.ts';
import { createSqliteStore } from '../src/stores/sqlite/sqlite-store.ts';
import type { Bench, Row } from './bench.ts';
import { withFolder } from './support/built-runner.ts';
import { median, perSecond, spread, times } from './support/statistics.ts';

const ROUNDS = 5;
const RUNS = 500;
const AT_ONCE = 32;
const LINES = 1_000;
const LINES_PER_APPEND = 100;
const PAGE = 50;
const PAGES = 200;
const LEASE_MS = 60_000;
/** The aim for accepted runs, as a part of the speed of bare INSERTs. */
const LEAST_RATIO = 0.7;

/** The results of one store, with a number for each round. */
type Figures = Record<'accepted' | 'finished' | 'linesMs' | 'pageMs', number[]>;

export const stores: Bench = {
  name: 'The stores',
  method: `The bench uses the port that the server and the worker use, with a new store in each of ${ROUNDS} rounds. ${RUNS} runs are accepted, ${AT_ONCE} at once, and each is answered after its commit. They are then claimed and finished one after the other, with two commits each. ${LINES.toLocaleString('en-US')} log lines of 60 bytes go to one run in portions of ${LINES_PER_APPEND}. ${PAGES} pages of the ${PAGE} newest runs are read. The file is SQLite with \`synchronous=FULL\`. PostgreSQL runs on the same disk and the same ${availableParallelism()} cores, and its commits wait for the disk, too. The peer of the last row stores the same requests in one table by the same client (\`pg\` with a pool of ${AT_ONCE}, whose connections are open before). Each of its requests is one \`INSERT\` with its own commit.`,
  run: () =>
    withFolder('stores', async (folder) => {
      const server = await startPostgres();
      const [file, postgres, inserted]: [Figures, Figures, number[]] = [newFigures(), newFigures(), []];
      try {
        for (let round = 0; round < ROUNDS; round += 1) {
          await measure(await createSqliteStore({ directory: join(folder, `${round}`) }), file);
          await measure(await createPostgresStore({ url: await server.createDatabase() }), postgres);
          inserted.push(await insertBarely(server));
        }
      } finally {
        await server.remove();
      }
      return [...compare(file, postgres), againstInserts(postgres.accepted, inserted)];
    }),
};

function compare(file: Figures, postgres: Figures): Row[] {
  const row = (measured: string, name: keyof Figures, show: (value: number) => string): Row => {
    const [ours, theirs] = [median(file[name]), median(postgres[name])];
    return {
      measured,
      ours: `SQLite: ${spread(file[name], show)}`,
      bound: `PostgreSQL: ${spread(postgres[name], show)}`,
      // A value above one means that the file does more.
      ratio: times(name.endsWith('Ms') ? theirs / ours : ours / theirs),
    };
  };
  return [
    row(`Runs accepted, ${AT_ONCE} at once`, 'accepted', perSecond),
    row('Runs claimed and finished, one at a time', 'finished', perSecond),
    row(`${LINES.toLocaleString('en-US')} log lines`, 'linesMs', milliseconds),
    row(`A page of ${PAGE} runs`, 'pageMs', milliseconds),
  ];
}

function againstInserts(accepted: number[], inserted: number[]): Row {
  const ratios = accepted.map((ours, round) => ours / (inserted[round] ?? 0));
  return {
    measured: `Runs accepted by PostgreSQL, ${AT_ONCE} at once`,
    ours: spread(accepted, perSecond),
    bound: `one INSERT per commit: ${spread(inserted, perSecond)}`,
    ratio: spread(ratios, times),
    aim: `≥ ${times(LEAST_RATIO)}`,
    met: median(ratios) >= LEAST_RATIO,
  };
}

/** Stores the same requests as bare rows. Resolves to the number per second. */
export async function insertBarely(server: PostgresServer): Promise<number> {
  const pool = new Pool({ connectionString: await server.createDatabase(), max: AT_ONCE });
  try {
    await pool.query('CREATE TABLE accepted (id TEXT PRIMARY KEY, request TEXT NOT NULL)');
    const opened = await Promise.all(Array.from({ length: AT_ONCE }, () => pool.connect()));
    for (const client of opened) client.release();
    const insert = async (number: number) => {
      const values = [randomUUID(), JSON.stringify(deployment(number))];
      await pool.query({ name: 'insert', text: 'INSERT INTO accepted VALUES ($1, $2)', values });
    };
    return (RUNS / (await timed(() => allAtOnce(insert)))) * 1_000;
  } finally {
    await pool.end();
  }
}

const newFigures = (): Figures => ({ accepted: [], finished: [], linesMs: [], pageMs: [] });

async function measure(store: RunStore, figures: Figures): Promise<void> {
  try {
    figures.accepted.push(await acceptedPerSecond(store));
    figures.pageMs.push((await timed(() => readPages(store))) / PAGES);
    figures.linesMs.push(await appendLines(store));
    // One row is done already.
    figures.finished.push(((RUNS - 1) / (await timed(() => finishAll(store)))) * 1_000);
  } finally {
    await store.close();
  }
}

export async function acceptedPerSecond(store: RunStore): Promise<number> {
  return (RUNS / (await timed(() => allAtOnce((number) => store.enqueue(deployment(number)))))) * 1_000;
}

export async function timed(action: () => Promise<void>): Promise<number> {
  const from = performance.now();
  await action();
  return performance.now() - from;
}

/** Calls `store` for each number below `count`, with 32 calls at once. */
export async function allAtOnce(store: (number: number) => Promise<unknown>, count = RUNS): Promise<void> {
  let next = 0;
  const caller = async () => {
    while (next < count) {
      const number = next;
      next += 1;
      await store(number);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, caller));
}

async function readPages(store: RunStore): Promise<void> {
  for (let page = 0; page < PAGES; page += 1) {
    const { length } = await store.runs({ limit: PAGE });
    if (length !== PAGE) throw new Error(`A page had ${length} runs.`);
  }
}

export async function claim(store: RunStore) {
  const claimed = await store.claim({ owner: 'bench:1', leaseMs: LEASE_MS });
  if (claimed === null) throw new Error('Nothing was there to be claimed.');
  return claimed;
}

async function appendLines(store: RunStore): Promise<number> {
  const { lease } = await claim(store);
  const lines = Array.from({ length: LINES_PER_APPEND }, (_, index) => `${index}`.padEnd(60, '.'));
  const took = await timed(async () => {
    for (let written = 0; written < LINES; written += LINES_PER_APPEND) {
      await store.append(lease, [{ type: 'step.log', step: 'apply', stream: 'stdout', lines }]);
    }
  });
  await store.append(lease, [FINISHED]);
  return took;
}

async function finishAll(store: RunStore): Promise<void> {
  for (let done = 1; done < RUNS; done += 1) await store.append((await claim(store)).lease, [FINISHED]);
}

export const FINISHED: RunEventBody = {
  type: 'run.finished',
  state: 'succeeded',
  reason: null,
  message: 'done',
  coveredBy: null,
};

/** Each run has a group of its own, so that none waits for another. */
export function deployment(number: number): RunRequest {
  return {
    kind: 'deploy',
    trigger: { source: 'deploy_api', actor: 'bench', deliveryId: null, retryOf: null },
    input: {
      operation: 'apply',
      tool: 'terraform',
      toolVersion: null,
      path: `service-${number}`,
      gitUrl: 'https://git.example.com/infra.git',
      gitRef: 'main',
      tfvarsFiles: [],
      timeoutMs: 60_000,
      autoApprove: true,
      callbackUrl: null,
    },
    concurrencyGroup: `deploy:${number}`,
    coalesce: false,
    dedupeKey: null,
  };
}

function milliseconds(value: number): string {
  return `${value.toFixed(1)} ms`;
}
