/** Tests machines that are not alike and share the store: tools, plans on one disk, signs of life, duties. */

import { Client } from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RunRequest } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Claim, RunStore } from '../../runs/run-store.ts';
import { UNTIL_RELEASED } from '../../runs/sync/hold.ts';
import { deployRequest } from '../run-store-contract.ts';
import { type PostgresServer, startPostgres, withoutPostgres } from './postgres-server.fixture.ts';
import { createPostgresStore } from './postgres-store.ts';

const FINISHED: RunEventBody = {
  type: 'run.finished',
  state: 'succeeded',
  reason: null,
  message: 'done',
  coveredBy: null,
};

function deploymentBy(
  tool: 'terraform' | 'tofu',
  toolVersion: string | null,
  group = 'deploy:x',
): RunRequest {
  const request = deployRequest({ concurrencyGroup: group });
  if (request.kind !== 'deploy') throw new Error('It is no deployment.');
  return { ...request, input: { ...request.input, tool, toolVersion } };
}

describe.skipIf(withoutPostgres !== null)(
  `Several machines${withoutPostgres ? ` (skipped: ${withoutPostgres})` : ''}`,
  () => {
    let server: PostgresServer;
    let url: string;
    const stores: RunStore[] = [];

    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(() => server.remove());
    beforeEach(async () => {
      url = await server.createDatabase();
    });
    afterEach(async () => {
      await Promise.all(stores.splice(0).map((store) => store.close()));
    });

    /** Opens a store. `tools` may change meanwhile. Null: the tools are not known. */
    async function open(tools: string[] | null = null) {
      const store = await createPostgresStore({
        url,
        requestTimeoutMs: 60_000,
        ...(tools && { tools: async () => tools }),
      });
      stores.push(store);
      return store;
    }
    /** Lets the time of the database pass, by moving the times that it has stored. */
    async function pass(ms: number): Promise<void> {
      const client = new Client({ connectionString: url });
      await client.connect();
      for (const table of ['runs', 'claimable']) {
        await client.query(`UPDATE iac_runner.${table} SET home_until = home_until - ${ms}`);
      }
      await client.query(`UPDATE iac_runner.workers SET at = at - ${ms}`);
      await client.query(`UPDATE iac_runner.roles SET expires_at = expires_at - ${ms}`);
      await client.end();
    }
    async function claim(store: RunStore, owner = 'machine-1:17'): Promise<Claim> {
      const claimed = await store.claim({ owner, leaseMs: 600_000 });
      if (!claimed) throw new Error('Nothing to claim.');
      return claimed;
    }

    it('take only deployments by a tool that they have, in the version that was asked for', async () => {
      const tools: string[] = ['terraform 1.9.0', 'tofu'];
      const [store, anyTool] = [await open(tools), await open()];
      const next = () => store.claim({ owner: 'm:1', leaseMs: 60_000 });
      const [older, onPath, other] = [
        await store.enqueue(deploymentBy('terraform', '1.8.0', 'deploy:a')),
        await store.enqueue(deploymentBy('terraform', null, 'deploy:b')),
        await store.enqueue(deploymentBy('tofu', '1.9.0', 'deploy:c')),
      ];
      const fitting = await store.enqueue(deploymentBy('terraform', '1.9.0', 'deploy:d'));
      expect((await next())?.run.id).toBe(fitting.run.id);
      expect(await next()).toBeNull();
      // The missing tool is installed meanwhile.
      tools.push('terraform 1.8.0');
      expect((await next())?.run.id).toBe(older.run.id);
      expect((await claim(anyTool)).run.id).toBe(onPath.run.id);
      expect((await claim(anyTool)).run.id).toBe(other.run.id);
    });

    it('take what they can of a group although its first has to wait for another machine', async () => {
      const store = await open(['terraform']);
      await store.enqueue(deploymentBy('terraform', '1.8.0'));
      const { run } = await store.enqueue(deploymentBy('terraform', null));
      expect((await claim(store)).run.id).toBe(run.id);
    });

    it('give signs of life with the tools that they have now, and are forgotten when they give none', async () => {
      const tools: string[] = [];
      const { fleet } = await open(tools);
      const sign = {
        owner: 'm:1',
        command: 'worker',
        version: '1',
        labels: null,
        limits: { sync: 1, preview: 1, deploy: 1, plan: 1, command: 1 },
        runs: [],
        startedAt: 1,
      } as const;
      await fleet.beat(sign);
      tools.push('tofu 1.9.0');
      await fleet.beat(sign);
      await fleet.beat({ ...sign, owner: 'a:1' });
      const { workers } = await fleet.workers();
      expect(workers.map(({ owner, tools: known }) => [owner, known])).toEqual([
        ['a:1', ['tofu 1.9.0']],
        ['m:1', ['tofu 1.9.0']],
      ]);
      await fleet.leave('a:1');
      await pass(570_000);
      expect((await fleet.workers()).workers).toHaveLength(1);
      await pass(31_000);
      expect((await fleet.workers()).workers).toEqual([]);
    });

    it('hold a duty one at a time, until it is given back or its time is over', async () => {
      const { fleet } = await open();
      expect(await fleet.takeDuty('tell', 'a', 60_000)).toBe(true);
      expect(await fleet.takeDuty('tell', 'b', 60_000)).toBe(false);
      await pass(50_000);
      expect(await fleet.takeDuty('tell', 'a', 60_000)).toBe(true);
      await pass(50_000);
      expect(await fleet.takeDuty('tell', 'b', 60_000)).toBe(false);
      await pass(20_000);
      expect(await fleet.takeDuty('tell', 'b', 60_000)).toBe(true);
      await fleet.leaveDuty('tell', 'a');
      expect(await fleet.takeDuty('tell', 'a', 60_000)).toBe(false);
      await fleet.leaveDuty('tell', 'b');
      expect(await fleet.takeDuty('tell', 'a', 60_000)).toBe(true);
    });

    it('know the oldest run that waits, and the name of the data', async () => {
      const [one, two] = [await open(), await open()];
      expect(await one.fleet.oldestWaiting()).toBeNull();
      const { run } = await one.enqueue(deploymentBy('tofu', null));
      expect(await two.fleet.oldestWaiting()).toBe(run.createdAt);
      expect(await two.fleet.identity()).toBe(await one.fleet.identity());
    });

    it('do not count a run among those that wait while it waits for the end of a hold', async () => {
      const { fleet, ...store } = await open();
      const hold = await store.saveHold({
        repository: null,
        environment: null,
        services: null,
        reason: 'Freeze',
        by: 'ada',
        until: null,
      });
      const held = await store.enqueue(deploymentBy('tofu', null));
      const waits = { type: 'run.requeued', message: '', countAttempt: false } as const;
      await store.append((await claim(store)).lease, [
        { ...waits, notBefore: UNTIL_RELEASED, holds: [hold?.id ?? ''] },
      ]);
      expect(await fleet.oldestWaiting()).toBeNull();
      const later = await store.enqueue(deploymentBy('tofu', null, 'deploy:other'));
      expect(await fleet.oldestWaiting()).toBe(later.run.createdAt);
      await store.endHold(hold?.id ?? '');
      expect(await fleet.oldestWaiting()).toBe(held.run.createdAt);
    });

    /** Claims the next run on machine-1, and lets it wait for an approval. */
    async function pause(store: RunStore, keptPlan?: string) {
      const { lease } = await claim(store, 'machine-1:17');
      const expiresAt = Date.now() + 3_600_000;
      const waits: RunEventBody = { type: 'run.awaiting_approval', subject: 's', expiresAt, message: '' };
      await store.append(lease, [waits], undefined, keptPlan);
    }

    describe.each([
      ['was kept in the store', deploymentBy('terraform', '1.9.0'), 'v1.plan', 15_000],
      ['lies on one disk only', deploymentBy('terraform', '1.9.0'), undefined, 600_000],
      // The tool on another PATH may be of another version, which refuses the plan.
      ['is of whatever version is on the PATH', deploymentBy('terraform', null), 'v1.plan', 600_000],
    ])('leave an approved run whose plan %s', (_what, request, kept, leftMs) => {
      it(`and its group to the machine that made it, for ${leftMs / 1_000} s`, async () => {
        const store = await open();
        const { run } = await store.enqueue(request, { sealed: 'v1.sealed' });
        await pause(store, kept);
        const later = await store.enqueue(request);
        // The time until the approval does not count.
        await pass(1_800_000);
        await store.decide(run.id, 'approved', 'ada');
        const another = () => store.claim({ owner: 'machine-2:4', leaseMs: 60_000 });
        expect(await another()).toBeNull();
        await pass(leftMs - 10_000);
        expect(await another()).toBeNull();
        await pass(10_000);
        const approved = await another();
        expect(approved?.run.id).toBe(run.id);
        if (approved) await store.append(approved.lease, [FINISHED]);
        expect((await claim(store)).run.id).toBe(later.run.id);
      });

      it('to its machine at once', async () => {
        const store = await open();
        const { run } = await store.enqueue(request);
        await pause(store, kept);
        await store.decide(run.id, 'approved', 'ada');
        expect((await claim(store, 'machine-1:99')).run.id).toBe(run.id);
      });
    });

    it.each([
      ['that lack its tool', ['tofu'], []],
      ['that lack one of its labels', ['terraform 1.9.0', 'tofu'], ['linux']],
    ])('take nothing of its group before an approved run, also those %s', async (_what, tools, labels) => {
      const [home, other] = [await open(), await open(tools)];
      const ask = { ...deploymentBy('terraform', '1.9.0'), labels };
      const { run } = await home.enqueue(ask);
      await pause(home, 'v1.plan');
      // The other machine has the tool of this run, which needs no label and has the highest priority.
      await home.enqueue({ ...deploymentBy('tofu', null), priority: 1000 });
      const elsewhere = await home.enqueue({ ...deploymentBy('tofu', null, 'deploy:other') });
      await home.decide(run.id, 'approved', 'ada');
      await pass(3_600_000);
      const next = () => other.claim({ owner: 'machine-2:4', leaseMs: 60_000, labels: [] });
      expect((await next())?.run.id).toBe(elsewhere.run.id);
      expect(await next()).toBeNull();
      expect((await claim(home)).run.id).toBe(run.id);
    });

    it('take nothing of its group before an approved run that was handed back until later', async () => {
      const store = await open();
      const { run } = await store.enqueue(deploymentBy('terraform', '1.9.0'));
      await pause(store, 'v1.plan');
      const later = await store.enqueue(deploymentBy('terraform', '1.9.0'));
      await store.decide(run.id, 'approved', 'ada');
      const back = { type: 'run.requeued', message: '', countAttempt: false } as const;
      await store.append((await claim(store)).lease, [{ ...back, notBefore: Date.now() + 60_000 }]);
      expect(await store.claim({ owner: 'machine-1:17', leaseMs: 60_000 })).toBeNull();
      await store.requestCancel(run.id, 'ada');
      expect((await claim(store)).run.id).toBe(later.run.id);
    });
  },
);
