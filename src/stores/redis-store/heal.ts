/** Puts right what lists say of runs after keys were deleted by hand or by eviction, so that nothing waits for ever. */

import { createDraft, expectSame } from './draft.ts';
import type { Room } from './room.ts';
import { holds, queueMember, readStoredRuns, type StoredRun, texts } from './stored-run.ts';

/** Looks at a few counts, and at all of what is open only when they do not agree. */
export async function heal(room: Room): Promise<void> {
  const { connection, keys } = room;
  const groups = texts(await connection.call('SMEMBERS', keys.groups)).map(String);
  const [running, awaiting, queued, held, leases, waiting, ...queues] = (
    await connection.all([
      ['ZCARD', keys.runsBy('state', 'running')],
      ['ZCARD', keys.runsBy('state', 'awaiting_approval')],
      ['ZCARD', keys.runsBy('state', 'queued')],
      ['HLEN', keys.held],
      ['ZCARD', keys.leases],
      ['ZCARD', keys.waiting],
      ...groups.map((group) => ['ZCARD', keys.queue(group)]),
    ])
  ).map(Number);
  const inQueues = queues.reduce((sum, length) => sum + length, 0);
  const agree =
    running === leases &&
    (running ?? 0) + (awaiting ?? 0) === held &&
    queued === inQueues &&
    queued === waiting;
  await freeGroups(room);
  if (!agree) await restoreLists(room);
}

/** A group whose run is gone, or holds it no more, is free. */
async function freeGroups({ connection, keys, committer }: Room): Promise<void> {
  const held = texts(await connection.call('HGETALL', keys.held)).map(String);
  const pairs = held.flatMap((group, index) => (index % 2 === 0 ? [[group, held[index + 1] ?? '']] : []));
  const stored = await readStoredRuns(
    connection,
    keys,
    pairs.map(([, id]) => id ?? ''),
  );
  for (const [index, [group = '', id = '']] of pairs.entries()) {
    const run = stored[index]?.run;
    if (run && holds(run) && run.concurrencyGroup === group) continue;
    const draft = createDraft();
    expectSame(draft, ['HGET', keys.held, group], id);
    // Also while somebody creates it, or brings it back.
    expectSame(draft, ['HGET', keys.run(id), 'seq'], stored[index] ? String(stored[index].seq) : null);
    draft.writes.push(['HDEL', keys.held, group], ['ZREM', keys.leases, id]);
    if (!stored[index]) {
      for (const state of ['running', 'awaiting_approval']) {
        draft.writes.push(['ZREM', keys.runsBy('state', state), id]);
      }
    }
    await committer.commit(draft);
  }
}

async function restoreLists(room: Room): Promise<void> {
  const { connection, keys } = room;
  for (const state of ['queued', 'running', 'awaiting_approval']) {
    const list = keys.runsBy('state', state);
    const ids = texts(await connection.call('ZRANGE', list, 0, -1)).map(String);
    const stored = await readStoredRuns(connection, keys, ids);
    for (const [index, id] of ids.entries()) {
      const run = stored[index];
      if (run) await restorePlaces(room, run);
      else await connection.all([list, keys.runs, keys.waiting, keys.leases].map((key) => ['ZREM', key, id]));
    }
  }
}

/** What `draftUpdate` would have left; nothing when the run has changed meanwhile. */
async function restorePlaces({ keys, committer }: Room, stored: StoredRun): Promise<void> {
  const { run, number, seq } = stored;
  const draft = createDraft();
  expectSame(draft, ['HGET', keys.run(run.id), 'seq'], String(seq));
  if (run.state === 'queued') {
    draft.writes.push(
      ['ZADD', keys.queue(run.concurrencyGroup), -run.priority, queueMember(stored)],
      ['SADD', keys.groups, run.concurrencyGroup],
      ['ZADD', keys.waiting, run.createdAt, run.id],
    );
  } else if (holds(run)) {
    draft.writes.push(['HSETNX', keys.held, run.concurrencyGroup, run.id]);
    if (run.state === 'running') draft.writes.push(['ZADD', keys.leases, stored.expires ?? 0, run.id]);
  }
  draft.writes.push(['ZADD', keys.runs, number, run.id]);
  await committer.commit(draft);
}
