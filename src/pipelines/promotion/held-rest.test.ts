/** What follows for held services after a promotion that failed in its other services. */

import { expect, it } from 'vitest';
import { scopeOf } from '../../runs/sync/place.ts';
import { createPromotionWorld, PRODUCTION, type PromotionWorld } from './promotion-world.fixture.ts';

const REDIS = 'platform/redis';
const FILES = { 'platform/01.redis/deploy.py': '1', 'platform/02.dashy/deploy.py': '1' };

async function hold({ store }: PromotionWorld, services: string[]) {
  const { environment } = PRODUCTION;
  const saved = await store.saveHold({
    ...{ repository: null, environment, services },
    ...{ reason: 'Freeze', by: 'ada', until: null },
  });
  if (!saved) throw new Error('The hold was refused.');
  return saved.id;
}

/** A promotion of both services, of which one is held and the other one fails. */
async function failedInPart(approval: 'none' | 'any') {
  const world = await createPromotionWorld(approval);
  const revision = await world.pushToStaging(FILES);
  const held = await hold(world, [REDIS]);
  world.fail('dashy.sync');
  world.forgetTasks();
  const run = await (approval === 'none' ? world.askToPromote(revision) : world.promoteApproved(revision));
  expect(await world.work()).toMatchObject({ id: run.id, state: 'failed', reason: 'step_failed' });
  expect(world.tasks()).toEqual([`dashy.sync ${revision}`]);
  world.forgetTasks();
  return { world, revision, run, held };
}

it.each(['none', 'any'] as const)(
  'A run with the same approval does the rest when the hold ends, and the failed service stays failed (%s)',
  async (approval) => {
    const { world, revision, run, held } = await failedInPart(approval);
    expect(await world.work()).toBeNull();
    await world.store.endHold(held);
    const rest = await world.work();
    expect(rest).toMatchObject({
      state: 'succeeded',
      message: '1 service(s) synced successfully',
      trigger: { source: 'promote_api', actor: 'ada' },
      input: { revision, rest: { of: run.id }, promotion: { services: [{ service: REDIS, from: null }] } },
    });
    expect(world.tasks()).toEqual([`redis.sync ${revision}`]);
    const { entries } = await world.store.ledger(scopeOf(PRODUCTION));
    expect(entries.get(REDIS)?.synced?.commit).toBe(revision);
    expect(entries.get('platform/dashy')?.outcome).toBe('failed');
    expect(await world.work()).toBeNull();
  },
);

it('The rest of a newer promotion takes the place of an older one', async () => {
  const { world, held, run } = await failedInPart('none');
  const newer = await world.pushToStaging({ 'platform/01.redis/deploy.py': '2' });
  await world.askToPromote(newer);
  expect(await world.work()).toMatchObject({ state: 'failed' });
  world.forgetTasks();
  await world.store.endHold(held);
  expect(await world.work()).toMatchObject({ input: { revision: newer } });
  expect(world.tasks()).toEqual([`redis.sync ${newer}`]);
  expect(await world.work()).toBeNull();
  expect(await world.store.run(run.id)).toMatchObject({ state: 'failed' });
});

it('A rest that a second hold stops keeps the approval of its first run', async () => {
  const { world, revision, held, run } = await failedInPart('any');
  const second = await hold(world, [REDIS]);
  await world.store.endHold(held);
  expect(await world.work()).toMatchObject({ state: 'queued', message: 'Held by ada: Freeze' });
  await world.store.endHold(second);
  expect(await world.work()).toMatchObject({ state: 'succeeded', input: { rest: { of: run.id } } });
  expect(world.tasks()).toEqual([`redis.sync ${revision}`]);
});
