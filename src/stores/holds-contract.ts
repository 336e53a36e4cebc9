/** Tests what every store must do with holds. The test file of each store calls this suite with a way to open a store. */

import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunRequest, SyncRun } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import { type Hold, MAX_HOLDS, type NewHold, UNTIL_RELEASED } from '../runs/sync/hold.ts';
import { pushRequest } from './run-store-contract.ts';

const FREEZE: NewHold = {
  repository: null,
  environment: null,
  services: null,
  reason: 'Freeze',
  by: 'ada',
  until: null,
};

function waits(...holds: string[]): RunEventBody {
  const message = 'Held by ada: Freeze';
  return { type: 'run.requeued', message, countAttempt: false, notBefore: UNTIL_RELEASED, holds };
}

function leavesOut(services: string[], ...holds: string[]): RunEventBody {
  return { type: 'run.held', holds, services };
}

const SUCCEEDED: RunEventBody = {
  type: 'run.finished',
  state: 'succeeded',
  reason: null,
  message: 'done',
  coveredBy: null,
};

export function describeHolds(name: string, open: () => Promise<RunStore>): void {
  describe(`${name} with holds`, () => {
    let store: RunStore;
    beforeEach(async () => {
      store = await open();
    });
    afterEach(() => store.close());

    async function set(hold: NewHold = FREEZE): Promise<Hold> {
      const saved = await store.saveHold(hold);
      if (!saved) throw new Error('The hold was refused.');
      return saved;
    }

    const next = () => store.claim({ owner: 'worker:1', leaseMs: 60_000 });

    async function claimed(request: RunRequest): Promise<Claim> {
      await store.enqueue(request);
      const claim = await next();
      if (!claim) throw new Error('Nothing to claim.');
      return claim;
    }

    async function waiting(hold: string, request = pushRequest()): Promise<Claim> {
      const claim = await claimed(request);
      await store.append(claim.lease, [waits(hold)]);
      return claim;
    }

    it('keeps every part of a hold, lists those that stand by age, and ends each once', async () => {
      const full: NewHold = {
        repository: 'acme/platform',
        environment: 'staging',
        services: ['platform/redis', 'platform/postgres'],
        reason: 'Grüße, "quoted"',
        by: 'grace',
        until: Date.now() + 60_000,
      };
      const first = await set();
      const second = await set(full);
      expect(first).toEqual({ ...FREEZE, id: first.id, createdAt: first.createdAt });
      expect(await store.holds()).toEqual([first, { ...full, id: second.id, createdAt: second.createdAt }]);
      expect(await store.endHold(first.id)).toEqual(first);
      expect(await store.endHold(first.id)).toBeNull();
      expect(await store.endHold('unknown')).toBeNull();
      expect(await store.holds()).toEqual([second]);
    });

    it('refuses one more than it keeps, also when several are set at once', async () => {
      const all = await Promise.all(Array.from({ length: MAX_HOLDS - 1 }, () => set()));
      const last = await Promise.all([store.saveHold(FREEZE), store.saveHold(FREEZE)]);
      expect(last.filter((hold) => hold !== null)).toHaveLength(1);
      await store.endHold(all[0]?.id ?? '');
      expect(await store.saveHold(FREEZE)).not.toBeNull();
      expect(await store.saveHold({ ...FREEZE, until: Date.now() + 60_000 })).toBeNull();
      expect(await store.holds()).toHaveLength(MAX_HOLDS);
    });

    it('does not show a hold whose time has come, nor end it by hand', async () => {
      const hold = await set({ ...FREEZE, until: Date.now() - 1 });
      expect(await store.holds()).toEqual([]);
      expect(await store.endHold(hold.id)).toBeNull();
    });

    it('gives a run that waits to nobody until the hold is released, and then at once', async () => {
      const hold = await set();
      const { run } = await waiting(hold.id);
      expect(await store.run(run.id)).toMatchObject({ state: 'queued', message: 'Held by ada: Freeze' });
      expect(await next()).toBeNull();
      const heard: [string, boolean][] = [];
      store.watch((runId, mayClaim) => heard.push([runId, mayClaim]));
      await store.endHold(hold.id);
      expect(heard).toEqual([[run.id, true]]);
      expect(await store.run(run.id)).toMatchObject({
        notBefore: 0,
        message: expect.stringMatching(/^Wait/),
      });
      expect((await next())?.run.id).toBe(run.id);
    });

    it('lets a run go by itself at the end of its hold', async () => {
      const hold = await set({ ...FREEZE, until: Date.now() + 400 });
      const { run } = await waiting(hold.id);
      expect(await next()).toBeNull();
      await sleep(500);
      expect((await next())?.run.id).toBe(run.id);
      expect(await next()).toBeNull();
    });

    it('lets a run wait for nothing if its hold ended before the run could wait', async () => {
      const hold = await set();
      const { run, lease } = await claimed(pushRequest());
      await store.endHold(hold.id);
      await store.append(lease, [waits(hold.id)]);
      expect((await next())?.run.id).toBe(run.id);
    });

    it('lets a run look again when one of several holds ends', async () => {
      const [one, other] = [await set(), await set()];
      const { run, lease } = await claimed(pushRequest());
      await store.append(lease, [waits(one.id, other.id)]);
      await store.endHold(other.id);
      const again = await next();
      expect(again?.run.id).toBe(run.id);
      if (again) await store.append(again.lease, [waits(one.id)]);
      expect(await next()).toBeNull();
    });

    it('coalesces a run that waits with a newer one', async () => {
      const hold = await set();
      const { run } = await waiting(hold.id);
      const newer = await waiting(hold.id);
      expect(newer.covers.map(({ id }) => id)).toEqual([run.id]);
      await store.endHold(hold.id);
      expect((await next())?.run.id).toBe(newer.run.id);
      expect(await next()).toBeNull();
    });

    it('does not count a run as active that waits for the end of a hold', async () => {
      const hold = await set();
      await waiting(hold.id);
      expect(await store.active('sync:main')).toEqual([]);
      await store.endHold(hold.id);
      expect(await store.active('sync:main')).toHaveLength(1);
    });

    it('asks again, once for a branch, for the services that pushes left out', async () => {
      const hold = await set();
      for (let pushes = 0; pushes < 3; pushes += 1) {
        const { lease } = await claimed(pushRequest());
        await store.append(lease, [leavesOut(['platform/redis'], hold.id), SUCCEEDED]);
      }
      expect(await next()).toBeNull();
      await store.endHold(hold.id);
      const again = await next();
      expect(again?.run).toMatchObject({
        coalesce: true,
        trigger: { source: 'webhook', actor: 'octocat', deliveryId: null },
        input: {
          revision: null,
          before: null,
          selection: { mode: 'changed' },
          announced: ['platform/redis'],
        },
      });
      if (again) await store.append(again.lease, [SUCCEEDED]);
      expect(await next()).toBeNull();
    });

    it('asks again for exactly what a request left out that no push covers', async () => {
      const input = { ...pushRequest().input, force: true } as SyncRun['input'];
      const hold = await set();
      const { lease } = await claimed(pushRequest({ coalesce: false, input }));
      await store.append(lease, [leavesOut(['platform/redis'], hold.id), SUCCEEDED]);
      await store.endHold(hold.id);
      expect((await next())?.run.input).toEqual({
        ...input,
        selection: { mode: 'services', services: ['platform/redis'] },
        announced: ['platform/redis'],
      });
    });

    it('asks again once for what a request left out because of two holds', async () => {
      const [first, second] = [await set(), await set()];
      const input = { ...pushRequest().input, force: true } as SyncRun['input'];
      const { lease } = await claimed(pushRequest({ coalesce: false, input }));
      await store.append(lease, [leavesOut(['platform/redis'], first.id, second.id), SUCCEEDED]);
      await store.endHold(first.id);
      const again = await next();
      expect(again?.run.input).toMatchObject({ announced: ['platform/redis'] });
      if (again) await store.append(again.lease, [SUCCEEDED]);
      await store.endHold(second.id);
      expect(await next()).toBeNull();
    });

    it('asks again for what a push left out although another push waits for another hold', async () => {
      const other = await set();
      await waiting(other.id);
      const hold = await set();
      const request = pushRequest({ coalesce: false });
      const { lease } = await claimed({ ...request, concurrencyGroup: 'sync:main' });
      await store.append(lease, [leavesOut(['platform/redis'], hold.id), SUCCEEDED]);
      await store.endHold(hold.id);
      expect((await next())?.run.input).toMatchObject({ announced: ['platform/redis'] });
    });

    it('asks again at once for what was left out because of a hold that has ended meanwhile', async () => {
      const hold = await set();
      const { run, lease } = await claimed(pushRequest());
      await store.endHold(hold.id);
      await store.append(lease, [leavesOut(['platform/redis'], hold.id), SUCCEEDED]);
      const again = await next();
      expect(again?.run.input).toMatchObject({ announced: ['platform/redis'] });
      expect(again?.run.id).not.toBe(run.id);
    });

    it('asks again for the rest of a promotion that failed, also if its hold ended while it ran', async () => {
      const shown = ['platform/redis', 'platform/dashy'].map((service) => ({ service, from: null }));
      const promotion = { from: 'staging', services: shown, commits: [], breakGlass: false };
      const input = { ...pushRequest().input, intent: 'promote', promotion } as SyncRun['input'];
      const leftOut = (id: string) => ({ services: ['platform/redis'], holds: [id] });
      const failed = (id: string) => ({ ...SUCCEEDED, state: 'failed', leftOut: leftOut(id) }) as const;
      for (const endsEarly of [true, false]) {
        const hold = await set();
        const { run, lease } = await claimed(pushRequest({ input }));
        await store.append(lease, [leavesOut(['platform/redis'], hold.id)]);
        if (endsEarly) await store.endHold(hold.id);
        await store.append(lease, [failed(hold.id)]);
        if (!endsEarly) await store.endHold(hold.id);
        const rest = await next();
        expect(rest?.run).toMatchObject({ coalesce: false, input: { rest: { of: run.id, shown } } });
        expect(rest?.run.input).toMatchObject({ promotion: { services: shown.slice(0, 1) } });
        if (rest) await store.append(rest.lease, [SUCCEEDED]);
        expect(await next()).toBeNull();
      }
    });

    it('asks for nothing again that somebody cancelled', async () => {
      const hold = await set();
      const { run } = await waiting(hold.id);
      await store.requestCancel(run.id, 'grace');
      await store.endHold(hold.id);
      expect(await store.run(run.id)).toMatchObject({ state: 'cancelled' });
      expect(await next()).toBeNull();
    });

    it('keeps an old run until the hold has ended that it left services out for', async () => {
      const hold = await set();
      const { run, lease } = await claimed(pushRequest());
      await store.append(lease, [leavesOut(['platform/redis'], hold.id), SUCCEEDED]);
      const old = { before: Date.now() + 60_000, deliveriesBefore: 0, reporters: [] };
      expect(await store.prune(old)).toBe(false);
      expect(await store.run(run.id)).not.toBeNull();
      await store.endHold(hold.id);
      await store.prune(old);
      expect(await store.run(run.id)).toBeNull();
    });
  });
}
