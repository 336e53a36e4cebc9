/**
 * Tests what every store must do with runs that await an approval before their first start. The test file of each store
 * calls this suite with a way to open a store.
 */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QueueFullError } from '../errors.ts';
import { type ApprovalRequest, MAX_UNAPPROVED, type Run, type SyncRun } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import { pushRequest } from './run-store-contract.ts';

const SUCCEEDED: RunEventBody = {
  type: 'run.finished',
  state: 'succeeded',
  reason: null,
  message: 'done',
  coveredBy: null,
};
const APPROVAL: ApprovalRequest = {
  subject: 'd'.repeat(64),
  expiresAt: Date.now() + 3_600_000,
  message: 'Waiting for somebody to approve it',
};

/** A promotion that needs an approval. */
function promotion(overrides: Partial<SyncRun> = {}) {
  return { ...pushRequest(overrides), approval: APPROVAL };
}

export function describeApprovals(name: string, open: () => Promise<RunStore>): void {
  describe(`${name} with a run that awaits an approval before its first start`, () => {
    let store: RunStore;
    beforeEach(async () => {
      store = await open();
    });
    afterEach(() => store.close());

    const next = () => store.claim({ owner: 'worker:1', leaseMs: 60_000 });
    const stateOf = async (run: Run) => (await store.run(run.id))?.state;

    async function claimed(): Promise<Claim> {
      const claim = await next();
      if (!claim) throw new Error('Nothing to claim.');
      return claim;
    }

    async function queuedRuns(): Promise<number> {
      const { open: counted } = await store.tally();
      return counted.find(({ state }) => state === 'queued')?.runs ?? 0;
    }

    it('stores what it awaits, and gives it to no worker', async () => {
      const hints: boolean[] = [];
      store.watch((_runId, mayClaim) => hints.push(mayClaim));
      const { run, created } = await store.enqueue(promotion());
      expect(created).toBe(true);
      expect(run).toMatchObject({
        state: 'awaiting_approval',
        message: APPROVAL.message,
        approvalExpiresAt: APPROVAL.expiresAt,
        attempt: 0,
        startedAt: null,
      });
      expect(await store.run(run.id)).toEqual(run);
      const events = await store.events(run.id, { after: 0, limit: 10 });
      expect(events).toMatchObject([
        { seq: 1, type: 'run.queued' },
        { seq: 2, type: 'run.awaiting_approval', ...APPROVAL },
      ]);
      expect(hints).toEqual([false]);
      expect(await next()).toBeNull();
      expect(await queuedRuns()).toBe(0);
      expect((await store.unreported('commit-status', 10)).map(({ id }) => id)).toEqual([run.id]);
    });

    it('lets other runs of its group start and end beside it', async () => {
      const { run } = await store.enqueue(promotion({ coalesce: false }));
      const rollback = await store.enqueue(pushRequest({ coalesce: false }));
      const { run: working, lease } = await claimed();
      expect(working.id).toBe(rollback.run.id);
      await store.append(lease, [SUCCEEDED]);
      await store.enqueue(pushRequest());
      expect((await claimed()).covers).toEqual([]);
      expect(await stateOf(run)).toBe('awaiting_approval');
    });

    it('queues it once it is approved: it waits for the run that works, and for its turn', async () => {
      const { run } = await store.enqueue(promotion({ coalesce: false }));
      await store.enqueue(pushRequest({ coalesce: false }));
      const { lease } = await claimed();
      const urgent = await store.enqueue(pushRequest({ coalesce: false, priority: 1 }));
      const decision = await store.decide(run.id, 'approved', 'ada');
      expect(decision).toMatchObject({
        decided: true,
        run: { state: 'queued', message: 'Approved by ada', approvalExpiresAt: null, priority: 0 },
      });
      const { subject } = APPROVAL;
      expect(await store.latestEvent(run.id, 'run.decided')).toMatchObject({ by: 'ada', subject });
      expect(await queuedRuns()).toBe(2);
      expect(await next()).toBeNull();
      await store.append(lease, [SUCCEEDED]);
      const first = await claimed();
      expect(first.run.id).toBe(urgent.run.id);
      await store.append(first.lease, [SUCCEEDED]);
      expect((await claimed()).run).toMatchObject({ id: run.id, attempt: 1, state: 'running' });
      expect(await next()).toBeNull();
    });

    it('hints that it can be claimed when it is approved and its group is free', async () => {
      const { run } = await store.enqueue(promotion());
      const hints: [string, boolean][] = [];
      store.watch((runId, mayClaim) => hints.push([runId, mayClaim]));
      await store.decide(run.id, 'approved', 'ada');
      expect(hints).toEqual([[run.id, true]]);
      expect((await claimed()).run.id).toBe(run.id);
    });

    it.each([
      ['rejected', 'rejected', 'Rejected by ada'],
      ['expired', 'approval_expired', 'Nobody approved in time'],
    ] as const)('ends it when it is %s', async (decision, reason, message) => {
      const { run } = await store.enqueue(promotion(), { sealed: 'v1.abc' });
      expect(await store.decide(run.id, decision, 'ada')).toMatchObject({
        decided: true,
        run: { state: 'cancelled', reason, message, approvalExpiresAt: null },
      });
      expect(await store.decide(run.id, 'approved', 'grace')).toMatchObject({ decided: false });
      expect(await store.sealed(run.id)).toBeNull();
      expect(await next()).toBeNull();
      expect(await queuedRuns()).toBe(0);
    });

    it('ends it at once when it is cancelled', async () => {
      const { run } = await store.enqueue(promotion());
      expect(await store.requestCancel(run.id, 'ada')).toMatchObject({ state: 'cancelled' });
      expect(await store.decide(run.id, 'approved', 'ada')).toMatchObject({ decided: false });
      expect(await next()).toBeNull();
    });

    it('keeps to the first of two decisions that are made at the same moment', async () => {
      const { run } = await store.enqueue(promotion());
      const decisions = await Promise.all([
        store.decide(run.id, 'approved', 'ada'),
        store.decide(run.id, 'rejected', 'grace'),
      ]);
      expect(decisions.filter((one) => one?.decided)).toHaveLength(1);
      expect(await store.eventsOf(run.id, 'run.decided')).toHaveLength(1);
      const [first] = await store.eventsOf(run.id, 'run.decided');
      expect(await stateOf(run)).toBe(first?.decision === 'approved' ? 'queued' : 'cancelled');
    });

    it('keeps it over a restart, a recovery and a retention', async () => {
      const { run } = await store.enqueue(promotion({ dedupeKey: 'promotion:1' }));
      await store.close();
      store = await open();
      expect(await store.run(run.id)).toEqual(run);
      expect(await store.takeBack({ all: true, maxAttempts: 1 })).toEqual([]);
      const later = Date.now() + 9_000_000;
      expect(await store.prune({ before: later, deliveriesBefore: 0, reporters: [] })).toBe(false);
      expect(await store.enqueue(promotion({ dedupeKey: 'promotion:1' }))).toMatchObject({
        created: false,
        run: { id: run.id, state: 'awaiting_approval' },
      });
      await store.decide(run.id, 'approved', 'ada');
      expect((await claimed()).run.id).toBe(run.id);
    });

    it('is enqueued anew with the same key once it was rejected', async () => {
      const request = promotion({ dedupeKey: 'promotion:1' });
      const { run } = await store.enqueue(request);
      await store.decide(run.id, 'rejected', 'ada');
      expect(await store.enqueue(request)).toMatchObject({
        created: true,
        run: { state: 'awaiting_approval' },
      });
    });

    it.each([
      ['needs an approval of its own', APPROVAL],
      ['needs none', undefined],
    ])('supersedes it by a newer request that covers it and %s', async (_what, approval) => {
      const { run } = await store.enqueue(promotion());
      const kept = await store.enqueue(promotion({ coalesce: false }));
      const other = await store.enqueue(promotion({ concurrencyGroup: 'sync:other' }));
      const changed: string[] = [];
      store.watch((runId) => changed.push(runId));
      const newer = await store.enqueue({ ...pushRequest(), ...(approval && { approval }) });
      expect(changed).toEqual([newer.run.id, run.id]);
      expect(await store.run(run.id)).toMatchObject({
        state: 'superseded',
        reason: 'covered_by_newer',
        message: 'A newer push of the branch covers this one.',
        coveredBy: newer.run.id,
        approvalExpiresAt: null,
      });
      expect([await stateOf(kept.run), await stateOf(other.run)]).toEqual([
        'awaiting_approval',
        'awaiting_approval',
      ]);
      expect(await store.decide(run.id, 'approved', 'ada')).toMatchObject({ decided: false });
      if (approval) await store.decide(newer.run.id, 'approved', 'ada');
      const { run: working, covers } = await claimed();
      expect([working.id, covers.map(({ id }) => id)]).toEqual([newer.run.id, [run.id]]);
    });

    it('is left alone by a newer request that covers nothing', async () => {
      const { run } = await store.enqueue(promotion());
      await store.enqueue(promotion({ coalesce: false }));
      expect(await stateOf(run)).toBe('awaiting_approval');
    });

    it('is superseded only by a claim once it is approved', async () => {
      const { run } = await store.enqueue(promotion());
      await store.decide(run.id, 'approved', 'ada');
      const newer = await store.enqueue(promotion());
      expect(await stateOf(run)).toBe('queued');
      expect((await claimed()).run.id).toBe(run.id);
      expect(await stateOf(newer.run)).toBe('awaiting_approval');
    });

    it('is superseded beside a run of its group that works', async () => {
      const { run } = await store.enqueue(promotion());
      await store.enqueue(pushRequest({ coalesce: false }));
      await claimed();
      const newer = await store.enqueue(promotion());
      expect(await store.run(run.id)).toMatchObject({ state: 'superseded', coveredBy: newer.run.id });
    });

    it('is superseded by the next of several requests that arrive together', async () => {
      const before = await store.enqueue(promotion());
      const together = await Promise.all([
        store.enqueue(promotion()),
        store.enqueue(promotion({ coalesce: false })),
        store.enqueue(promotion()),
        store.enqueue(pushRequest({ concurrencyGroup: 'sync:other' })),
      ]);
      const [first, kept, last] = together.map(({ run }) => run);
      const found = await Promise.all([before.run, first, kept, last].map((run) => store.run(run?.id ?? '')));
      expect(found.map((run) => [run?.state, run?.coveredBy])).toEqual([
        ['superseded', first?.id],
        ['superseded', last?.id],
        ['awaiting_approval', null],
        ['awaiting_approval', null],
      ]);
    });

    it('does not count as active until it is approved, so that the place is not taken for busy', async () => {
      const { run } = await store.enqueue(promotion());
      expect(await store.active('sync:main')).toEqual([]);
      await store.decide(run.id, 'approved', 'ada');
      expect((await store.active('sync:main')).map(({ id }) => id)).toEqual([run.id]);
    });

    it('refuses one more than a store keeps, and takes pushes all the same', async () => {
      const all = await Promise.all(
        Array.from({ length: MAX_UNAPPROVED }, () => store.enqueue(promotion({ coalesce: false }))),
      );
      await expect(store.enqueue(promotion({ coalesce: false }))).rejects.toThrow(QueueFullError);
      expect(await store.enqueue(pushRequest({ coalesce: false }))).toMatchObject({ created: true });
      await store.decide(all[0]?.run.id ?? '', 'expired', 'iac-runner');
      const two = await Promise.allSettled([
        store.enqueue(promotion({ coalesce: false })),
        store.enqueue(promotion({ coalesce: false })),
      ]);
      expect(two.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    });
  });
}
