import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RUN_KINDS } from '../../runs/kinds/kinds.ts';
import type { Run, RunKind } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Claim, RunStore } from '../../runs/run-store.ts';
import { deployRequest, planRequest, pushRequest } from '../run-store-contract.ts';
import { listsOfNeeds } from '../sql/writes/claim.ts';
import { createSqliteStore } from './sqlite-store.ts';

let directory: string;
let store: RunStore;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'iac-claimable-'));
  store = await createSqliteStore({ directory });
});
afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true });
});

/** Returns a function that gives numbers from 0 to below 1, the same for the same seed. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const LABELS = [[], ['aws'], ['aws', 'linux']];
const APPROVAL = { subject: 's', expiresAt: Date.now() + 3_600_000, message: '' };

/** Finds the run that has to be claimed next, by looking at all of them. */
async function expectedNext(
  kinds: readonly RunKind[],
  labels: readonly string[] | null,
  approved: ReadonlySet<string>,
): Promise<Run | null> {
  const all = (await store.runs({ limit: 10_000 })).toReversed();
  const held = new Set(
    all
      .filter(({ state, attempt }) => state === 'running' || (state === 'awaiting_approval' && attempt > 0))
      .map(({ concurrencyGroup }) => concurrencyGroup),
  );
  // No run of its group goes before a run that was started and approved, even while the approved one waits for its time.
  const approvedOf = new Map(
    all.flatMap((run) =>
      run.state === 'queued' && approved.has(run.id) ? [[run.concurrencyGroup, run.id] as const] : [],
    ),
  );
  const free = all.filter(
    (run) =>
      run.state === 'queued' &&
      (approvedOf.get(run.concurrencyGroup) ?? run.id) === run.id &&
      run.notBefore <= Date.now() &&
      !held.has(run.concurrencyGroup) &&
      kinds.includes(run.kind) &&
      (labels === null || run.labels.every((label) => labels.includes(label))),
  );
  return free.toSorted((a, b) => b.priority - a.priority)[0] ?? null;
}

function ending(choice: number): RunEventBody {
  if (choice < 0.5)
    return { type: 'run.finished', state: 'succeeded', reason: null, message: '', coveredBy: null };
  if (choice < 0.7) return { type: 'run.requeued', message: '', countAttempt: false, notBefore: 0 };
  // The run is postponed for an hour, or until a moment ago.
  const notBefore = Date.now() + (choice < 0.8 ? 3_600_000 : -1_000);
  if (choice < 0.9) return { type: 'run.requeued', message: '', countAttempt: false, notBefore };
  return { type: 'run.awaiting_approval', subject: 's', expiresAt: Date.now() + 3_600_000, message: '' };
}

describe('The run that is claimed', () => {
  it.each([1, 2, 3, 4, 5])('is the one that looking at all runs finds, in history %i', async (seed) => {
    const next = random(seed);
    const pick = <T>(values: readonly [T, ...T[]] | readonly T[]): T =>
      values[Math.floor(next() * values.length)] as T;
    const claims: Claim[] = [];
    const approved = new Set<string>();
    for (let step = 0; step < 250; step += 1) {
      const choice = next();
      if (choice < 0.45) {
        const number = Math.floor(next() * 6);
        const priority = Math.floor(next() * 3);
        const deploy = { concurrencyGroup: `deploy:${number}`, priority, labels: pick(LABELS) };
        const request = pick([
          deployRequest(deploy),
          pushRequest({ concurrencyGroup: `sync:${number}`, coalesce: false }),
          planRequest({ concurrencyGroup: `plan:${number}` }),
        ]);
        await store.enqueue(next() < 0.8 ? request : { ...request, approval: APPROVAL });
      } else if (choice < 0.8) {
        const kinds = next() < 0.5 ? RUN_KINDS : RUN_KINDS.filter(() => next() < 0.5);
        const labels = pick([null, ...LABELS]);
        const expected = await expectedNext(kinds, labels, approved);
        const claim = await store.claim({
          owner: 'w',
          leaseMs: 60_000,
          kinds,
          labels: labels ?? undefined,
        });
        // A plan supersedes the older ones of its group, and is the newest of them.
        expect([step, claim?.run.concurrencyGroup]).toEqual([step, expected?.concurrencyGroup]);
        if (claim?.run.kind !== 'plan') expect([step, claim?.run.id]).toEqual([step, expected?.id]);
        if (claim) claims.push(claim);
      } else {
        const [claim] = claims.splice(Math.floor(next() * claims.length), 1);
        if (claim) await store.append(claim.lease, [ending(next())]);
        const waiting = pick(await store.runs({ state: 'awaiting_approval', limit: 10 }));
        if (waiting && next() < 0.5) {
          await store.decide(waiting.id, 'approved', 'ada');
          if (waiting.attempt > 0) approved.add(waiting.id);
        }
      }
    }
  });

  it('is found without reading a table or an index to its end, so that it costs the same in a long queue', () => {
    const database = new DatabaseSync(path.join(directory, 'iac-runner.db'));
    try {
      const plan = database.prepare(`EXPLAIN QUERY PLAN ${listsOfNeeds(RUN_KINDS)}`).all(...RUN_KINDS);
      const steps = plan.map(({ detail }) => String(detail));
      expect(steps.filter((step) => /\b(runs|claimable)\b/.test(step)).length).toBeGreaterThan(1);
      expect(steps.filter((step) => /^SCAN (runs|claimable)/.test(step))).toEqual([]);
    } finally {
      database.close();
    }
  });
});

describe('A change', () => {
  it('hints at a run that can be claimed, and at nothing when there is none', async () => {
    const hints: boolean[] = [];
    store.watch((_runId, mayClaim) => hints.push(mayClaim));
    const since = () => hints.splice(0).includes(true);
    await store.enqueue(pushRequest({ coalesce: false }));
    expect(since()).toBe(true);
    // This run can be claimed only after the one before it.
    await store.enqueue(pushRequest({ coalesce: false }));
    expect(since()).toBe(false);
    const claim = await store.claim({ owner: 'w', leaseMs: 60_000 });
    if (!claim) throw new Error('Nothing to claim.');
    expect(since()).toBe(false);
    await store.append(claim.lease, [{ type: 'run.notice', level: 'info', message: '' }]);
    expect(since()).toBe(false);
    await store.append(claim.lease, [ending(0)]);
    expect(since()).toBe(true);
    const second = await store.claim({ owner: 'w', leaseMs: 60_000 });
    if (!second) throw new Error('Nothing to claim.');
    await store.append(second.lease, [ending(0)]);
    // No run waits any more.
    expect(since()).toBe(false);
  });
});
