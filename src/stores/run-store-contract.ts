/** What every store must do, as one test suite; each store's own test file calls it with a way to open one. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StaleLeaseError } from '../errors.ts';
import type { RunRequest } from '../runs/run.ts';
import type { LedgerFact, RunEventBody } from '../runs/run-events.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';

export function pushRequest(overrides: Partial<RunRequest> = {}, revision = 'a'.repeat(40)): RunRequest {
  return {
    kind: 'sync',
    trigger: { source: 'webhook', actor: 'octocat', deliveryId: null, retryOf: null },
    input: {
      branch: 'main',
      revision,
      before: null,
      selection: { mode: 'changed' },
      force: false,
      dryRun: false,
      postponed: [],
      unpin: false,
      announced: ['platform/redis'],
    },
    concurrencyGroup: 'sync:main',
    coalesce: true,
    dedupeKey: null,
    ...overrides,
  };
}

function finished(state: 'succeeded' | 'failed' = 'succeeded'): RunEventBody {
  return { type: 'run.finished', state, reason: null, message: 'done', coveredBy: null };
}

function fact(service: string, inputs = 'i1'): LedgerFact {
  return {
    scope: 'sync:main',
    service,
    folder: `platform/01.${service}`,
    commit: 'c'.repeat(40),
    tree: 't',
    shared: 's',
    inputs,
    configHash: 'abcdef012345',
  };
}

export function describeRunStore(
  name: string,
  open: () => Promise<RunStore>,
  cleanUp: () => Promise<void>,
): void {
  describe(`${name} as a run store`, () => {
    let store: RunStore;
    const owner = 'worker-1';

    beforeEach(async () => {
      store = await open();
    });
    afterEach(async () => {
      await store.close();
      await cleanUp();
    });

    async function claim(leaseMs = 60_000): Promise<Claim> {
      const claimed = await store.claim({ owner, leaseMs });
      if (!claimed) throw new Error('Nothing to claim.');
      return claimed;
    }

    describe('enqueue', () => {
      it('stores a queued run that can be read back whole', async () => {
        const { run, created } = await store.enqueue(pushRequest());
        expect(created).toBe(true);
        expect(run).toMatchObject({ ...pushRequest(), state: 'queued', attempt: 0, revision: null });
        expect(await store.run(run.id)).toEqual(run);
        expect(await store.run('no-such-run')).toBeNull();
      });

      it('gives the same run to concurrent requests with one dedupe key', async () => {
        const request = pushRequest({ dedupeKey: 'delivery:1' });
        const all = await Promise.all(Array.from({ length: 100 }, () => store.enqueue(request)));
        expect(new Set(all.map(({ run }) => run.id)).size).toBe(1);
        expect(all.filter(({ created }) => created)).toHaveLength(1);
      });

      it.each([
        ['failed', true],
        ['succeeded', false],
      ] as const)('after a run that %s, the same dedupe key makes a new run: %s', async (state, again) => {
        const request = pushRequest({ dedupeKey: 'delivery:1' });
        const first = await store.enqueue(request);
        await store.append((await claim()).lease, [finished(state)]);
        const second = await store.enqueue(request);
        expect(second.created).toBe(again);
        expect(second.run.id !== first.run.id).toBe(again);
      });
    });

    describe('claim', () => {
      it('gives nothing when nothing is queued', async () => {
        expect(await store.claim({ owner, leaseMs: 1_000 })).toBeNull();
      });

      it('works on one run of a group at a time, and on other groups meanwhile', async () => {
        const one = await store.enqueue(pushRequest({ coalesce: false }));
        const two = await store.enqueue(pushRequest({ coalesce: false }));
        const other = await store.enqueue(pushRequest({ concurrencyGroup: 'sync:other' }));
        const first = await claim();
        expect(first.run).toMatchObject({ id: one.run.id, state: 'running', attempt: 1 });
        expect((await claim()).run.id).toBe(other.run.id);
        expect(await store.claim({ owner, leaseMs: 1_000 })).toBeNull();
        await store.append(first.lease, [finished()]);
        expect((await claim()).run.id).toBe(two.run.id);
      });

      it('takes the newest of coalescing runs and lets it cover the others', async () => {
        const ids = [];
        for (let i = 0; i < 5; i += 1) ids.push((await store.enqueue(pushRequest())).run.id);
        const manual = await store.enqueue(pushRequest({ coalesce: false }));
        const claimed = await claim();
        expect(claimed.run.id).toBe(ids[4]);
        expect(claimed.covers.map((run) => run.id)).toEqual(ids.slice(0, 4));
        expect(await store.run(ids[0] ?? '')).toMatchObject({
          state: 'superseded',
          reason: 'covered_by_newer',
          coveredBy: ids[4],
        });
        expect(await store.run(manual.run.id)).toMatchObject({ state: 'queued' });
      });

      it('never gives one run to two workers', async () => {
        for (let i = 0; i < 20; i += 1) {
          await store.enqueue(pushRequest({ concurrencyGroup: `sync:${i}` }));
        }
        const claims = await Promise.all(
          Array.from({ length: 40 }, (_, i) => store.claim({ owner: `w${i}`, leaseMs: 60_000 })),
        );
        const ids = claims.filter((claimed) => claimed !== null).map((claimed) => claimed.run.id);
        expect(ids).toHaveLength(20);
        expect(new Set(ids).size).toBe(20);
      });
    });

    describe('leases', () => {
      it('F22: refuse every write with an older token', async () => {
        await store.enqueue(pushRequest());
        const stale = await claim(-1);
        expect(await store.takeBack({ all: false, maxAttempts: 3 })).toEqual([stale.run.id]);
        const fresh = await claim();
        expect(fresh.lease.token).toBeGreaterThan(stale.lease.token);
        expect(fresh.run.attempt).toBe(2);
        await expect(store.append(stale.lease, [finished('failed')])).rejects.toThrow(StaleLeaseError);
        await expect(store.renew(stale.lease, 60_000)).rejects.toThrow(StaleLeaseError);
        await store.append(fresh.lease, [finished()]);
        expect(await store.run(fresh.run.id)).toMatchObject({ state: 'succeeded' });
        await expect(store.append(fresh.lease, [finished()])).rejects.toThrow(StaleLeaseError);
      });

      it('are taken back only once expired, unless all are', async () => {
        await store.enqueue(pushRequest());
        const { run, lease } = await claim(60_000);
        expect(await store.takeBack({ all: false, maxAttempts: 3 })).toEqual([]);
        await store.renew(lease, 60_000);
        expect(await store.takeBack({ all: true, maxAttempts: 3 })).toEqual([run.id]);
        expect(await store.run(run.id)).toMatchObject({ state: 'queued', attempt: 1 });
      });

      it('end a run that was cut off too often, and its open steps', async () => {
        const { run } = await store.enqueue(pushRequest());
        for (let attempt = 1; attempt <= 2; attempt += 1) {
          const { lease } = await claim();
          await store.append(lease, [
            { type: 'step.planned', step: 'platform/redis', position: 0, wave: 1, message: 'Waiting' },
            { type: 'step.started', step: 'platform/redis', command: ['invoke'], ledger: null },
          ]);
          await store.takeBack({ all: true, maxAttempts: 2 });
        }
        expect(await store.run(run.id)).toMatchObject({ state: 'errored', reason: 'attempts_exhausted' });
        expect(await store.steps(run.id)).toMatchObject([{ state: 'cancelled' }]);
      });

      it('handed back on drain do not count as an attempt', async () => {
        await store.enqueue(pushRequest());
        const { lease, run } = await claim();
        await store.append(lease, [
          { type: 'run.requeued', message: 'Drained', countAttempt: false, notBefore: 0 },
        ]);
        expect(await store.run(run.id)).toMatchObject({ state: 'queued', attempt: 0 });
        expect((await claim()).run.attempt).toBe(1);
      });
    });

    describe('events', () => {
      it('number every log line without gaps and resume inside a chunk', async () => {
        const { run } = await store.enqueue(pushRequest());
        const { lease } = await claim();
        await store.append(lease, [
          { type: 'step.planned', step: 's', position: 0, wave: 1, message: 'Waiting' },
          { type: 'step.log', step: 's', stream: 'stdout', lines: ['one', 'two', 'three'] },
          { type: 'step.log', step: 's', stream: 'stderr', lines: ['four'] },
        ]);
        const events = await store.events(run.id, { after: 0, limit: 100 });
        expect(events.map(({ seq, type }) => [seq, type])).toEqual([
          [1, 'run.queued'],
          [2, 'run.started'],
          [3, 'step.planned'],
          [4, 'step.log'],
          [7, 'step.log'],
        ]);
        const rest = await store.events(run.id, { after: 5, limit: 100 });
        expect(rest.map(({ seq }) => seq)).toEqual([4, 7]);
        expect((await store.events(run.id, { after: 6, limit: 100 })).map(({ seq }) => seq)).toEqual([7]);
        expect(await store.events(run.id, { after: 7, limit: 100 })).toEqual([]);
      });

      it('project steps and run, and refuse an illegal transition leaving nothing behind', async () => {
        const { run } = await store.enqueue(pushRequest());
        const { lease } = await claim();
        await store.append(lease, [
          { type: 'run.revision', revision: 'b'.repeat(40), subject: 'Add redis' },
          { type: 'run.chosen', count: 1, message: 'Syncing 1 service(s)...' },
          { type: 'step.planned', step: 's', position: 0, wave: 1, message: 'Waiting' },
          { type: 'step.started', step: 's', command: ['invoke', 's.sync'], ledger: null },
        ]);
        expect(await store.run(run.id)).toMatchObject({
          revision: 'b'.repeat(40),
          subject: 'Add redis',
          chosen: 1,
        });
        const before = await store.events(run.id, { after: 0, limit: 100 });
        const started: RunEventBody = { type: 'step.started', step: 's', command: [], ledger: null };
        await expect(store.append(lease, [started])).rejects.toThrow('cannot go from running to running');
        expect(await store.events(run.id, { after: 0, limit: 100 })).toEqual(before);
      });

      it('give the newest of a type', async () => {
        const { run } = await store.enqueue(pushRequest());
        const { lease } = await claim();
        await store.append(lease, [
          { type: 'run.notice', level: 'info', message: 'first' },
          { type: 'run.notice', level: 'warning', message: 'second' },
        ]);
        expect(await store.latestEvent(run.id, 'run.notice')).toMatchObject({ message: 'second' });
        expect(await store.latestEvent(run.id, 'run.explained')).toBeNull();
      });

      it('tell watchers after the commit', async () => {
        const seen: string[] = [];
        const stop = store.watch((runId) => seen.push(runId));
        const { run } = await store.enqueue(pushRequest());
        await claim();
        expect(seen).toEqual([run.id, run.id]);
        stop();
        await store.enqueue(pushRequest());
        expect(seen).toHaveLength(2);
      });
    });

    describe('cancel', () => {
      it('ends a queued run at once, marks a running one and leaves a final one alone', async () => {
        const queued = await store.enqueue(pushRequest());
        expect(await store.requestCancel(queued.run.id, 'ada')).toMatchObject({
          state: 'cancelled',
          message: 'Cancelled by ada',
        });
        await store.enqueue(pushRequest());
        const { run, lease } = await claim();
        expect(await store.requestCancel(run.id, 'ada')).toMatchObject({
          state: 'running',
          cancelRequestedBy: 'ada',
        });
        await store.append(lease, [finished()]);
        expect(await store.requestCancel(run.id, 'bob')).toMatchObject({ state: 'succeeded' });
        expect(await store.requestCancel('no-such-run', 'ada')).toBeNull();
      });

      it('is not forgotten when the worker dies', async () => {
        await store.enqueue(pushRequest());
        const { run } = await claim();
        await store.requestCancel(run.id, 'ada');
        await store.takeBack({ all: true, maxAttempts: 3 });
        expect(await store.run(run.id)).toMatchObject({ state: 'cancelled' });
      });
    });

    describe('a follow-up', () => {
      it('is enqueued with the end of the run and covers it', async () => {
        await store.enqueue(pushRequest());
        const { run, lease } = await claim();
        await store.append(
          lease,
          [
            {
              type: 'run.finished',
              state: 'superseded',
              reason: 'not_on_branch',
              message: 'Not on main',
              coveredBy: null,
            },
          ],
          pushRequest({}, 'b'.repeat(40)),
        );
        const ended = await store.run(run.id);
        const [next] = await store.runs({ state: 'queued', limit: 10 });
        expect(ended).toMatchObject({ state: 'superseded', coveredBy: next?.id });
      });
    });

    describe('the ledger', () => {
      it('learns a sync only from a task that succeeded, and that one was attempted from its start', async () => {
        await store.enqueue(pushRequest());
        const { run, lease } = await claim();
        const planned = (step: string): RunEventBody => ({
          type: 'step.planned',
          step,
          position: 0,
          wave: 1,
          message: '',
        });
        const started = (step: string): RunEventBody => ({
          type: 'step.started',
          step,
          command: [],
          ledger: fact(step),
        });
        const ended = (step: string, state: 'succeeded' | 'failed'): RunEventBody => ({
          type: 'step.finished',
          step,
          state,
          message: '',
          exitCode: 0,
          ledger: fact(step),
        });
        await store.append(lease, [
          ...['good', 'bad', 'cut'].flatMap((step) => [planned(step), started(step)]),
          ended('good', 'succeeded'),
          ended('bad', 'failed'),
          { type: 'run.baseline', scope: 'sync:main', commit: 'first' },
          { type: 'run.baseline', scope: 'sync:main', commit: 'second' },
        ]);
        const { entries, baseline } = await store.ledger('sync:main');
        expect(baseline).toBe('first');
        expect(entries.get('good')).toMatchObject({
          outcome: 'succeeded',
          synced: { inputs: 'i1', configHash: 'abcdef012345', runId: run.id },
        });
        expect(entries.get('bad')).toMatchObject({ outcome: 'failed', synced: null });
        expect(entries.get('cut')).toMatchObject({ outcome: 'started', attemptedRunId: run.id });
        expect((await store.ledger('sync:other')).entries.size).toBe(0);
      });
    });

    describe('reports', () => {
      it('are owed for each run until it is settled', async () => {
        const { run } = await store.enqueue(pushRequest());
        expect((await store.unreported('commit-status', 10)).map(({ id }) => id)).toEqual([run.id]);
        const report = {
          reporter: 'commit-status' as const,
          runId: run.id,
          target: 'sha',
          told: null,
          settled: false,
          failures: 1,
          notBefore: 5,
          problem: 'HTTP 500',
        };
        await store.saveReport(report);
        await store.saveReport({ ...report, told: 'pending', failures: 0, problem: null });
        expect(await store.reports('commit-status', run.id)).toEqual([
          { ...report, told: 'pending', failures: 0, problem: null },
        ]);
        await store.settleRun('commit-status', run.id);
        expect(await store.unreported('commit-status', 10)).toEqual([]);
      });
    });

    it('lists runs newest first, by page and by state', async () => {
      const ids: string[] = [];
      for (let i = 0; i < 5; i += 1) {
        ids.unshift((await store.enqueue(pushRequest({ coalesce: false }))).run.id);
      }
      const page = await store.runs({ limit: 2 });
      expect(page.map(({ id }) => id)).toEqual(ids.slice(0, 2));
      const next = await store.runs({ limit: 2, before: ids[1] ?? '' });
      expect(next.map(({ id }) => id)).toEqual(ids.slice(2, 4));
      expect(await store.runs({ state: 'running', limit: 10 })).toEqual([]);
    });

    it('takes a nonce once', async () => {
      const later = Date.now() + 60_000;
      expect(await store.spendNonce('one', later)).toBe(true);
      expect(await store.spendNonce('one', later)).toBe(false);
      expect(await store.spendNonce('two', later)).toBe(true);
    });

    it('keeps a key once made', async () => {
      const key = await store.key('links');
      expect(key).toHaveLength(32);
      expect(await store.key('links')).toEqual(key);
      expect(await store.key('sessions')).not.toEqual(key);
    });

    it('can say that it is able to commit', async () => {
      await expect(store.check()).resolves.toBeUndefined();
    });
  });
}
