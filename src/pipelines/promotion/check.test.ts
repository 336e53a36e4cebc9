/** What a run may do in an environment that promotes. */

import { expect, it } from 'vitest';
import { placeInput, scopeOf } from '../../runs/sync/place.ts';
import { createPromotionWorld, PRODUCTION } from './promotion-world.fixture.ts';

const REDIS = 'platform/redis';
const FILES = { 'platform/01.redis/deploy.py': '1', 'platform/02.dashy/deploy.py': '1' };

it('A promotion runs what was shown, in the workspace of its environment, and notes the commit there', async () => {
  const world = await createPromotionWorld();
  const revision = await world.pushToStaging(FILES);
  world.forgetTasks();
  await world.askToPromote(revision);
  expect(await world.work()).toMatchObject({
    state: 'succeeded',
    message: '2 service(s) synced successfully',
  });
  expect(world.tasks().toSorted()).toEqual([`dashy.sync ${revision}`, `redis.sync ${revision}`]);
  const ledger = await world.store.ledger(scopeOf(PRODUCTION));
  expect([ledger.examined?.commit, ledger.entries.get(REDIS)?.synced?.commit]).toEqual([revision, revision]);
});

it('An environment that promotes follows no branch, whoever asks', async () => {
  const world = await createPromotionWorld();
  const revision = await world.pushToStaging(FILES);
  world.forgetTasks();
  await world.ask({ trigger: { source: 'webhook' }, input: { ...placeInput(PRODUCTION), revision } });
  expect(await world.work()).toMatchObject({
    state: 'errored',
    reason: 'not_promotable',
    message: 'production takes only what staging holds: promote it',
  });
  expect(world.tasks()).toEqual([]);
});

it('Nothing runs without the approval that the environment asks for', async () => {
  const world = await createPromotionWorld('any');
  const revision = await world.pushToStaging(FILES);
  world.forgetTasks();
  await world.askToPromote(revision);
  expect(await world.work()).toMatchObject({ state: 'errored', reason: 'not_approved' });
  await world.ask({
    trigger: { source: 'sync_api' },
    input: { ...placeInput(PRODUCTION), revision, intent: 'exact', selection: { mode: 'all' } },
  });
  expect(await world.work()).toMatchObject({ state: 'errored', reason: 'not_approved' });
  expect(world.tasks()).toEqual([]);
});

it('A promotion with broken glass runs without an approval', async () => {
  const world = await createPromotionWorld('other');
  const revision = await world.pushToStaging(FILES);
  await world.askToPromote(revision, { breakGlass: true });
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
});

it('A service that was not shown does not run', async () => {
  const world = await createPromotionWorld();
  const revision = await world.pushToStaging(FILES);
  world.forgetTasks();
  await world.askToPromote(revision, { services: [{ service: REDIS, from: null }] });
  expect(await world.work()).toMatchObject({
    state: 'failed',
    reason: 'promotion_changed',
    message: 'Nothing was promoted: platform/dashy would run now, and was not shown',
  });
  expect(world.tasks()).toEqual([]);
});

it('A promotion never goes back: an older commit runs nothing after a newer one', async () => {
  const world = await createPromotionWorld();
  const first = await world.pushToStaging(FILES);
  const second = await world.pushToStaging({ 'platform/01.redis/deploy.py': '2' });
  await world.askToPromote(second);
  await world.work();
  world.forgetTasks();
  await world.askToPromote(first, { services: [{ service: REDIS, from: null }] });
  expect(await world.work()).toMatchObject({ state: 'superseded', reason: 'newer_already_synced' });
  expect(world.tasks()).toEqual([]);
});
