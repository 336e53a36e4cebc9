/** A run as Redis keeps it, and the writes that keep its lists and counters true to it. */

import { toolName } from '../../runs/deployment.ts';
import { isFinal, type Run } from '../../runs/run.ts';
import type { Connection, Reply } from './connection.ts';
import { type Draft, expectSame } from './draft.ts';
import { type Keys, NEW_RUN, padded } from './keys.ts';

export interface StoredRun {
  run: Run;
  number: number;
  /** The next sequence number: it grows with every change, so it is the run's version, too. */
  seq: number;
  /** Of the lease, while there is one. */
  token: string | null;
  owner: string | null;
  expires: string | null;
  /** How long the others leave the run to its home once it is approved; null when it has none. */
  homeMs: number | null;
}

/** A run with its number, which is given out with the commit of a new one. */
type Placed = Pick<StoredRun, 'run' | 'seq'> & { number: number | typeof NEW_RUN };

const FIELDS = ['data', 'number', 'seq', 'token', 'owner', 'expires', 'homeMs'] as const;

/** The seconds that durations of ended runs are counted by; as in the SQLite store. */
export const DURATION_BOUNDS = [5, 15, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200, 86400];

/** In the order of `ids`; null for one that is not there. */
export async function readStoredRuns(
  connection: Connection,
  keys: Keys,
  ids: readonly string[],
): Promise<(StoredRun | null)[]> {
  const replies = await connection.all(ids.map((id) => runCommand(keys, id)));
  return replies.map(toStoredRun);
}

export async function readStoredRun(connection: Connection, keys: Keys, id: string) {
  const [stored = null] = await readStoredRuns(connection, keys, [id]);
  return stored;
}

/** The runs that are there, in the order of `ids`. */
export async function readRuns(connection: Connection, keys: Keys, ids: readonly string[]): Promise<Run[]> {
  const stored = await readStoredRuns(connection, keys, ids);
  return stored.flatMap((one) => (one ? [one.run] : []));
}

export function runCommand(keys: Keys, id: string): string[] {
  return ['HMGET', keys.run(id), ...FIELDS];
}

export function toStoredRun(reply: Reply): StoredRun | null {
  const [data, number, seq, token, owner, expires, homeMs] = texts(reply);
  if (typeof data !== 'string') return null;
  return {
    // Those of an earlier version were never counted.
    run: { handBacks: 0, ...JSON.parse(data) },
    number: Number(number),
    seq: Number(seq),
    token: token ?? null,
    owner: owner ?? null,
    expires: expires ?? null,
    homeMs: homeMs === null || homeMs === undefined ? null : Number(homeMs),
  };
}

/** The members of an answer that is a list of texts. */
export function texts(reply: Reply | undefined): (string | null)[] {
  return Array.isArray(reply) ? reply.map((item) => (item === null ? null : String(item))) : [];
}

/** The member of a run in the queue of its group. */
export function queueMember({ run, number }: Placed): string {
  return `${typeof number === 'number' ? padded(number) : number}:${run.coalesce ? 'c' : 'n'}:${run.id}`;
}

/** Reads what `queueMember` wrote. */
export function fromQueueMember(member: string): { id: string; coalesce: boolean; number: number } {
  const [number = '', mark = '', ...id] = member.split(':');
  return { id: id.join(':'), coalesce: mark === 'c', number: Number(number) };
}

/** Adds a new run, with its first event, to the draft: its place in every list. */
export function draftInsert(draft: Draft, keys: Keys, run: Run): void {
  const number = NEW_RUN;
  expectSame(draft, ['EXISTS', keys.run(run.id)], 0);
  const score = number;
  draft.writes.push(
    [...['HSET', keys.run(run.id), 'number', number, 'kind', run.kind], 'labels', JSON.stringify(run.labels)],
    ...(run.kind === 'deploy' ? [['HSET', keys.run(run.id), 'tool', toolName(run.input)]] : []),
    ['ZADD', keys.runs, score, run.id],
    ['ZADD', keys.runsBy('kind', run.kind), score, run.id],
    ['ZADD', keys.runsBy('group', run.concurrencyGroup), score, run.id],
  );
  if (run.dedupeKey !== null) draft.writes.push(['HSET', keys.dedupe, run.dedupeKey, run.id]);
  draftPlaces(draft, keys, null, { run, number, seq: 2 });
}

/** Adds a changed run to the draft; fails the commit when somebody else changed it meanwhile. */
export function draftUpdate(draft: Draft, keys: Keys, before: StoredRun, after: StoredRun): void {
  expectSame(draft, ['HGET', keys.run(before.run.id), 'seq'], before.seq);
  draftPlaces(draft, keys, before, after);
}

function draftPlaces(draft: Draft, keys: Keys, before: StoredRun | null, after: Placed): void {
  const { run, seq } = after;
  const { writes } = draft;
  const key = keys.run(run.id);
  writes.push(['HSET', key, 'data', JSON.stringify(run), 'seq', seq, 'notBefore', run.notBefore]);
  const was = before?.run ?? null;
  if (was?.state !== run.state) {
    if (was) writes.push(['ZREM', keys.runsBy('state', was.state), run.id]);
    writes.push(['ZADD', keys.runsBy('state', run.state), after.number, run.id]);
    if (was && !isFinal(was.state))
      writes.push(['ZREM', keys.runsBy('open', `${run.kind}:${was.state}`), run.id]);
    if (!isFinal(run.state))
      writes.push(['ZADD', keys.runsBy('open', `${run.kind}:${run.state}`), after.number, run.id]);
  }
  if (before) draftHome(writes, key, before, run);
  placeInQueue(writes, keys, was, after);
  placeInGroup(draft, keys, was, run);
  if (was?.state === 'running' && run.state !== 'running') {
    writes.push(['HDEL', key, 'token', 'owner', 'expires'], ['ZREM', keys.leases, run.id]);
  }
  if (run.coveredBy !== null && was?.coveredBy !== run.coveredBy) {
    writes.push(['SADD', keys.covered(run.coveredBy), run.id]);
  }
  if (run.finishedAt !== null && !was?.finishedAt) draftEnding(draft, keys, run, run.finishedAt);
}

/** A plan that lies only on the disk of one machine: the others leave an approved run to it for so long. */
const ONLY_HOME_MS = 600_000;
/** What any machine can lay out again is still there at home already: less work, if that one comes soon. */
const NEAREST_HOME_MS = 15_000;

/** A worker's name without its process id. */
export function machineOf(owner: string): string {
  return owner.replace(/:\d+$/, '');
}

function draftHome(writes: Draft['writes'], key: string, before: StoredRun, run: Run): void {
  const was = before.run.state;
  if (was === 'running' && run.state === 'awaiting_approval') {
    writes.push(['HSET', key, 'home', machineOf(before.owner ?? ''), 'homeMs', ONLY_HOME_MS]);
  } else if (was !== 'queued' && run.state === 'queued') {
    writes.push(['HSET', key, 'homeUntil', Date.now() + (before.homeMs ?? ONLY_HOME_MS)]);
  }
}

/** For a run that pauses: all that it needs to go on is in the store. */
export function draftNearHome({ writes }: Draft, keys: Keys, runId: string): void {
  writes.push(['HSET', keys.run(runId), 'homeMs', NEAREST_HOME_MS]);
}

function placeInQueue(writes: Draft['writes'], keys: Keys, was: Run | null, after: Placed): void {
  const { run } = after;
  const queue = keys.queue(run.concurrencyGroup);
  if (run.state === 'queued') {
    writes.push(
      ['ZADD', queue, -run.priority, queueMember(after)],
      ['SADD', keys.groups, run.concurrencyGroup],
    );
    if (was?.state !== 'queued') writes.push(['ZADD', keys.waiting, run.createdAt, run.id]);
  } else if (was?.state === 'queued') {
    writes.push(['ZREM', queue, queueMember(after)], ['ZREM', keys.waiting, run.id]);
  }
}

/** Whoever takes a group finds it free at that very moment. */
function placeInGroup(draft: Draft, keys: Keys, was: Run | null, run: Run): void {
  const held = was !== null && holds(was);
  if (held === holds(run)) return;
  if (held) {
    draft.writes.push(['HDEL', keys.held, run.concurrencyGroup]);
  } else {
    expectSame(draft, ['HGET', keys.held, run.concurrencyGroup], null);
    draft.writes.push(['HSET', keys.held, run.concurrencyGroup, run.id]);
  }
}

export function holds({ state }: Run): boolean {
  return state === 'running' || state === 'awaiting_approval';
}

function draftEnding({ writes }: Draft, keys: Keys, run: Run, finishedAt: number): void {
  const durationMs = Math.max(0, finishedAt - (run.startedAt ?? run.createdAt));
  const bound = DURATION_BOUNDS.find((seconds) => durationMs <= seconds * 1_000) ?? 0;
  const field = `${run.kind}:${run.state}:${bound}`;
  writes.push(
    ['ZADD', keys.ended, finishedAt, run.id],
    ['HINCRBY', keys.endings, `${field}:runs`, 1],
    ['HINCRBY', keys.endings, `${field}:ms`, durationMs],
  );
}
