/** What a promotion would change, and which commits the other environment holds. */

import { expect, it } from 'vitest';
import { createPromotionWorld, type PromotionWorld } from './promotion-world.fixture.ts';
import { ageOf, propose, proposeNewest, unproven } from './propose.ts';

const REDIS = 'platform/redis';
const DASHY = 'platform/dashy';

function service(name: string, content: string): Record<string, string> {
  const number = name === 'redis' ? '01' : '02';
  return { [`platform/${number}.${name}/deploy.py`]: content };
}

async function newest({ promotion }: PromotionWorld): Promise<[revision: string, services: string[]] | null> {
  const found = await proposeNewest(promotion, null);
  return found && [found.revision, found.services.map((one) => one.service)];
}

it('A first promotion into an empty ledger takes every service, and lists the commits', async () => {
  const world = await createPromotionWorld();
  const first = await world.pushToStaging({ ...service('redis', '1'), ...service('dashy', '1') });
  const second = await world.pushToStaging(service('redis', '2'));
  expect(await proposeNewest(world.promotion, null)).toEqual({
    revision: second,
    subject: 'Change',
    from: 'staging',
    services: [
      { service: REDIS, from: null },
      { service: DASHY, from: null },
    ],
    unheld: [],
    commits: [
      { id: second, subject: 'Change' },
      { id: first, subject: 'Change' },
    ],
    hasMore: false,
    pinned: [],
    newer: null,
  });
});

it('A commit whose service failed in staging is not held, and an older one is proposed', async () => {
  const world = await createPromotionWorld();
  const first = await world.pushToStaging({ ...service('redis', '1'), ...service('dashy', '1') });
  world.fail('redis.sync');
  const second = await world.pushToStaging(service('redis', '2'));
  const { unheld } = await propose(world.promotion, second, null);
  expect(unheld).toEqual([{ service: REDIS, because: expect.stringContaining('changed since') }]);
  expect(await newest(world)).toEqual([first, [REDIS, DASHY]]);
});

it('A commit between two that staging examined is held, if every service was synced with its inputs there', async () => {
  const world = await createPromotionWorld();
  await world.pushToStaging({ ...service('redis', '1'), ...service('dashy', '1') });
  // Staging sees both commits at once: dashy is synced as of this one, and redis fails as of the next one.
  const between = await world.commit(service('dashy', '2'));
  world.fail('redis.sync');
  await world.pushToStaging(service('redis', '2'));
  expect(await newest(world)).toEqual([between, [REDIS, DASHY]]);
});

it('What staging counted as deployed when it was first seen was never proven there', async () => {
  const world = await createPromotionWorld();
  const first = await world.commit({ ...service('redis', '1'), ...service('dashy', '1') });
  await world.mirror.fetch();
  await world.store.saveBaseline('sync:acme/platform:staging', first);
  expect(await newest(world)).toBeNull();
  const second = await world.pushToStaging(service('redis', '2'));
  const { unheld } = await propose(world.promotion, second, null);
  expect(unheld.map((one) => one.service)).toEqual([DASHY]);
});

it('A commit that only changes the task of a service is held when staging has run that task', async () => {
  const world = await createPromotionWorld();
  const rules = (task: string) => ({
    '.iac-runner.yaml': `services:\n  - { match: "platform/{nn}.{service}/deploy.py", task: "${task}" }\n`,
  });
  const first = await world.pushToStaging({ ...rules('{service}.sync'), ...service('redis', '1') });
  world.fail('redis.other');
  const second = await world.pushToStaging(rules('{service}.other'));
  expect((await propose(world.promotion, second, null)).unheld.map((one) => one.service)).toEqual([REDIS]);
  expect((await propose(world.promotion, first, null)).unheld).toEqual([]);
});

it('A service that is only in production needs no proof, and one that is only in staging is not promoted', async () => {
  const world = await createPromotionWorld();
  const rule = (folder: string, environment: string) =>
    `  - { match: "${folder}/{nn}.{service}/deploy.py", task: "{service}.sync", environments: [${environment}] }`;
  const revision = await world.pushToStaging({
    '.iac-runner.yaml': ['services:', rule('edge', 'production'), rule('lab', 'staging'), ''].join('\n'),
    'edge/01.cdn/deploy.py': '',
    'lab/01.probe/deploy.py': '',
  });
  expect(world.tasks()).toEqual([`probe.sync ${revision}`]);
  expect(await newest(world)).toEqual([revision, ['edge/cdn']]);
});

it('A promotion of some services leaves the others out', async () => {
  const world = await createPromotionWorld();
  world.fail('dashy.sync');
  const revision = await world.pushToStaging({ ...service('redis', '1'), ...service('dashy', '1') });
  const { services, unheld } = await propose(world.promotion, revision, [REDIS]);
  expect([services, unheld]).toEqual([[{ service: REDIS, from: null }], []]);
  const all = await propose(world.promotion, revision, null);
  expect(all.unheld.map((one) => one.service)).toEqual([DASHY]);
});

it('Nothing is proposed before staging holds anything, and nothing changes once production has it', async () => {
  const world = await createPromotionWorld();
  expect(await newest(world)).toBeNull();
  const revision = await world.pushToStaging(service('redis', '1'));
  await world.askToPromote(revision);
  expect(await world.work()).toMatchObject({ state: 'succeeded', revision });
  expect(await newest(world)).toEqual([revision, []]);
});

it('What staging has proven stays promotable when staging goes on, also at another commit with the same inputs', async () => {
  const world = await createPromotionWorld();
  const first = await world.pushToStaging({ ...service('redis', '1'), ...service('dashy', '1') });
  const same = await world.commit({ 'README.md': 'Nothing of a service' });
  await world.pushToStaging(service('redis', '2'));
  for (const revision of [first, same]) {
    expect(await propose(world.promotion, revision, null)).toMatchObject({ revision, unheld: [] });
  }
  const never = await world.commit(service('redis', '3'));
  await world.pushToStaging(service('redis', '4'));
  const { unheld } = await propose(world.promotion, never, null);
  expect(unheld.map((one) => one.service)).toEqual([REDIS]);
});

it('After a first promotion of some services, the others still count as never promoted', async () => {
  const world = await createPromotionWorld();
  const revision = await world.pushToStaging({ ...service('redis', '1'), ...service('dashy', '1') });
  const services = [{ service: REDIS, from: null }];
  await world.askToPromote(revision, { services }, { mode: 'services', services: [REDIS] });
  expect(await world.work()).toMatchObject({
    state: 'succeeded',
    message: '1 service(s) synced successfully',
  });
  expect(await newest(world)).toEqual([revision, [DASHY]]);
});

it('A request may repeat what production had, and nothing that staging failed, whatever pins it', async () => {
  const world = await createPromotionWorld();
  const first = await world.pushToStaging(service('redis', '1'));
  await world.askToPromote(first);
  await world.work();
  world.fail('redis.sync');
  const second = await world.pushToStaging(service('redis', '2'));
  const among = async (revision: string) =>
    (await unproven(world.promotion, revision, [REDIS])).map((one) => one.service);
  expect([await among(first), await among(second)]).toEqual([[], [REDIS]]);
  world.repair('redis.sync');
  const third = await world.pushToStaging(service('redis', '3'));
  await world.askToPromote(third);
  await world.work();
  const back = (revision: string) => ageOf(world.promotion, REDIS, revision);
  expect([await back(first), await back(second), await back(third)]).toEqual(['older', 'other', 'same']);
});
