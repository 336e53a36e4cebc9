/** What others than its worker decide about a run: cancelled, approved, taken back. */

import { randomUUID } from 'node:crypto';
import { isFinal, type Run, type Step } from '../../runs/run.ts';
import { cancelRequested, decisionEvents, takenBack } from '../../runs/run-decisions.ts';
import type { ApprovalDecision, RunEventBody } from '../../runs/run-events.ts';
import { draftEvents, readBackground } from './append-events.ts';
import { createDraft, type Draft, expectSame } from './draft.ts';
import { heal } from './heal.ts';
import { readLatestEvent } from './reads.ts';
import { type Room, untilCommitted } from './room.ts';
import { EXPIRED } from './scripts.ts';
import { readStoredRun, readStoredRuns, type StoredRun, texts } from './stored-run.ts';

export interface TakeBackOptions {
  all: boolean;
  owner?: string | undefined;
  runs?: readonly string[] | undefined;
  maxAttempts: number;
}

/** As in RunStore. */
export async function takeBack(room: Room, options: TakeBackOptions): Promise<string[]> {
  const { connection, keys } = room;
  await heal(room);
  const expired = new Set(texts(await connection.evaluate(EXPIRED, [keys.leases])));
  const running = texts(await connection.call('ZRANGE', keys.runsBy('state', 'running'), 0, -1)).map(String);
  const held = await readStoredRuns(connection, keys, running);
  const orphans = held.filter((stored) => stored !== null && isOrphan(stored, expired, options));
  const taken: string[] = [];
  for (const orphan of orphans) {
    if (orphan && (await takeOneBack(room, orphan, options.maxAttempts))) taken.push(orphan.run.id);
  }
  return taken;
}

function isOrphan(
  stored: StoredRun,
  expired: Set<string | null>,
  { all, owner, runs }: TakeBackOptions,
): boolean {
  if (runs && !runs.includes(stored.run.id)) return false;
  // One without a lease has lost it with a part of the data: nobody can renew it.
  if (all || stored.token === null || expired.has(stored.run.id)) return true;
  return owner !== undefined && (stored.owner === owner || stored.owner?.startsWith(`${owner}:`) === true);
}

/** False when its worker gave a sign of life in between, or it ended. */
async function takeOneBack(room: Room, orphan: StoredRun, maxAttempts: number): Promise<boolean> {
  const { keys, committer } = room;
  const { run, expires } = orphan;
  const draft = createDraft();
  expectSame(draft, ['HGET', keys.run(run.id), 'expires'], expires);
  await draftDecision(room, draft, orphan, takenBack(run, await openSteps(room, run), maxAttempts));
  return (await committer.commit(draft)) !== false;
}

/** As in RunStore. */
export function requestCancel(room: Room, runId: string, by: string): Promise<Run | null> {
  const { connection, keys, committer } = room;
  return untilCommitted(async () => {
    const stored = await readStoredRun(connection, keys, runId);
    if (!stored || isFinal(stored.run.state)) return { done: stored?.run ?? null };
    const draft = createDraft({ isRequest: true });
    const events = cancelRequested(stored.run, await openSteps(room, stored.run), by);
    if (events.length === 0) return { done: stored.run };
    const run = await draftDecision(room, draft, stored, events);
    return (await committer.commit(draft)) && { done: run };
  });
}

/** As in RunStore. */
export function decide(
  room: Room,
  runId: string,
  decision: ApprovalDecision,
  by: string,
): Promise<{ run: Run; decided: boolean } | null> {
  const { connection, keys, committer } = room;
  return untilCommitted<{ run: Run; decided: boolean } | null>(async () => {
    const stored = await readStoredRun(connection, keys, runId);
    if (!stored) return { done: null };
    const awaited = await readLatestEvent(room, runId, 'run.awaiting_approval');
    if (stored.run.state !== 'awaiting_approval' || awaited?.type !== 'run.awaiting_approval') {
      return { done: { run: stored.run, decided: false } };
    }
    const draft = createDraft({ isRequest: true });
    const open = await openSteps(room, stored.run);
    const run = await draftDecision(
      room,
      draft,
      stored,
      decisionEvents(awaited.subject, open, { decision, by }),
    );
    return (await committer.commit(draft)) && { done: { run, decided: true } };
  });
}

async function draftDecision(
  { connection, keys }: Room,
  draft: Draft,
  stored: StoredRun,
  events: RunEventBody[],
): Promise<Run> {
  const background = await readBackground(connection, keys, stored.run, events);
  const operation = randomUUID();
  return draftEvents(draft, keys, stored, events, background, { at: Date.now(), operation }).run;
}

export async function openSteps({ connection, keys }: Room, { id }: Run): Promise<string[]> {
  const steps = texts(await connection.call('HVALS', keys.steps(id))).map(
    (text): Step => JSON.parse(text ?? ''),
  );
  return steps.filter(({ state }) => state === 'pending' || state === 'running').map((step) => step.id);
}
