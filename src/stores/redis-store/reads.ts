/** Reads of runs, their steps and their events. */

import { isFinal, RUN_KINDS, RUN_STATES, type Run, type Step } from '../../runs/run.ts';
import { type RunEvent, sequenceWidth } from '../../runs/run-events.ts';
import type { RunFilter, RunTally } from '../../runs/run-store.ts';
import type { Reply } from './connection.ts';
import { padded } from './keys.ts';
import type { Room } from './room.ts';
import { DURATION_BOUNDS, fromQueueMember, readRuns, readStoredRun, texts } from './stored-run.ts';

/** A page of events ends after about this much text, so that no reader holds a whole log. */
const PAGE_BYTES = 1024 * 1024;
/** Entries asked for at once: one of a log holds up to 64 KiB. */
const ENTRIES = 32;
const RUNS_AT_ONCE = 200;
/** Of a kept plan at once: within the time of a request also on a slow line. */
const PLAN_PART_BYTES = 512 * 1024;
const OPEN_STATES = ['awaiting_approval', 'queued', 'running'] as const;

export async function readRun({ connection, keys }: Room, id: string): Promise<Run | null> {
  return (await readStoredRun(connection, keys, id))?.run ?? null;
}

/** Part by part, with room for signs of life between them: up to 60 MB of ASCII. */
export async function readKeptPlan({ connection, keys }: Room, runId: string): Promise<string | null> {
  const key = keys.keptPlan(runId);
  const size = Number(await connection.call('STRLEN', key));
  const parts: Reply[] = [];
  for (let from = 0; from < size; from += PLAN_PART_BYTES) {
    parts.push(await connection.call('GETRANGE', key, from, from + PLAN_PART_BYTES - 1));
  }
  return size === 0 ? null : parts.join('');
}

/** Newest first. */
export async function readFilteredRuns({ connection, keys }: Room, filter: RunFilter): Promise<Run[]> {
  const { state, kind, concurrencyGroup, limit } = filter;
  const list = listOf(keys, filter);
  const before = filter.before === undefined ? null : await readStoredRun(connection, keys, filter.before);
  if (filter.before !== undefined && before === null) return [];
  const from = before === null ? '+inf' : `(${before.number}`;
  const found: Run[] = [];
  // Its other conditions are looked at run by run.
  for (let offset = 0; found.length < limit; offset += RUNS_AT_ONCE) {
    const count = Math.min(RUNS_AT_ONCE, Math.max(limit, 50));
    const ids = texts(
      await connection.call('ZREVRANGEBYSCORE', list, from, '-inf', 'LIMIT', offset, count),
    ).map(String);
    for (const run of await readRuns(connection, keys, ids)) {
      const fits =
        (state ?? run.state) === run.state &&
        (kind ?? run.kind) === run.kind &&
        (concurrencyGroup ?? run.concurrencyGroup) === run.concurrencyGroup;
      if (fits && found.length < limit) found.push(run);
    }
    if (ids.length < count) break;
    offset += count - RUNS_AT_ONCE;
  }
  return found;
}

/** The shortest list that holds all of them, as far as can be told. */
function listOf(keys: Room['keys'], { state, kind, concurrencyGroup }: RunFilter): string {
  if (state !== undefined && !isFinal(state)) return keys.runsBy('state', state);
  if (concurrencyGroup !== undefined) return keys.runsBy('group', concurrencyGroup);
  if (state !== undefined) return keys.runsBy('state', state);
  return kind === undefined ? keys.runs : keys.runsBy('kind', kind);
}

export async function readActive({ connection, keys }: Room, group: string): Promise<Run[]> {
  const [queued, held] = await connection.all([
    ['ZRANGE', keys.queue(group), 0, -1],
    ['HGET', keys.held, group],
  ]);
  const ids = texts(queued).map((member) => fromQueueMember(member ?? '').id);
  return readRuns(connection, keys, typeof held === 'string' ? [...ids, held] : ids);
}

export async function readSteps({ connection, keys }: Room, runId: string): Promise<Step[]> {
  const steps = texts(await connection.call('HVALS', keys.steps(runId)));
  return steps
    .map((text): Step => JSON.parse(text ?? ''))
    .toSorted((left, right) => left.position - right.position || (left.id < right.id ? -1 : 1));
}

export async function readEvents(
  { connection, keys }: Room,
  runId: string,
  { after, limit }: { after: number; limit: number },
): Promise<RunEvent[]> {
  const key = keys.events(runId);
  const events: RunEvent[] = [];
  // The chunk that holds line `after` may hold later lines too, so the page begins at that chunk.
  const [first] = toEntries(await connection.call('XREVRANGE', key, `${after}-0`, '-', 'COUNT', 1));
  let from = first ? `${first.seq}-0` : '-';
  let bytes = 0;
  for (;;) {
    const entries = toEntries(await connection.call('XRANGE', key, from, '+', 'COUNT', ENTRIES));
    for (const { seq, at, type, data } of entries) {
      const event: RunEvent = { ...JSON.parse(data), type, runId, seq, at };
      from = `(${seq}-0`;
      if (seq + sequenceWidth(event) - 1 <= after) continue;
      events.push(event);
      bytes += data.length;
      if (events.length >= limit || bytes >= PAGE_BYTES) return events;
    }
    if (entries.length < ENTRIES) return events;
  }
}

interface Entry {
  seq: number;
  at: number;
  type: string;
  data: string;
}

/** Of an answer to XRANGE: [[id, [field, value, …]], …]. */
function toEntries(reply: Reply): Entry[] {
  if (!Array.isArray(reply)) return [];
  return reply.flatMap((entry) => {
    const [id, fields] = Array.isArray(entry) ? entry : [];
    const [, type, , at, , data] = texts(fields);
    if (typeof id !== 'string' || !type || !data) return [];
    return [{ seq: Number(id.split('-')[0]), at: Number(at), type, data }];
  });
}

export async function readLatestEvent(room: Room, runId: string, type: RunEvent['type']) {
  const [latest = null] = await readEventsOf(room, runId, type, 'latest');
  return latest;
}

/** Oldest first. */
export async function readEventsOf(
  { connection, keys }: Room,
  runId: string,
  type: RunEvent['type'],
  which: 'all' | 'latest' = 'all',
): Promise<RunEvent[]> {
  const [first, last] = [`[${type}:`, `[${type}:${padded(Number.MAX_SAFE_INTEGER)}`];
  const members =
    which === 'all'
      ? await connection.call('ZRANGEBYLEX', keys.index(runId), first, last)
      : await connection.call('ZREVRANGEBYLEX', keys.index(runId), last, first, 'LIMIT', 0, 1);
  const ids = texts(members).map((member) => `${Number(member?.slice(type.length + 1))}-0`);
  const replies = await connection.all(ids.map((id) => ['XRANGE', keys.events(runId), id, id]));
  return replies
    .flatMap(toEntries)
    .map((entry): RunEvent => ({ ...JSON.parse(entry.data), type, runId, seq: entry.seq, at: entry.at }));
}

/** The processes of steps that run, as far as is known. */
export async function readProcesses(room: Room, runId: string) {
  const [events, steps] = await Promise.all([
    readEventsOf(room, runId, 'step.process'),
    readSteps(room, runId),
  ]);
  const running = new Set(steps.filter(({ state }) => state === 'running').map(({ id }) => id));
  return events.flatMap((event) => {
    if (event.type !== 'step.process' || !running.has(event.step)) return [];
    const { step, pid, startTicks } = event;
    return [{ step, pid, startTicks }];
  });
}

export async function readTally({ connection, keys }: Room): Promise<RunTally> {
  const open = RUN_KINDS.flatMap((kind) => OPEN_STATES.map((state) => ({ kind, state })));
  const [endings = null, ...counts] = await connection.all([
    ['HGETALL', keys.endings],
    ...open.map(({ kind, state }) => ['ZCARD', keys.runsBy('open', `${kind}:${state}`)]),
  ]);
  const ended = toNumbers(endings);
  const states = [...RUN_STATES].sort();
  return {
    open: open
      .map((place, index) => ({ ...place, runs: Number(counts[index]) }))
      .filter(({ runs }) => runs > 0),
    ended: [...RUN_KINDS].sort().flatMap((kind) =>
      states.flatMap((state) =>
        [0, ...DURATION_BOUNDS].flatMap((bound) => {
          const runs = ended.get(`${kind}:${state}:${bound}:runs`) ?? 0;
          const durationMs = ended.get(`${kind}:${state}:${bound}:ms`) ?? 0;
          if (runs === 0 || !isFinal(state)) return [];
          return [{ kind, state, upToSeconds: bound === 0 ? null : bound, runs, durationMs }];
        }),
      ),
    ),
    boundsSeconds: DURATION_BOUNDS,
  };
}

function toNumbers(reply: Reply): Map<string, number> {
  const words = texts(reply);
  return new Map(
    words.flatMap((word, index) => (index % 2 === 0 ? [[word ?? '', Number(words[index + 1])]] : [])),
  );
}
