import { expect, it } from 'vitest';
import { createWorld } from '../../git/test-support.ts';
import { createBranchRules } from './branch-rules.ts';

const OWN =
  'services:\n  - { match: "apps/{nn}.{service}/deploy.py", id: "{service}", task: "{service}.sync" }\n';
const NONE = 'f'.repeat(40);

async function createRules(lastGood: string | null = null) {
  const world = await createWorld();
  return {
    world,
    rules: createBranchRules({
      mirror: world.mirror,
      environment: null,
      lastGoodRules: async () => lastGood,
      waitMs: 20_000,
    }),
  };
}

it('createBranchRules names services by the rules of the branch, and fetches if it never did', async () => {
  const { world, rules } = await createRules();
  await world.commit({ '.iac-runner.yaml': OWN });
  expect(await rules.namedBy({ paths: ['apps/01.web/compose.yaml'], after: NONE })).toEqual({
    services: ['web'],
    isSure: true,
  });
  expect(await rules.namedBy({ paths: ['platform/01.redis/compose.yaml'], after: NONE })).toEqual({
    services: [],
    isSure: true,
  });
});

it('createBranchRules names services by the built-in rules if the branch has none', async () => {
  const { world, rules } = await createRules();
  await world.commit({ README: '' });
  expect(await rules.namedBy({ paths: ['libs/a', 'platform/01.redis/x'], after: NONE })).toEqual({
    services: ['__all__', 'platform/redis'],
    isSure: true,
  });
});

it('createBranchRules is not sure of a push that changes the rules, nor of later ones until the branch is fetched', async () => {
  const { world, rules } = await createRules();
  await world.commit({ README: '' });
  const before = await rules.namedBy({ paths: ['README'], after: NONE });
  const after = await world.commit({ '.iac-runner.yaml': OWN });
  const changing = await rules.namedBy({ paths: ['.iac-runner.yaml'], after });
  const next = await rules.namedBy({ paths: ['apps/01.web/x'], after: NONE });
  expect([before, changing, next].map(({ isSure }) => isSure)).toEqual([true, false, false]);
  await world.mirror.fetch();
  expect(await rules.namedBy({ paths: ['apps/01.web/x'], after: NONE })).toEqual({
    services: ['web'],
    isSure: true,
  });
});

it('createBranchRules uses the last good rules if the file at the head is broken', async () => {
  const { world, rules } = await createRules(OWN);
  await world.commit({ '.iac-runner.yaml': 'services: 1\n' });
  expect(await rules.namedBy({ paths: ['apps/01.web/x'], after: NONE })).toEqual({
    services: ['web'],
    isSure: true,
  });
});

it('createBranchRules is not sure while the repository cannot be reached, and finds out later', async () => {
  const { world, rules } = await createRules();
  expect(await rules.namedBy({ paths: ['platform/01.redis/x'], after: NONE })).toEqual({
    services: ['platform/redis'],
    isSure: false,
  });
  await world.commit({ '.iac-runner.yaml': OWN });
  expect(await rules.namedBy({ paths: [], after: NONE })).toEqual({ services: [], isSure: true });
});

it('createBranchRules does not wait for a fetch that hangs', async () => {
  const world = await createWorld();
  const mirror = { ...world.mirror, fetch: () => new Promise<never>(() => undefined) };
  const rules = createBranchRules({ mirror, environment: null, lastGoodRules: async () => null, waitMs: 50 });
  expect(await rules.namedBy({ paths: [], after: NONE })).toEqual({ services: [], isSure: false });
});

const PLAYBOOKS = `services:
  - match: "playbooks/{service}.yml"
    id: "{service}"
    run: [ansible-playbook, "playbooks/{service}.yml"]
    inputs: ["playbooks/{service}.yml", "roles/**"]
  - { match: "**/{service}/Chart.yaml", run: [helm, upgrade, "{service}"] }
`;

it('names the services of any layout by the services that the branch has and those that the push adds', async () => {
  const { world, rules } = await createRules();
  await world.commit({
    '.iac-runner.yaml': PLAYBOOKS,
    'playbooks/web.yml': '',
    'playbooks/db.yml': '',
    'deep/er/chart/Chart.yaml': '',
  });
  const named = async (...paths: string[]) => (await rules.namedBy({ paths, after: NONE })).services;
  expect(await named('playbooks/web.yml')).toEqual(['web']);
  expect(await named('roles/a/b')).toEqual(['db', 'web']);
  expect(await named('deep/er/chart/templates/a.yaml')).toEqual(['deep/er/chart']);
  expect(await named('deep/er/README')).toEqual([]);
  expect(await named('x/new/Chart.yaml', 'x/new/values.yaml')).toEqual(['x/new']);
  expect(await named('playbooks/db.yml', 'playbooks/db2.yml')).toEqual(['db', 'db2']);
});

it('does not name a folder that is no service, and is not sure if the push before it was not fetched', async () => {
  const { world, rules } = await createRules();
  const one = 'services: [{ match: "stacks/{service}/up", run: [make] }]\n';
  const head = await world.commit({ '.iac-runner.yaml': one, 'stacks/web/up': '' });
  const push = { paths: ['stacks/docs/notes'], after: NONE };
  expect(await rules.namedBy({ ...push, before: head })).toEqual({ services: [], isSure: true });
  expect(await rules.namedBy({ ...push, before: 'e'.repeat(40) })).toEqual({ services: [], isSure: false });
});

it('names a service that two folders claim, wherever they are', async () => {
  const { world, rules } = await createRules();
  const one = 'services: [{ match: "**/{service}/up", id: "{service}", run: [make] }]\n';
  await world.commit({ '.iac-runner.yaml': one, 'a/web/up': '', 'b/c/web/up': '' });
  expect((await rules.namedBy({ paths: ['b/c/web/x'], after: NONE })).services).toEqual(['web']);
});
