/**
 * Tests everything that every store must do. The test file of each store calls this suite with a way to open a store.
 */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NonceSpentError, StaleLeaseError } from '../errors.ts';
import type { OutsideHash } from '../runs/config-hashes.ts';
import { type PlanRun, type Run, type RunRequest, requestedPriority, type SyncRun } from '../runs/run.ts';
import type { LedgerFact, RunEventBody } from '../runs/run-events.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';

export function pushRequest(overrides: Partial<SyncRun> = {}, revision = 'a'.repeat(40)): RunRequest {
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

export function deployRequest(overrides: Partial<RunRequest> = {}): RunRequest {
  return {
    kind: 'deploy',
    trigger: { source: 'deploy_api', actor: 'ada', deliveryId: null, retryOf: null },
    input: {
      operation: 'apply',
      tool: 'terraform',
      toolVersion: null,
      gitUrl: 'https://git.example.com/infra.git',
      gitRef: 'main',
      path: '.',
      tfvarsFiles: [],
      timeoutMs: 60_000,
      autoApprove: false,
      callbackUrl: null,
    },
    concurrencyGroup: 'deploy:infra',
    coalesce: false,
    dedupeKey: null,
    ...overrides,
  } as RunRequest;
}

export function planRequest(overrides: Partial<PlanRun> = {}): RunRequest {
  return {
    kind: 'plan',
    trigger: { source: 'pubsub', actor: null, deliveryId: null, retryOf: null },
    input: {
      repository: 'acme/infra',
      pullRequest: 7,
      revision: 'a'.repeat(40),
      headRef: null,
      baseRef: null,
      cloneUrl: 'https://github.com/acme/infra.git',
      apiUrl: 'https://api.github.com',
      planId: 'p1',
      roots: [{ directory: '.', tool: 'tofu', toolVersion: null }],
      fromFork: false,
      credential: 'sealed',
      requestId: null,
    },
    concurrencyGroup: 'plan:p1',
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

    describe('requests that arrive together', () => {
      it('are answered as if one came after the other, and a refused one takes nothing from the others', async () => {
        const nonce = { value: 'of-a-request', expiresAt: Date.now() + 60_000 };
        const delivery = { deliveryId: 'd', event: 'push', decision: 'accepted', detail: 'x' } as const;
        const beside = { delivery: { ...delivery, runId: null, request: null } };
        const known = await store.enqueue(pushRequest({ dedupeKey: 'delivery:0' }));
        const outcomes = await Promise.all([
          store.enqueue(pushRequest({ dedupeKey: 'delivery:1' }), { ...beside, nonce, sealed: 'first' }),
          store.enqueue(pushRequest({ dedupeKey: 'delivery:2' }), { nonce }).catch((error: unknown) => error),
          store.enqueue(pushRequest({ dedupeKey: 'delivery:1' }), beside),
          store.enqueue(pushRequest({ dedupeKey: 'delivery:0' })),
          store.enqueue(deployRequest({ labels: ['aws'] }), { sealed: 'last' }),
        ]);
        const refused = outcomes.splice(1, 1);
        expect(refused).toEqual([expect.any(NonceSpentError)]);
        const accepted = outcomes as Awaited<ReturnType<RunStore['enqueue']>>[];
        expect(accepted.map(({ created }) => created)).toEqual([true, false, false, true]);
        const [first, repeated, earlier, last] = accepted.map(({ run }) => run.id);
        expect([repeated, earlier]).toEqual([first, known.run.id]);
        expect((await store.runs({ limit: 10 })).map(({ id }) => id)).toEqual([last, first, known.run.id]);
        expect([await store.sealed(first ?? ''), await store.sealed(last ?? '')]).toEqual(['first', 'last']);
        expect(await store.deliveries({ limit: 10 })).toMatchObject([
          { decision: 'duplicate', runId: first },
          { decision: 'accepted', runId: first },
        ]);
        expect(await store.unreported('commit-status', 10)).toMatchObject([
          { id: known.run.id },
          { id: first },
        ]);
      });

      it('are recognized by keys that a database stores in another form', async () => {
        const odd = { concurrencyGroup: 'deploy:\ud800\0' };
        const { run } = await store.enqueue(deployRequest(odd));
        expect((await claim()).run.id).toBe(run.id);
        await Promise.all([store.enqueue(deployRequest(odd)), store.enqueue(deployRequest(odd))]);
        expect(await store.claim({ owner, leaseMs: 60_000 })).toBeNull();
        const twice = await Promise.all(
          ['d\ud800\0', 'd\ud800\0'].map((dedupeKey) => store.enqueue(pushRequest({ dedupeKey }))),
        );
        const again = await store.enqueue(pushRequest({ dedupeKey: 'd\ud800\0' }));
        expect([...twice, again].map(({ created }) => created)).toEqual([true, false, false]);
      });

      it('are claimed by priority, then by the order in which they arrived', async () => {
        const enqueued = await Promise.all(
          [0, 5, 0, 5, 1].map((priority, index) =>
            store.enqueue(deployRequest({ priority, concurrencyGroup: `deploy:${index % 2}` })),
          ),
        );
        const order: number[] = [];
        for (let count = 0; count < enqueued.length; count += 1) {
          const { run, lease } = await claim();
          order.push(enqueued.findIndex((one) => one.run.id === run.id));
          await store.append(lease, [finished()]);
        }
        expect(order).toEqual([1, 3, 4, 0, 2]);
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

      it('takes only runs of the requested kinds', async () => {
        const input = { branch: 'main', revision: 'b'.repeat(40), pullRequest: 7 };
        const { trigger } = pushRequest();
        const base = { kind: 'preview', trigger, input, coalesce: true, dedupeKey: null } as const;
        const older = await store.enqueue({ ...base, concurrencyGroup: 'preview:7' });
        const newer = await store.enqueue({ ...base, concurrencyGroup: 'preview:7' });
        const sync = await store.enqueue(pushRequest());
        expect((await store.claim({ owner, leaseMs: 1_000, kinds: ['sync'] }))?.run.id).toBe(sync.run.id);
        expect(await store.claim({ owner, leaseMs: 1_000, kinds: ['sync'] })).toBeNull();
        const claimed = await store.claim({ owner, leaseMs: 1_000, kinds: ['preview'] });
        expect(claimed?.run).toMatchObject({ id: newer.run.id, kind: 'preview', input });
        expect(await store.run(older.run.id)).toMatchObject({ state: 'superseded', coveredBy: newer.run.id });
        expect((await store.unreported('pull-request-comment', 10)).map(({ kind }) => kind)).toEqual([
          'preview',
          'preview',
        ]);
        expect(await store.unreported('commit-status', 10)).toHaveLength(3);
      });

      it('does not start a run that waits for a time in place of a run that may start', async () => {
        const early = await store.enqueue(pushRequest());
        const manual = await store.enqueue(pushRequest({ coalesce: false }));
        const later: RunEventBody = {
          type: 'run.requeued',
          message: '',
          countAttempt: false,
          notBefore: 9e12,
        };
        for (const { run } of [early, manual]) {
          const claimed = await claim();
          expect(claimed.run.id).toBe(run.id);
          await store.append(claimed.lease, [later]);
        }
        const { run } = await store.enqueue(pushRequest());
        expect(await claim()).toMatchObject({ run: { id: run.id }, covers: [] });
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

      it('counts the covered runs as ended, and the queue without them', async () => {
        for (let i = 0; i < 5; i += 1) await store.enqueue(pushRequest());
        const other = await store.enqueue(pushRequest({ concurrencyGroup: 'sync:other' }));
        const { lease } = await claim();
        const { open, ended } = await store.tally();
        expect(open).toContainEqual({ kind: 'sync', state: 'queued', runs: 1 });
        expect(ended).toMatchObject([{ kind: 'sync', state: 'superseded', runs: 4 }]);
        expect((await claim()).run.id).toBe(other.run.id);
        await store.append(lease, [finished()]);
        expect(await store.claim({ owner, leaseMs: 60_000 })).toBeNull();
        const next = await store.enqueue(pushRequest());
        expect(await claim()).toMatchObject({ run: { id: next.run.id }, covers: [] });
      });

      it('keeps covered runs apart whose commits are not on the branch, from then on and for good', async () => {
        const [dropped, kept] = [await store.enqueue(pushRequest()), await store.enqueue(pushRequest())];
        await store.enqueue(pushRequest());
        const { lease, covers } = await claim();
        expect(covers.map(({ id }) => id)).toEqual([dropped.run.id, kept.run.id]);
        const changed: string[] = [];
        const unwatch = store.watch((id) => void changed.push(id));
        const runs = [dropped.run.id, 'no such run'].map((id) => ({ id, message: 'Not on main' }));
        await store.append(lease, [{ type: 'run.uncovers', runs }]);
        await store.append(lease, [{ type: 'run.uncovers', runs }]);
        unwatch();
        expect(changed.filter((id) => id === dropped.run.id)).toHaveLength(1);
        const of = { state: 'superseded', coveredBy: lease.runId };
        expect(await store.run(dropped.run.id)).toMatchObject({
          ...of,
          reason: 'not_on_branch',
          message: 'Not on main',
        });
        expect(await store.run(kept.run.id)).toMatchObject({ ...of, reason: 'covered_by_newer' });
        const types = (await store.events(dropped.run.id, { after: 0, limit: 10 })).map(({ type }) => type);
        expect(types).toEqual(['run.queued', 'run.finished', 'run.uncovered']);
        await store.takeBack({ all: true, maxAttempts: 3 });
        expect((await claim()).covers.map(({ id }) => id)).toEqual([kept.run.id]);
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
        expect(await store.takeBack({ all: true, runs: ['another'], maxAttempts: 3 })).toEqual([]);
        expect(await store.takeBack({ all: true, runs: [run.id], maxAttempts: 3 })).toEqual([run.id]);
        expect(await store.run(run.id)).toMatchObject({ state: 'queued', attempt: 1 });
        await claim(60_000);
        expect(await store.takeBack({ all: true, maxAttempts: 3 })).toEqual([run.id]);
        expect(await store.run(run.id)).toMatchObject({ state: 'queued', attempt: 2 });
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

      it('are read by the numbers of the lines of a step, from any line', async () => {
        const { run } = await store.enqueue(pushRequest());
        const { lease } = await claim();
        const log = (step: string, stream: 'stdout' | 'stderr', ...lines: string[]): RunEventBody => ({
          type: 'step.log',
          step,
          stream,
          lines,
        });
        await store.append(lease, [
          { type: 'step.planned', step: 's', position: 0, wave: 1, message: 'Waiting' },
          { type: 'step.planned', step: 't "1"', position: 1, wave: 1, message: 'Waiting' },
          log('s', 'stdout', 'one', 'two', 'three'),
          log('t "1"', 'stdout', 'other'),
          log('s', 'stderr', 'four'),
        ]);
        await store.append(lease, [log('s', 'stdout', 'five', 'six')]);
        expect(await store.logTotals(run.id)).toEqual({
          totals: new Map([
            ['s', 6],
            ['t "1"', 1],
          ]),
          through: 11,
        });
        const read = async (step: string, from: number, to: number, characters = 1_000) =>
          (await store.logChunks(run.id, { step, from, to, characters })).map(({ firstLine, lines }) => [
            firstLine,
            ...lines,
          ]);
        expect(await read('s', 1, 2)).toEqual([[1, 'one', 'two', 'three']]);
        expect(await read('s', 3, 4)).toEqual([
          [1, 'one', 'two', 'three'],
          [4, 'four'],
        ]);
        expect(await read('s', 6, 100)).toEqual([[5, 'five', 'six']]);
        // A page ends early, but never before its first line.
        expect(await read('s', 4, 100, 1)).toEqual([[4, 'four']]);
        expect(await read('t "1"', 1, 100)).toEqual([[1, 'other']]);
        expect(await read('s', 7, 100)).toEqual([[5, 'five', 'six']]);
        expect(await read('none', 1, 100)).toEqual([]);
        const [chunk] = await store.logChunks(run.id, { step: 's', from: 4, to: 4, characters: 1 });
        expect(chunk).toMatchObject({ seq: 9, stream: 'stderr' });
        expect(await store.logTotals('no-run')).toEqual({ totals: new Map(), through: 0 });
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

      it('are read by type: the newest one', async () => {
        const { run } = await store.enqueue(pushRequest());
        const { lease } = await claim();
        await store.append(lease, [
          { type: 'run.notice', level: 'info', message: 'first' },
          { type: 'run.notice', level: 'warning', message: 'second' },
        ]);
        expect(await store.latestEvent(run.id, 'run.notice')).toMatchObject({ message: 'second' });
        expect(await store.latestEvent(run.id, 'run.explained')).toBeNull();
      });

      it('notify watchers after the commit', async () => {
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

      it('is stored once, however often it is requested', async () => {
        await store.enqueue(pushRequest());
        const { run } = await claim();
        for (const by of ['ada', 'bob', 'ada']) {
          expect(await store.requestCancel(run.id, by)).toMatchObject({ cancelRequestedBy: 'ada' });
        }
        expect(await store.eventsOf(run.id, 'run.cancel_requested')).toHaveLength(1);
      });

      it.each<RunEventBody>([
        { type: 'run.awaiting_approval', subject: 'd', expiresAt: Date.now() + 60_000, message: 'Waiting' },
        { type: 'run.requeued', message: 'Put off', countAttempt: false, notBefore: Date.now() + 60_000 },
      ])('ends a run that would begin to wait a moment later: $type', async (waits) => {
        await store.enqueue(deployRequest());
        const { run, lease } = await claim();
        await store.append(lease, [
          { type: 'step.planned', step: 'plan', position: 0, wave: 0, message: '' },
          { type: 'step.planned', step: 'apply', position: 1, wave: 0, message: '' },
        ]);
        await store.requestCancel(run.id, 'ada');
        const planned = { type: 'step.finished', step: 'plan', state: 'failed', message: '' } as const;
        await store.append(lease, [{ ...planned, exitCode: 1, ledger: null }, waits]);
        expect(await store.run(run.id)).toMatchObject({
          state: 'cancelled',
          reason: 'cancelled_by_request',
          message: 'Cancelled by ada',
          approvalExpiresAt: null,
        });
        expect((await store.steps(run.id)).map(({ state }) => state)).toEqual(['failed', 'cancelled']);
        expect(await store.eventsOf(run.id, waits.type as 'run.requeued')).toEqual([]);
        await store.enqueue(deployRequest());
        expect((await claim()).run.id).not.toBe(run.id);
      });

      it('is not forgotten when the worker dies', async () => {
        await store.enqueue(pushRequest());
        const { run } = await claim();
        await store.requestCancel(run.id, 'ada');
        await store.takeBack({ all: true, maxAttempts: 3 });
        expect(await store.run(run.id)).toMatchObject({ state: 'cancelled' });
      });
    });

    it('counts how often the work of a run was cut off by a server that stopped, until it is approved', async () => {
      const back = { type: 'run.requeued', message: 'Back', countAttempt: false, notBefore: 0 } as const;
      const { run } = await store.enqueue(deployRequest());
      expect(run.handBacks).toBe(0);
      await store.append((await claim()).lease, [{ ...back, handedBack: true }]);
      await store.append((await claim()).lease, [back]);
      await store.append((await claim()).lease, [{ ...back, handedBack: true }]);
      const { run: again, lease } = await claim();
      expect(again).toMatchObject({ id: run.id, handBacks: 2, attempt: 1 });
      const waits = { type: 'run.awaiting_approval', subject: 'd', message: '' } as const;
      await store.append(lease, [{ ...waits, expiresAt: Date.now() + 60_000 }]);
      await store.decide(run.id, 'approved', 'ada');
      expect((await claim()).run).toMatchObject({ id: run.id, handBacks: 0 });
    });

    it('lets no step outlive its run', async () => {
      await store.enqueue(pushRequest());
      const { run, lease } = await claim();
      const planned = { type: 'step.planned', wave: 0, message: '' } as const;
      const ended = {
        type: 'step.finished',
        state: 'failed',
        message: 'No',
        exitCode: 1,
        ledger: null,
      } as const;
      await store.append(lease, [
        { ...planned, step: 'a', position: 0 },
        { ...planned, step: 'b', position: 1 },
        { ...planned, step: 'c', position: 2 },
        { type: 'step.started', step: 'b', command: ['true'], ledger: null },
      ]);
      await store.append(lease, [{ ...ended, step: 'c' }, finished()]);
      const steps = await store.steps(run.id);
      expect(steps.map(({ state }) => state)).toEqual(['cancelled', 'cancelled', 'failed']);
      expect((await store.events(run.id, { after: 0, limit: 100 })).at(-1)).toMatchObject({
        type: 'run.finished',
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

      it('covers the runs that the run before it covered, however long the chain is', async () => {
        const first = await store.enqueue(pushRequest());
        await store.enqueue(pushRequest());
        const end: RunEventBody = {
          type: 'run.finished',
          state: 'superseded',
          reason: 'not_on_branch',
          message: 'Not on main',
          coveredBy: null,
        };
        for (let length = 0; length < 3; length += 1) {
          const { lease, covers } = await claim();
          expect(covers.map(({ id }) => id)).toEqual([first.run.id]);
          await store.append(lease, [end], pushRequest({}, 'b'.repeat(40)));
        }
        expect((await claim()).covers.map(({ id }) => id)).toEqual([first.run.id]);
      });
    });

    describe('the ledger', () => {
      it('records a sync when a task succeeds, and an attempt when a task starts', async () => {
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
          { type: 'run.examined', scope: 'sync:main', commit: 'first' },
          { type: 'run.examined', scope: 'sync:main', commit: 'second' },
        ]);
        const { entries, baseline, examined } = await store.ledger('sync:main');
        expect(baseline).toBe('first');
        expect(examined).toEqual({ commit: 'second', runId: run.id });
        expect(entries.get('good')).toMatchObject({
          outcome: 'succeeded',
          synced: { inputs: 'i1', configHash: 'abcdef012345', runId: run.id },
        });
        expect(entries.get('bad')).toMatchObject({ outcome: 'failed', synced: null });
        expect(entries.get('cut')).toMatchObject({ outcome: 'started', attemptedRunId: run.id });
        expect((await store.ledger('sync:other')).entries.size).toBe(0);
      });

      it('lists the runs that had a step for a service, the newest first, and none of other places', async () => {
        const planned = { type: 'step.planned', position: 0, wave: 1, message: '' } as const;
        const ran: string[] = [];
        for (const [steps, concurrencyGroup] of [
          [['a', 'b'], 'sync:main'],
          [['b'], 'sync:main'],
          [['a'], 'sync:other'],
          [['a'], 'sync:main'],
        ] as const) {
          const { run } = await store.enqueue({ ...pushRequest(), concurrencyGroup });
          const { lease } = await claim();
          await store.append(lease, [
            ...steps.map((step, position) => ({ ...planned, step, position })),
            finished('succeeded'),
          ]);
          ran.push(run.id);
        }
        const found = await store.serviceHistory('sync:main', 'a', 10);
        expect(found.map(({ run, step }) => [run.id, step.id])).toEqual([
          [ran[3], 'a'],
          [ran[0], 'a'],
        ]);
        expect(found[0]?.step).toMatchObject({ wave: 1, state: 'pending' });
        expect(await store.serviceHistory('sync:main', 'a', 1)).toHaveLength(1);
        expect(await store.serviceHistory('sync:main', 'c', 10)).toEqual([]);
      });

      it('lists each scope that it knows once, by a service or by a baseline', async () => {
        expect(await store.scopes()).toEqual([]);
        await store.saveBaseline('sync:acme/platform:staging', 'c1');
        await store.saveBaseline('sync:main', 'c1');
        await store.enqueue(pushRequest());
        const { lease } = await claim();
        const planned = { type: 'step.planned', position: 0, wave: 1, message: '' } as const;
        for (const [step, scope] of [
          ['a', 'sync:main'],
          ['b', 'sync:main'],
          ['c', 'sync:acme/platform:production'],
        ] as const) {
          const events: RunEventBody[] = [
            { ...planned, step },
            { type: 'step.started', step, command: [], ledger: { ...fact(step), scope } },
          ];
          await store.append(lease, events);
        }
        expect(await store.scopes()).toEqual([
          'sync:acme/platform:production',
          'sync:acme/platform:staging',
          'sync:main',
        ]);
      });
    });

    describe('sessions', () => {
      it('are kept until they end or somebody ends them', async () => {
        const now = Date.now();
        const session = (id: string, endsAt: number) => ({
          ...{
            id,
            name: 'ada',
            role: 'admin',
            method: 'oidc' as const,
            bound: 'b',
            address: '::1',
            agent: 'Firefox',
          },
          createdAt: endsAt > now ? now : now - 1_000,
          endsAt,
        });
        await store.saveSession(session('over', now - 1));
        await store.saveSession(session('one', now + 60_000));
        await store.saveSession(session('two', now + 90_000));
        expect((await store.sessions()).toSorted((a, b) => a.endsAt - b.endsAt)).toEqual([
          session('one', now + 60_000),
          session('two', now + 90_000),
        ]);
        expect(await store.session('one')).toEqual(session('one', now + 60_000));
        expect([await store.endSession('one'), await store.endSession('one')]).toEqual([true, false]);
        expect(await store.session('one')).toBeNull();
        expect(await store.sessions()).toHaveLength(1);
      });
    });

    describe('the audit log', () => {
      const entry = { actor: 'ada', role: 'admin', action: 'retry', address: '10.0.0.1', result: null };

      it('keeps what somebody did, and how it ended, the newest first', async () => {
        const ids: string[] = [];
        for (const target of ['one', 'two', 'three'])
          ids.push(await store.recordAction({ ...entry, target }));
        const end = { result: 'done', action: 'retry_all', target: 'second' };
        await store.finishAction(ids[1] ?? '', end);
        const all = await store.actions({ limit: 10 });
        expect(all.map(({ action, target, result }) => [action, target, result])).toEqual([
          ['retry', 'three', null],
          ['retry_all', 'second', 'done'],
          ['retry', 'one', null],
        ]);
        expect(all[0]).toMatchObject({ ...entry, id: ids[2], at: expect.any(Number) });
        expect((await store.actions({ before: ids[1], limit: 1 })).map(({ id }) => id)).toEqual([ids[0]]);
        const only = async (filter: object) =>
          (await store.actions({ ...filter, limit: 10 })).map(({ target }) => target);
        expect(await only({ action: 'retry' })).toEqual(['three', 'one']);
        expect(await only({ action: 'retry', actor: 'ada', before: ids[2] })).toEqual(['one']);
        expect(await only({ target: 'second', actor: 'grace' })).toEqual([]);
      });

      it('is deleted with deliveries of the same age', async () => {
        await store.recordAction({ ...entry, target: 'old' });
        const reporters = ['commit-status'] as const;
        await store.prune({ before: 0, deliveriesBefore: 0, reporters });
        expect(await store.actions({ limit: 10 })).toHaveLength(1);
        await store.prune({ before: 0, deliveriesBefore: Number.MAX_SAFE_INTEGER, reporters });
        expect(await store.actions({ limit: 10 })).toEqual([]);
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
          sent: null,
          settled: false,
          failures: 1,
          notBefore: 5,
          problem: 'HTTP 500',
        };
        await store.saveReport(report);
        await store.saveReport({ ...report, sent: 'pending', failures: 0, problem: null });
        expect(await store.reports('commit-status', run.id)).toEqual([
          { ...report, sent: 'pending', failures: 0, problem: null },
        ]);
        await store.settleRun('commit-status', run.id);
        expect(await store.unreported('commit-status', 10)).toEqual([]);
      });

      it('are read page by page, the oldest run first', async () => {
        const ids: string[] = [];
        for (let i = 0; i < 5; i += 1) ids.push((await store.enqueue(pushRequest())).run.id);
        const [first = '', second = '', third = ''] = ids;
        const page = async (limit: number, after?: string) =>
          (await store.unreported('commit-status', limit, after)).map(({ id }) => id);
        expect(await page(2)).toEqual(ids.slice(0, 2));
        expect(await page(2, second)).toEqual(ids.slice(2, 4));
        await store.settleRun('commit-status', third);
        await store.settleRun('commit-status', first);
        expect(await page(10, first)).toEqual([second, ...ids.slice(3)]);
        expect(await page(10, third)).toEqual(ids.slice(3));
        expect(await page(2, 'no such run')).toEqual([second, ids[3]]);
      });
    });

    describe('a run that waits for an approval', () => {
      const subject = 'd'.repeat(64);
      const waits: RunEventBody = {
        type: 'run.awaiting_approval',
        subject,
        expiresAt: Date.now() + 60_000,
        message: 'Awaiting approval: 1 to add',
      };

      async function awaiting(overrides: Partial<RunRequest> = {}) {
        const { run } = await store.enqueue(deployRequest(overrides));
        const claimed = await claim();
        await store.append(claimed.lease, [waits]);
        return { run, lease: claimed.lease };
      }

      it('holds its group but no worker, and goes on before all others once it is approved', async () => {
        const { run, lease } = await awaiting();
        const urgent = await store.enqueue(deployRequest({ priority: 1000 }));
        expect(await store.run(run.id)).toMatchObject({
          state: 'awaiting_approval',
          approvalExpiresAt: expect.any(Number),
        });
        expect(await store.claim({ owner, leaseMs: 1_000 })).toBeNull();
        await expect(store.renew(lease, 1_000)).rejects.toBeInstanceOf(StaleLeaseError);
        await expect(store.append(lease, [finished()])).rejects.toBeInstanceOf(StaleLeaseError);
        expect(await store.takeBack({ all: true, maxAttempts: 1 })).toEqual([]);

        const decision = await store.decide(run.id, 'approved', 'ada');
        expect(decision).toMatchObject({ decided: true, run: { state: 'queued', attempt: 0 } });
        expect(await store.latestEvent(run.id, 'run.decided')).toMatchObject({ by: 'ada', subject });
        const next = await claim();
        expect(next.run).toMatchObject({ id: run.id, attempt: 1, approvalExpiresAt: null });
        await store.append(next.lease, [finished()]);
        expect((await claim()).run.id).toBe(urgent.run.id);
      });

      it('keeps the priority of its request, however often it is approved', async () => {
        const { run } = await awaiting({ priority: -7 });
        for (let approvals = 0; approvals < 3; approvals += 1) {
          await store.decide(run.id, 'approved', 'ada');
          expect(requestedPriority((await store.run(run.id)) as Run)).toBe(-7);
          await store.append((await claim()).lease, [waits]);
        }
      });

      it.each([
        ['rejected', 'rejected'],
        ['expired', 'approval_expired'],
      ] as const)('ends when it is %s', async (decision, reason) => {
        const { run } = await awaiting();
        expect(await store.decide(run.id, decision, 'ada')).toMatchObject({
          decided: true,
          run: { state: 'cancelled', reason },
        });
      });

      it('keeps to the first decision when others decide at the same moment', async () => {
        const { run } = await awaiting();
        const decisions = await Promise.all([
          store.decide(run.id, 'approved', 'ada'),
          store.decide(run.id, 'rejected', 'grace'),
          store.decide(run.id, 'expired', 'iac-runner'),
          store.decide(run.id, 'approved', 'linus'),
        ]);
        expect(decisions.filter((decision) => decision?.decided)).toHaveLength(1);
        const events = await store.events(run.id, { after: 0, limit: 100 });
        expect(events.filter(({ type }) => type === 'run.decided')).toHaveLength(1);
      });

      it('is not decided about before it waits, after its end, or when there is no such run', async () => {
        const { run } = await store.enqueue(deployRequest());
        expect(await store.decide(run.id, 'approved', 'ada')).toMatchObject({ decided: false });
        const claimed = await claim();
        expect(await store.decide(run.id, 'approved', 'ada')).toMatchObject({ decided: false });
        await store.append(claimed.lease, [finished()]);
        expect(await store.decide(run.id, 'approved', 'ada')).toMatchObject({ decided: false });
        expect(await store.decide('none', 'approved', 'ada')).toBeNull();
      });

      it('ends at once when it is cancelled', async () => {
        const { run } = await awaiting();
        expect(await store.requestCancel(run.id, 'ada')).toMatchObject({ state: 'cancelled' });
      });

      it('gives way to a newer request that covers it', async () => {
        const { run } = await awaiting({ coalesce: true });
        const [newer] = await Promise.all([
          store.enqueue(deployRequest({ coalesce: true })),
          store.enqueue(deployRequest({ coalesce: false })),
        ]);
        expect(await store.run(run.id)).toMatchObject({ state: 'superseded', coveredBy: newer.run.id });
        expect((await claim()).run.id).toBe(newer.run.id);
      });
    });

    describe('the order of the queue', () => {
      it('is by priority first, in a group and between groups', async () => {
        const [low, high, other, highest] = [
          await store.enqueue(deployRequest()),
          await store.enqueue(deployRequest({ priority: 5 })),
          await store.enqueue(deployRequest({ concurrencyGroup: 'deploy:other' })),
          await store.enqueue(deployRequest({ concurrencyGroup: 'deploy:third', priority: 9 })),
        ];
        const order = [];
        for (let claimed = await claim(); ; claimed = await claim()) {
          order.push(claimed.run.id);
          await store.append(claimed.lease, [finished()]);
          if (order.length === 4) break;
        }
        expect(order).toEqual([highest, high, low, other].map(({ run }) => run.id));
      });

      it('leaves out runs that need labels which the worker does not have', async () => {
        const { run } = await store.enqueue(deployRequest({ labels: ['aws', 'linux'] }));
        const plain = await store.enqueue(deployRequest({ concurrencyGroup: 'deploy:other' }));
        const options = { owner, leaseMs: 1_000 };
        expect((await store.claim({ ...options, labels: ['aws'] }))?.run.id).toBe(plain.run.id);
        expect(await store.claim({ ...options, labels: ['aws'] })).toBeNull();
        expect((await store.claim({ ...options, labels: ['linux', 'x', 'aws'] }))?.run.id).toBe(run.id);
      });
    });

    describe('the sealed text beside a run', () => {
      it('can be read until the run has ended, and is deleted then', async () => {
        const { run } = await store.enqueue(deployRequest(), { sealed: 'v1.abc' });
        const none = await store.enqueue(deployRequest({ concurrencyGroup: 'deploy:other' }));
        expect(await store.sealed(run.id)).toBe('v1.abc');
        expect(await store.sealed(none.run.id)).toBeNull();
        const { lease } = await claim();
        expect(await store.sealed(run.id)).toBe('v1.abc');
        await store.append(lease, [finished('failed')]);
        expect(await store.sealed(run.id)).toBeNull();
      });

      it.each(['v1.plan', `v1.${'plan'.repeat(700_000)}`])(
        'can be joined by a plan, which leaves it alone and goes with it',
        async (plan) => {
          const { run } = await store.enqueue(deployRequest(), { sealed: 'v1.abc' });
          expect(await store.keptPlan(run.id)).toBeNull();
          const notice = { type: 'run.notice', level: 'info', message: 'On' } as const;
          const { lease } = await claim();
          await store.append(lease, [notice], undefined, 'v1.earlier');
          await store.append(lease, [notice], undefined, plan);
          await store.append(lease, [notice]);
          expect((await store.keptPlan(run.id)) === plan).toBe(true);
          expect(await store.sealed(run.id)).toBe('v1.abc');
          await store.append(lease, [finished('failed')]);
          expect([await store.keptPlan(run.id), await store.sealed(run.id)]).toEqual([null, null]);
        },
      );
    });

    describe('a plan with a sealed token', () => {
      const request = planRequest({ dedupeKey: 'pubsub:s:1' });

      it('keeps the token until its comment is settled, also when it was settled before the end', async () => {
        const { run } = await store.enqueue(request, { sealed: 'v1.abc' });
        await store.append((await claim()).lease, [finished('failed')]);
        await store.settleRun('commit-status', run.id);
        expect(await store.sealed(run.id)).toBe('v1.abc');
        await store.settleRun('plan-comment', run.id);
        expect(await store.sealed(run.id)).toBeNull();

        const second = await store.enqueue(planRequest({ dedupeKey: null }), { sealed: 'v1.def' });
        await store.settleRun('plan-comment', second.run.id);
        expect(await store.sealed(second.run.id)).toBe('v1.def');
        await store.requestCancel(second.run.id, 'ada');
        expect(await store.sealed(second.run.id)).toBeNull();
      });

      it('is not started again by the same message, however it ended', async () => {
        const { run } = await store.enqueue(request);
        await store.append((await claim()).lease, [finished('failed')]);
        expect(await store.enqueue(request)).toMatchObject({ created: false, run: { id: run.id } });
      });

      it('gives all its events of a type, oldest first', async () => {
        const { run } = await store.enqueue(request);
        const planned = (step: string) => ({ type: 'run.planned', step, summary: null, text: step }) as const;
        await store.append((await claim()).lease, [planned('plan a'), planned('plan b'), finished()]);
        const events = await store.eventsOf(run.id, 'run.planned');
        expect(events.map(({ step }) => step)).toEqual(['plan a', 'plan b']);
        expect(await store.eventsOf('no-such-run', 'run.planned')).toEqual([]);
      });
    });

    describe('deliveries', () => {
      const pushed = { deliveryId: 'd-1', event: 'push', decision: 'accepted', detail: 'Push' } as const;
      const nothing = { runId: null, request: null };

      it('are stored with the run that they requested, also when it existed already', async () => {
        const request = pushRequest({ dedupeKey: 'delivery:d-1' });
        const { run } = await store.enqueue(request, { delivery: { ...pushed, ...nothing } });
        await store.enqueue(request, { delivery: { ...pushed, ...nothing } });
        const [second, first] = await store.deliveries({ limit: 10 });
        expect(first).toMatchObject({ ...pushed, runId: run.id, request });
        expect(second).toMatchObject({ ...pushed, decision: 'duplicate', runId: run.id });
        expect(await store.delivery(first?.number ?? 0)).toEqual(first);
        expect(await store.delivery(4_711)).toBeNull();
      });

      it('are listed newest first, by page and by decision', async () => {
        for (const decision of ['ignored', 'refused', 'ignored', 'no_changes'] as const) {
          await store.recordDelivery({ ...pushed, ...nothing, decision });
        }
        const decisions = async (filter: { before?: number; decision?: 'ignored' }) =>
          (await store.deliveries({ ...filter, limit: 2 })).map(({ number, decision }) => [number, decision]);
        expect(await decisions({})).toEqual([
          [4, 'no_changes'],
          [3, 'ignored'],
        ]);
        expect(await decisions({ before: 3 })).toEqual([
          [2, 'refused'],
          [1, 'ignored'],
        ]);
        expect(await decisions({ decision: 'ignored' })).toEqual([
          [3, 'ignored'],
          [1, 'ignored'],
        ]);
      });

      it('F11: that were missed are recorded once each, but not those that have arrived', async () => {
        await store.recordDelivery({ ...pushed, ...nothing });
        const missed = ['d-1', 'd-2', 'd-3'].map((deliveryId) => ({
          ...pushed,
          ...nothing,
          deliveryId,
          decision: 'missed' as const,
        }));
        expect(await store.recordMissed(missed)).toBe(2);
        expect(await store.recordMissed(missed)).toBe(0);
        const found = await store.deliveries({ decision: 'missed', limit: 10 });
        expect(found.map(({ deliveryId }) => deliveryId)).toEqual(['d-3', 'd-2']);
      });
    });

    describe('retention', () => {
      const all = { before: Date.now() + 3_600_000, deliveriesBefore: 0, reporters: [] };

      async function pruneAll(options: Parameters<RunStore['prune']>[0] = all): Promise<string[]> {
        for (let calls = 0; await store.prune(options); calls += 1)
          if (calls > 1_000) throw new Error('No end.');
        return (await store.runs({ limit: 100 })).map(({ id }) => id);
      }

      async function finish(lease: Claim['lease'], coveredBy: string | null = null): Promise<void> {
        await store.append(lease, [{ ...finished(), coveredBy } as RunEventBody]);
      }

      it('removes old finished runs with everything of them, and none that waits or works', async () => {
        const old = (await store.enqueue(pushRequest())).run.id;
        const { lease } = await claim();
        const lines = Array.from({ length: 500 }, (_, index) => `line ${index}`);
        const log: RunEventBody = { type: 'step.log', step: 's', stream: 'stdout', lines };
        await store.append(lease, [
          { type: 'step.planned', step: 's', position: 0, wave: 1, message: '' },
          ...Array.from({ length: 450 }, () => log),
        ]);
        await finish(lease);
        const working = (await store.enqueue(pushRequest())).run.id;
        await claim();
        const waiting = (await store.enqueue(pushRequest())).run.id;
        expect(await pruneAll({ ...all, before: 0 })).toEqual([waiting, working, old]);
        expect(await pruneAll()).toEqual([waiting, working]);
        expect(await store.events(old, { after: 0, limit: 10 })).toEqual([]);
        expect(await store.steps(old)).toEqual([]);
      });

      it('keeps what the ledger names and the runs that a reporter has still to report', async () => {
        await store.enqueue(pushRequest());
        const first = await claim();
        const step = 'platform/redis';
        const planned: RunEventBody = { type: 'step.planned', step, position: 0, wave: 1, message: '' };
        const started: RunEventBody = { type: 'step.started', step, command: [], ledger: fact(step) };
        await store.append(first.lease, [planned, started]);
        await finish(first.lease);
        const second = (await store.enqueue(pushRequest())).run.id;
        await finish((await claim()).lease);
        const reporters = ['commit-status'] as const;
        expect(await pruneAll({ ...all, reporters })).toEqual([second, first.run.id]);
        await store.settleRun('commit-status', second);
        expect(await pruneAll({ ...all, reporters })).toEqual([first.run.id]);
        expect(await pruneAll()).toEqual([first.run.id]);
      });

      it('keeps a run as long as another names it as the one that covers it', async () => {
        const covering = (await store.enqueue(pushRequest())).run.id;
        await finish((await claim()).lease);
        const covered = (await store.enqueue(pushRequest())).run.id;
        await finish((await claim()).lease, covering);
        const reporters = ['commit-status'] as const;
        await store.settleRun('commit-status', covering);
        expect(await pruneAll({ ...all, reporters })).toEqual([covered, covering]);
        await store.settleRun('commit-status', covered);
        expect(await pruneAll({ ...all, reporters })).toEqual([]);
      });

      it('removes old deliveries', async () => {
        const delivery = { deliveryId: null, event: 'ping', decision: 'ignored', detail: '' } as const;
        for (let i = 0; i < 1_200; i += 1) {
          void store.recordDelivery({ ...delivery, runId: null, request: null });
        }
        await store.check();
        await pruneAll();
        expect(await store.deliveries({ limit: 2_000 })).toHaveLength(1_200);
        await pruneAll({ ...all, deliveriesBefore: Date.now() + 1_000 });
        expect(await store.deliveries({ limit: 10 })).toEqual([]);
      });
    });

    it('is alive', () => {
      expect(store.isAlive()).toBe(true);
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

    it('counts runs by kind and state, and goes on counting those deleted', async () => {
      await store.enqueue(pushRequest());
      await store.append((await claim()).lease, [finished()]);
      await store.enqueue(pushRequest());
      await store.append((await claim()).lease, [finished('failed')]);
      await store.enqueue(pushRequest());
      await store.enqueue(pushRequest({ concurrencyGroup: 'sync:other' }));
      await claim();
      const { open, ended, boundsSeconds } = await store.tally();
      expect(open.toSorted((left, right) => left.state.localeCompare(right.state))).toEqual([
        { kind: 'sync', state: 'queued', runs: 1 },
        { kind: 'sync', state: 'running', runs: 1 },
      ]);
      expect(boundsSeconds).toEqual(boundsSeconds.toSorted((left, right) => left - right));
      const expected = { kind: 'sync', upToSeconds: boundsSeconds[0], runs: 1 };
      expect(ended).toMatchObject([
        { ...expected, state: 'failed' },
        { ...expected, state: 'succeeded' },
      ]);
      const all = { before: Date.now() + 1_000, deliveriesBefore: 0, reporters: [] };
      while (await store.prune(all)) expect(await store.runs({ limit: 10 })).not.toEqual([]);
      expect(await store.runs({ limit: 10 })).toHaveLength(2);
      expect((await store.tally()).ended).toEqual(ended);
    });

    it('remembers the config hashes outside, by scope and service', async () => {
      const hash: OutsideHash = {
        service: 'platform/redis',
        written: 'abcdef012345',
        found: null,
        drifted: true,
        owed: false,
        since: 5,
        problem: null,
        heals: 0,
        healedAt: 0,
      };
      const owed = { found: 'no hash', owed: true, problem: 'It is down.' };
      const other = { ...hash, ...owed, service: 'platform/minio' };
      await store.saveOutsideHashes('sync:main', [hash, other]);
      const changed = { ...hash, found: 'abcdef012345', drifted: false, since: 6, heals: 2, healedAt: 6 };
      await store.saveOutsideHashes('sync:main', [changed]);
      expect(await store.outsideHashes('sync:main')).toEqual(
        new Map([
          ['platform/minio', other],
          ['platform/redis', changed],
        ]),
      );
      expect((await store.outsideHashes('sync:other')).size).toBe(0);
    });

    it('spends the nonce of a request with its run: once, and not when the run was not stored', async () => {
      const nonce = { value: 'of-a-request', expiresAt: Date.now() + 60_000 };
      const { run } = await store.enqueue(pushRequest(), { nonce });
      await expect(store.enqueue(pushRequest(), { nonce })).rejects.toThrow(NonceSpentError);
      expect((await store.runs({ limit: 10 })).map(({ id }) => id)).toEqual([run.id]);
    });

    it('keeps a key once made', async () => {
      const key = await store.key('links');
      expect(key).toHaveLength(32);
      expect(await store.key('links')).toEqual(key);
      expect(await store.key('sessions')).not.toEqual(key);
    });

    it('can check that it is able to commit', async () => {
      await expect(store.check()).resolves.toBeUndefined();
    });
  });
}
