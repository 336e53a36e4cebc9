/** Where services stand, with a real store, real git and real tasks. */

import { expect, it } from 'vitest';
import { GitError } from '../../errors.ts';
import { scopeOfInput } from '../../runs/sync/place.ts';
import { createSyncWorld, type SyncWorld } from '../sync/sync-world.fixture.ts';
import { createStanding } from './standing.ts';

const SCOPE = scopeOfInput({ branch: 'main' });
const REDIS = 'platform/01.redis/deploy.py';
const APP = 'platform/02.app/deploy.py';
const RULES = 'needs: { platform/app: [platform/redis] }\n';

function look(world: SyncWorld, promotes = false) {
  return createStanding({
    mirror: world.mirror,
    store: world.store,
    scope: SCOPE,
    environment: null,
    promotes,
    holds: world.store.holds,
    environmentDigest: () => '',
  });
}

async function createDeployedWorld() {
  const world = await createSyncWorld();
  const first = await world.commit({ [REDIS]: '1', [APP]: '1', '.iac-runner.yaml': RULES });
  await world.pushed(first);
  await world.work();
  return { world, first };
}

async function statesOf(world: SyncWorld) {
  const { services } = await look(world)();
  return Object.fromEntries(services.map(({ service, state }) => [service, state]));
}

it('A place that was never fetched has no head, and no services', async () => {
  const world = await createSyncWorld();
  expect(await look(world)()).toEqual({ head: null, services: [], remarks: [], problem: null });
});

it('Services that were synced at the head are up to date, with what they need', async () => {
  const { world, first } = await createDeployedWorld();
  const { head, services } = await look(world)();
  expect(head).toMatchObject({ commit: first });
  expect(services).toMatchObject([
    { service: 'platform/redis', state: 'up_to_date', behindBy: 0, wave: 1, neededBy: ['platform/app'] },
    { service: 'platform/app', state: 'up_to_date', synced: { commit: first }, needs: ['platform/redis'] },
  ]);
});

it('A service that the head changed is behind by the number of commits', async () => {
  const { world } = await createDeployedWorld();
  await world.commit({ [REDIS]: '2' });
  await world.commit({ README: 'x' });
  await world.mirror.fetch();
  const { services } = await look(world)();
  expect(services).toMatchObject([
    { service: 'platform/redis', state: 'behind', behindBy: 2, message: expect.stringMatching(/^Files in/) },
    { service: 'platform/app', state: 'up_to_date', behindBy: 0 },
  ]);
});

it('A failed service says why, and what needs it is blocked', async () => {
  const { world } = await createDeployedWorld();
  world.fail('redis.sync');
  const second = await world.commit({ [REDIS]: '2', [APP]: '2' });
  const run = await world.pushed(second);
  await world.work();
  const { services } = await look(world)();
  expect(services).toMatchObject([
    { state: 'failed', message: 'Exit code 1', lastRunId: run.id, behindBy: 1 },
    { state: 'blocked', message: expect.stringContaining('Needs platform/redis') },
  ]);
});

it('A pinned service and a held one keep their commits', async () => {
  const { world, first } = await createDeployedWorld();
  const second = await world.commit({ [REDIS]: '2' });
  await world.pushed(second);
  await world.work();
  await world.ask({
    trigger: { source: 'sync_api', actor: 'ada' },
    input: { intent: 'back', revision: first, selection: { mode: 'services', services: ['platform/redis'] } },
  });
  await world.work();
  await world.commit({ [APP]: '3' });
  await world.mirror.fetch();
  await world.store.saveHold({
    repository: null,
    environment: null,
    services: null,
    reason: 'Freeze',
    by: 'ada',
    until: null,
  });
  const { services } = await look(world)();
  expect(services).toMatchObject([
    { state: 'pinned', pin: first, synced: { commit: first }, behindBy: 2 },
    { state: 'held', message: expect.stringContaining('Held by ada: Freeze'), behindBy: 2 },
  ]);
});

it('A removed service, and one that never runs, are not shown', async () => {
  const { world } = await createDeployedWorld();
  const second = await world.commit({ [APP]: null, '.iac-runner.yaml': 'exclude: [platform/redis]\n' });
  await world.pushed(second);
  await world.work();
  expect(await statesOf(world)).toEqual({});
});

it('Nothing counts as deployed where commits are promoted, before the first promotion', async () => {
  const world = await createSyncWorld();
  await world.commit({ [REDIS]: '1' });
  const { head } = await world.mirror.fetch();
  await world.store.saveBaseline(SCOPE, head);
  expect((await look(world, true)()).services).toMatchObject([{ state: 'never', behindBy: null }]);
  expect((await look(world)()).services).toMatchObject([{ state: 'up_to_date' }]);
});

it('Rules that cannot be read at the head are named', async () => {
  const { world } = await createDeployedWorld();
  await world.commit({ '.iac-runner.yaml': 'needs: 1\n' });
  await world.mirror.fetch();
  const { remarks, services } = await look(world)();
  expect(remarks).toEqual([expect.stringContaining('.iac-runner.yaml')]);
  expect(services).toHaveLength(2);
});

it('A mirror that git cannot read is a problem with its name', async () => {
  const { world } = await createDeployedWorld();
  const head = () => Promise.reject(new GitError('unavailable', 'The disk is gone.'));
  const standing = createStanding({
    mirror: { ...world.mirror, head },
    store: world.store,
    scope: SCOPE,
    environment: null,
    promotes: false,
    holds: world.store.holds,
    environmentDigest: () => '',
  });
  expect(await standing()).toMatchObject({ services: [], problem: 'The disk is gone.' });
});
