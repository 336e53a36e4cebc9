/** Syncs while a hold stands, and when it ends. */

import { describe, expect, it } from 'vitest';
import type { NewHold } from '../../runs/sync/hold.ts';
import type { SyncInput } from '../../runs/sync/sync-input.ts';
import { retryRun } from '../../triggers/run-actions.ts';
import { createSyncWorld, type SyncWorld } from './sync-world.fixture.ts';

const noPromotion = async () => null;

const REDIS = 'platform/redis';
const DASHY = 'platform/dashy';
const HELD = 'Held by ada: Freeze';

function files(content: string): Record<string, string> {
  return {
    'platform/01.redis/deploy.py': '',
    'platform/01.redis/compose.yaml': content,
    'platform/02.dashy/deploy.py': '',
    'platform/02.dashy/compose.yaml': content,
  };
}

async function syncedWorld(): Promise<SyncWorld> {
  const world = await createSyncWorld();
  await world.commit(files('first'));
  await world.ask({ trigger: { source: 'sync_api' }, input: { selection: { mode: 'all' } } });
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
  world.forgetTasks();
  return world;
}

async function hold({ store }: SyncWorld, services: string[] | null = null, more: Partial<NewHold> = {}) {
  const set = { repository: null, environment: null, reason: 'Freeze', by: 'ada', until: null };
  const saved = await store.saveHold({ ...set, services, ...more });
  if (!saved) throw new Error('The hold was refused.');
  return saved;
}

async function push(world: SyncWorld, content: string, changed: Record<string, string> = files(content)) {
  const commit = await world.commit(changed);
  return { commit, run: await world.pushed(commit) };
}

async function decisions({ store }: SyncWorld, runId: string): Promise<Record<string, string>> {
  const explained = await store.latestEvent(runId, 'run.explained');
  const services = explained?.explanation.services ?? [];
  return Object.fromEntries(services.map(({ service, decision }) => [service, decision]));
}

function asked(world: SyncWorld, input: Partial<SyncInput>) {
  return world.ask({ trigger: { source: 'sync_api', actor: 'grace' }, input });
}

describe('A hold on everything', () => {
  it('makes a push wait, with who and why, until it is released, and then the newest commit runs', async () => {
    const world = await syncedWorld();
    const { id } = await hold(world);
    const { run, commit } = await push(world, 'second');
    const waiting = await world.work();
    expect(waiting).toMatchObject({ id: run.id, state: 'queued', message: HELD, revision: commit });
    expect(await decisions(world, run.id)).toEqual({ [REDIS]: 'held', [DASHY]: 'held' });
    expect(await world.steps(run.id)).toEqual({});
    expect(await world.work()).toBeNull();
    const newest = await world.commit(files('third'));
    await world.store.endHold(id);
    expect(await world.work()).toMatchObject({
      id: run.id,
      state: 'succeeded',
      revision: newest,
      attempt: 1,
    });
    expect(world.tasks()).toEqual([`redis.sync ${newest}`, `dashy.sync ${newest}`]);
    expect(await world.work()).toBeNull();
  });

  it('lets later pushes cover the earlier ones', async () => {
    const world = await syncedWorld();
    const { id } = await hold(world);
    const first = await push(world, 'second');
    await world.work();
    const last = await push(world, 'third');
    expect(await world.work()).toMatchObject({ id: last.run.id, state: 'queued', message: HELD });
    await world.store.endHold(id);
    await world.work();
    expect(await world.store.run(first.run.id)).toMatchObject({
      state: 'superseded',
      coveredBy: last.run.id,
    });
    expect(world.tasks()).toEqual([`redis.sync ${last.commit}`, `dashy.sync ${last.commit}`]);
  });

  it.each<[string, Partial<SyncInput>]>([
    ['a forced sync', { selection: { mode: 'all' }, force: true }],
    ['a sync of named services', { selection: { mode: 'services', services: [REDIS] }, force: true }],
  ])('also stops %s', async (_, input) => {
    const world = await syncedWorld();
    const { id } = await hold(world);
    const { id: runId } = await asked(world, input);
    expect(await world.work()).toMatchObject({ id: runId, state: 'queued', message: HELD });
    expect(world.tasks()).toEqual([]);
    await world.store.endHold(id);
    expect(await world.work()).toMatchObject({ id: runId, state: 'succeeded' });
    expect(world.tasks()[0]).toMatch(/^redis/);
  });

  it('does not stop a push that changes nothing, nor a dry run, which shows it', async () => {
    const world = await syncedWorld();
    await hold(world);
    await push(world, '', { 'README.md': 'more' });
    expect(await world.work()).toMatchObject({ state: 'succeeded', message: 'No services required sync' });
    await world.commit(files('second'));
    const { id } = await asked(world, { selection: { mode: 'all' }, dryRun: true });
    const message = 'Dry run: 0 service(s) would be synced, 2 held';
    expect(await world.work()).toMatchObject({ id, state: 'succeeded', message });
    expect(await decisions(world, id)).toEqual({ [REDIS]: 'held', [DASHY]: 'held' });
  });

  it('leaves nothing due for reconcile, also if a service is removed', async () => {
    const world = await syncedWorld();
    await hold(world);
    await world.commit(files('second'));
    await world.shell(['rm', '--quiet', '-r', 'platform/02.dashy']);
    await world.commit({});
    expect((await world.due()).services).toEqual([]);
  });

  it('keeps reconcile from writing the config hashes of what it stops', async () => {
    const world = await syncedWorld();
    const outside = new Map<string, string>();
    world.options.outside = {
      hashes: {
        read: async (services) => ({
          found: new Map(services.map((service) => [service, outside.get(service) ?? null])),
          problems: new Map(),
          failure: null,
        }),
        write: async ({ service, value }) => void outside.set(service, value),
      },
      store: world.store,
      selfHeal: false,
      now: Date.now,
    };
    const { id } = await hold(world, [REDIS]);
    await world.due();
    expect([...outside.keys()]).toEqual([DASHY]);
    await world.store.endHold(id);
    await world.due();
    expect([...outside.keys()]).toEqual([DASHY, REDIS]);
  });

  it('ends by itself', async () => {
    const world = await syncedWorld();
    await hold(world, null, { until: Date.now() + 2_000 });
    const { run } = await push(world, 'second');
    expect(await world.work()).toMatchObject({ state: 'queued', message: HELD });
    expect(await world.work()).toBeNull();
    await expect
      .poll(() => world.work(), { timeout: 10_000 })
      .toMatchObject({ id: run.id, state: 'succeeded' });
  });
});

describe('A hold on one service', () => {
  it('lets the others run, and the service runs after the hold at the newest commit', async () => {
    const world = await syncedWorld();
    const { id } = await hold(world, [REDIS]);
    const { run, commit } = await push(world, 'second');
    expect(await world.work()).toMatchObject({ id: run.id, state: 'queued', message: HELD });
    expect(await decisions(world, run.id)).toEqual({ [REDIS]: 'held', [DASHY]: 'run' });
    expect(await world.steps(run.id)).toEqual({ [REDIS]: 'skipped', [DASHY]: 'succeeded' });
    expect(world.tasks()).toEqual([`dashy.sync ${commit}`]);
    expect((await world.due()).services).toEqual([]);
    expect(await world.work()).toBeNull();
    const newest = await world.commit({ 'platform/01.redis/compose.yaml': 'third' });
    await world.store.endHold(id);
    const message = '2 service(s) synced successfully';
    expect(await world.work()).toMatchObject({ id: run.id, state: 'succeeded', revision: newest, message });
    expect(await world.steps(run.id)).toEqual({ [REDIS]: 'succeeded', [DASHY]: 'succeeded' });
    expect(world.tasks()).toEqual([`dashy.sync ${commit}`, `redis.sync ${newest}`]);
    expect(await world.work()).toBeNull();
  });

  it('lets no run of an older commit end as done, although a newer commit was synced without the service', async () => {
    const world = await syncedWorld();
    const { id } = await hold(world, [REDIS]);
    const before = await world.commit({ 'platform/01.redis/compose.yaml': 'second' });
    const newer = await push(world, '', { 'platform/02.dashy/compose.yaml': 'third' });
    expect(await world.work()).toMatchObject({ id: newer.run.id, state: 'queued', message: HELD });
    const input = { revision: before, announced: [REDIS] };
    const late = await world.ask({ trigger: { source: 'webhook', actor: 'octocat' }, input });
    expect(await world.work()).toMatchObject({ id: late.id, state: 'queued', message: HELD });
    expect(await world.store.run(newer.run.id)).toMatchObject({ state: 'superseded', coveredBy: late.id });
    await world.store.endHold(id);
    expect(await world.work()).toMatchObject({ id: late.id, state: 'succeeded', revision: newer.commit });
    expect(world.tasks()).toEqual([`dashy.sync ${newer.commit}`, `redis.sync ${newer.commit}`]);
  });

  it('makes a push wait that changes nothing else', async () => {
    const world = await syncedWorld();
    await hold(world, [REDIS]);
    const { run } = await push(world, '', { 'platform/01.redis/compose.yaml': 'second' });
    expect(await world.work()).toMatchObject({ id: run.id, state: 'queued', message: HELD });
    const later = await push(world, '', { 'platform/02.dashy/compose.yaml': 'third' });
    expect(await world.work()).toMatchObject({ id: later.run.id, state: 'queued', message: HELD });
    expect(world.tasks()).toEqual([`dashy.sync ${later.commit}`]);
  });

  it('asks again by force for what a forced sync left out', async () => {
    const world = await syncedWorld();
    const { id } = await hold(world, [REDIS]);
    await asked(world, { selection: { mode: 'all' }, force: true });
    expect(await world.work()).toMatchObject({ state: 'succeeded' });
    expect(world.tasks()[0]).toMatch(/^dashy/);
    await world.store.endHold(id);
    expect(await world.work()).toMatchObject({ state: 'succeeded', trigger: { actor: 'grace' } });
    expect(world.tasks()[1]).toMatch(/^redis/);
  });

  it('makes a push wait that otherwise only has services that need the held one', async () => {
    const world = await createSyncWorld();
    await world.commit({ 'README.md': '' });
    await world.ask({ trigger: { source: 'sync_api' }, input: { selection: { mode: 'all' } } });
    await world.work();
    const { id } = await hold(world, [REDIS]);
    const rules = `needs:\n  ${DASHY}: [${REDIS}]\n`;
    const { run } = await push(world, '', { ...files('first'), '.iac-runner.yaml': rules });
    expect(await world.work()).toMatchObject({ id: run.id, state: 'queued', message: HELD });
    expect(await decisions(world, run.id)).toEqual({ [REDIS]: 'held', [DASHY]: 'held' });
    await world.store.endHold(id);
    const message = '2 service(s) synced successfully';
    expect(await world.work()).toMatchObject({ id: run.id, state: 'succeeded', message });
  });

  it('waits on for a second hold when the first one ends', async () => {
    const world = await syncedWorld();
    const first = await hold(world, [REDIS]);
    const second = await hold(world, null, { by: 'grace', reason: 'Holidays' });
    const { run } = await push(world, 'second');
    expect(await world.work()).toMatchObject({ message: HELD });
    await world.store.endHold(first.id);
    const message = 'Held by grace: Holidays';
    expect(await world.work()).toMatchObject({ id: run.id, state: 'queued', message });
    await world.store.endHold(second.id);
    expect(await world.work()).toMatchObject({ id: run.id, state: 'succeeded' });
  });
});

describe('A rollback while a hold stands', () => {
  async function rolledBack(world: SyncWorld, more: Partial<SyncInput>) {
    const [first = ''] = [(await world.store.ledger('sync:main')).entries.get(REDIS)?.synced?.commit];
    await push(world, 'second');
    await world.work();
    world.forgetTasks();
    const set = await hold(world);
    const selection = { mode: 'services' as const, services: [REDIS] };
    const run = await asked(world, { selection, revision: first, ...more });
    return { run, first, set };
  }

  it('waits like everything else, and then goes back to its commit', async () => {
    const world = await syncedWorld();
    const { run, first, set } = await rolledBack(world, {});
    expect(await world.work()).toMatchObject({ id: run.id, state: 'queued', message: HELD });
    expect((await world.store.ledger('sync:main')).pins.get(REDIS)).toBeUndefined();
    await world.store.endHold(set.id);
    expect(await world.work()).toMatchObject({ id: run.id, state: 'succeeded', revision: first });
    expect((await world.store.ledger('sync:main')).pins.get(REDIS)).toBe(first);
  });

  it('passes over it when an admin says so, which is noted, and its retry does not', async () => {
    const world = await syncedWorld();
    world.fail('redis.sync');
    const { run, first } = await rolledBack(world, { overrideHold: true });
    expect(await world.work()).toMatchObject({ id: run.id, state: 'failed' });
    expect(world.tasks()).toEqual([`redis.sync ${first}`]);
    expect(await world.notices(run.id)).toContain(`The request passes over a hold. ${HELD}`);
    await retryRun({ store: world.store, promoteAgain: noPromotion }, run.id, 'grace');
    expect(await world.work()).toMatchObject({ state: 'queued', message: HELD });
  });
});
