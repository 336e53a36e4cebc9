import { describe, expect, it } from 'vitest';
import { createSyncWorld, type SyncWorld } from '../sync/sync-world.fixture.ts';

const REDIS = 'platform/redis';
const DASHY = 'platform/dashy';
const MINUTE_MS = 60_000;
const RULES = { '.iac-runner.yaml': `needs:\n  ${DASHY}: [${REDIS}]\n` };

function redis(content: string): Record<string, string> {
  return { 'platform/01.redis/deploy.py': '', 'platform/01.redis/compose.yaml': content };
}

function dashy(content: string): Record<string, string> {
  return { 'platform/02.dashy/deploy.py': '', 'platform/02.dashy/compose.yaml': content };
}

async function push(world: SyncWorld, files: Record<string, string>, before: string | null = null) {
  const commit = await world.commit(files);
  const { id } = await world.pushed(commit, before);
  const run = await world.work();
  expect(run?.id).toBe(id);
  return { commit, state: run?.state, message: run?.message, steps: await world.steps(id) };
}

function askFor(world: SyncWorld, service: string, force = false) {
  const selection = { mode: 'services' as const, services: [service] };
  return world.ask({ trigger: { source: 'sync_api' }, input: { selection, force } });
}

/** Both are synced; then redis fails, and dashy with it. */
async function worldWhereRedisFails(): Promise<SyncWorld> {
  const world = await createSyncWorld();
  expect(await push(world, { ...RULES, ...redis('one'), ...dashy('one') })).toMatchObject({
    state: 'succeeded',
  });
  world.forgetTasks();
  world.fail('redis.sync');
  expect((await push(world, { ...redis('two'), ...dashy('two') })).steps).toEqual({
    [REDIS]: 'failed',
    [DASHY]: 'blocked',
  });
  expect(world.tasks()).toHaveLength(1);
  world.forgetTasks();
  return world;
}

describe('A service that needs one whose last sync failed', () => {
  it('is not run by reconcile until both are due, and then runs after it', async () => {
    const world = await worldWhereRedisFails();
    world.clock.now = Date.now();
    expect((await world.due()).services).toEqual([]);
    world.repair('redis.sync');
    world.clock.now = Date.now() + 2 * MINUTE_MS;
    const { head, services, postponed } = await world.due();
    expect(services).toEqual([REDIS, DASHY]);
    await world.ask({ trigger: { source: 'reconcile' }, input: { revision: head, postponed } });
    expect(await world.work()).toMatchObject({ state: 'succeeded' });
    expect(world.tasks()).toEqual([`redis.sync ${head}`, `dashy.sync ${head}`]);
  });

  it('is blocked if a request names it, except by force', async () => {
    const world = await worldWhereRedisFails();
    const { id } = await askFor(world, DASHY);
    expect(await world.work()).toMatchObject({
      state: 'failed',
      reason: 'step_failed',
      message: '1/1 service(s) failed to sync',
    });
    expect(await world.store.steps(id)).toMatchObject([
      { state: 'blocked', message: `Needs ${REDIS}, whose last sync failed.` },
    ]);
    expect(world.tasks()).toEqual([]);
    await askFor(world, DASHY, true);
    expect(await world.work()).toMatchObject({ state: 'succeeded' });
    expect(world.tasks()).toHaveLength(1);
  });

  it('runs again once that one has succeeded by itself', async () => {
    const world = await worldWhereRedisFails();
    world.repair('redis.sync');
    await askFor(world, REDIS);
    expect(await world.work()).toMatchObject({ state: 'succeeded' });
    expect((await world.due()).services).toEqual([DASHY]);
  });
});

describe('A service that needs one that was never synced', () => {
  it('is blocked if the other one is new', async () => {
    const world = await createSyncWorld();
    const before = await world.commit({ ...RULES, ...dashy('one') });
    await push(world, dashy('two'), before);
    await world.commit(redis('one'));
    const { id } = await askFor(world, DASHY, false);
    await world.commit(dashy('three'));
    expect(await world.work()).toMatchObject({ state: 'failed' });
    expect(await world.store.steps(id)).toMatchObject([
      { state: 'blocked', message: `Needs ${REDIS}, which was never synced.` },
    ]);
  });

  it('runs if both were on the branch before the first push', async () => {
    const world = await createSyncWorld();
    const before = await world.commit({ ...RULES, ...redis('one'), ...dashy('one') });
    const pushed = await push(world, dashy('two'), before);
    expect(pushed).toMatchObject({ state: 'succeeded', steps: { [DASHY]: 'succeeded' } });
    expect(world.tasks()).toEqual([`dashy.sync ${pushed.commit}`]);
  });

  it('and the services that need it are blocked too', async () => {
    const world = await createSyncWorld();
    const vault = { 'platform/03.vault/deploy.py': '' };
    const chain = { '.iac-runner.yaml': `needs:\n  ${DASHY}: [${REDIS}]\n  platform/vault: [${DASHY}]\n` };
    await push(world, { ...chain, ...redis('one'), ...dashy('one'), ...vault });
    world.fail('redis.sync');
    await push(world, redis('two'));
    const { state, steps } = await push(world, { ...dashy('two'), 'platform/03.vault/compose.yaml': 'two' });
    // A push is no reason to wait with redis, so it is tried again, too.
    expect({ state, steps }).toEqual({
      state: 'failed',
      steps: { [REDIS]: 'failed', [DASHY]: 'blocked', 'platform/vault': 'blocked' },
    });
  });
});
