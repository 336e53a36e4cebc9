/** A sync of repositories with layouts, commands and checks of their own. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createSyncWorld, type SyncWorld } from './sync-world.fixture.ts';

const RULES = '.iac-runner.yaml';
const ALL = { trigger: { source: 'sync_api' as const }, input: { selection: { mode: 'all' as const } } };

/** The script of a service writes what it got to `$STATE/<service>`. */
const SCRIPT = '#!/bin/sh\necho "$PWD|$*|$DB_TOKEN|$WEB_TOKEN|$REGION" >> "$STATE/calls"\n';

async function worldWith(rules: string, files: Record<string, string>): Promise<SyncWorld> {
  const world = await createSyncWorld();
  Object.assign(world.options, {
    taskEnvironment: { DB_TOKEN: 'd', WEB_TOKEN: 'w', REGION: 'eu' },
  });
  await world.commit({ [RULES]: rules, ...files });
  return world;
}

function calls({ state, workspace }: SyncWorld): string[] {
  const file = join(state, 'calls');
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8').replaceAll(workspace.directory, '.').trim().split('\n').toSorted();
}

async function pushed(world: SyncWorld, files: Record<string, string | null>) {
  await world.pushed(await world.commit(files));
  return world.work();
}

/** The steps of the run of a push. */
async function stepsOf(world: SyncWorld, files: Record<string, string | null>) {
  const run = await pushed(world, files);
  return world.steps(run?.id ?? '');
}

it('runs the command of the rule in its folder, with the placeholders replaced and only the named secrets', async () => {
  const world = await worldWith(
    `services:
  - match: "stacks/{service}/up"
    run: [sh, ../../bin/up, "{service}", "a b;{folder}", "{revision}"]
    cwd: "{folder}"
    secrets: [DB_TOKEN]
`,
    { 'stacks/web/up': '', 'bin/up': SCRIPT },
  );
  await world.ask(ALL);
  const run = await world.work();
  expect(run).toMatchObject({ state: 'succeeded' });
  expect(calls(world)).toEqual([`./stacks/web|web a b;stacks/web ${run?.revision}|d||eu`]);
});

const CHECKED = (verify: string, more = '') => `services:
  - match: "stacks/{service}/up"
    id: "{service}"
    run: [sh, bin/up, run]
    verify: ${verify}
${more}`;

it('checks a service after its success, in the same environment, and fails it if the check fails', async () => {
  const world = await worldWith(CHECKED('[sh, bin/up, "check {service}"]'), {
    'stacks/web/up': '',
    'bin/up': SCRIPT,
  });
  await world.ask(ALL);
  const run = await world.work();
  expect(run).toMatchObject({ state: 'succeeded' });
  expect(await world.store.steps(run?.id ?? '')).toMatchObject([{ message: 'Synced, verified' }]);
  expect(calls(world)).toEqual(['.|check web|d|w|eu', '.|run|d|w|eu']);

  const failed = await pushed(world, { [RULES]: CHECKED('[sh, -c, "exit 7"]') });
  expect(failed).toMatchObject({ state: 'failed', reason: 'step_failed' });
  expect(await world.store.steps(failed?.id ?? '')).toMatchObject([
    { state: 'failed', exitCode: 7, message: 'Synced, but its check failed with exit code 7' },
  ]);
  const missing = await pushed(world, { [RULES]: CHECKED('[no-such-program]') });
  expect(missing).toMatchObject({ state: 'failed', reason: 'step_failed' });
});

it('gives the check only the time that the task left', async () => {
  const world = await worldWith(CHECKED('[sleep, "60"]', '    timeout: 1\n'), {
    'stacks/web/up': '',
    'bin/up': SCRIPT,
  });
  await world.ask(ALL);
  expect(await world.work()).toMatchObject({ state: 'timed_out', reason: 'step_timed_out' });
});

it('does not check a service that failed', async () => {
  const world = await worldWith(CHECKED('[sh, bin/up, check]'), {
    'stacks/web/up': '',
    'bin/up': `${SCRIPT}exit 1\n`,
  });
  await world.ask(ALL);
  expect(await world.work()).toMatchObject({ state: 'failed' });
  expect(calls(world)).toEqual(['.|run|d|w|eu']);
});

it('fails only the service whose program does not exist', async () => {
  const world = await worldWith(
    'services: [{ match: "stacks/{service}/up", id: "{service}", run: ["{folder}/up"] }]\n',
    { 'stacks/web/up': '' },
  );
  await world.ask(ALL);
  expect(await world.work()).toMatchObject({ state: 'failed', reason: 'step_failed' });
});

it('runs the services whose rule changed, and no service because the built-in rules moved into the file', async () => {
  const world = await createSyncWorld();
  await world.commit({ 'platform/01.redis/deploy.py': '', 'platform/02.db/deploy.py': '' });
  await world.ask(ALL);
  await world.work();
  world.forgetTasks();
  const rules = (redis: string) => `services:
  - { match: "platform/01.{service}/deploy.py", id: "platform/{service}", task: "${redis}" }
  - { match: "platform/{nn}.{service}/deploy.py", id: "platform/{service}", task: "{service}.sync" }
`;
  expect(await pushed(world, { [RULES]: rules('{service}.sync') })).toMatchObject({ state: 'succeeded' });
  expect(world.tasks()).toEqual([]);
  const commit = await world.commit({ [RULES]: rules('{service}.up') });
  await world.pushed(commit);
  await world.work();
  expect(world.tasks()).toEqual([`redis.up ${commit}`]);
});

it('does not run a service because a file is ignored from now on', async () => {
  const plain =
    'services: [{ match: "stacks/{service}/up", id: "{service}", run: [sh, bin/up] }]\nshared: [bin]\n';
  const world = await worldWith(plain, {
    'stacks/web/up': '',
    'stacks/web/README.md': '',
    'bin/up': SCRIPT,
    'bin/README.md': '',
  });
  await world.ask(ALL);
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
  expect(await stepsOf(world, { [RULES]: `${plain}ignore: ["**/*.md"]\n` })).toEqual({});
  expect(await stepsOf(world, { 'stacks/web/README.md': 'x', 'bin/README.md': 'x' })).toEqual({});
  expect((await world.due()).services).toEqual([]);
  expect(await stepsOf(world, { 'stacks/web/conf': 'x' })).toEqual({ web: 'succeeded' });
  expect(await stepsOf(world, { [RULES]: plain, 'bin/README.md': null })).toEqual({ web: 'succeeded' });
});

it('has a service for each playbook of a folder, and follows its deletion and its new name', async () => {
  const world = await worldWith(
    `services:
  - match: "playbooks/{service}.yml"
    id: "{service}"
    run: [sh, bin/up, "{service}"]
    inputs: ["playbooks/{service}.yml", roles]
`,
    { 'playbooks/web.yml': '', 'playbooks/db.yml': '', 'roles/a': '', 'bin/up': SCRIPT },
  );
  await world.ask(ALL);
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
  expect(await stepsOf(world, { 'playbooks/web.yml': 'x' })).toEqual({ web: 'succeeded' });
  expect(await stepsOf(world, { 'roles/a': 'x' })).toEqual({ db: 'succeeded', web: 'succeeded' });
  const run = await pushed(world, { 'playbooks/db.yml': null, 'playbooks/db2.yml': '' });
  expect(await world.steps(run?.id ?? '')).toEqual({ db: 'removed', db2: 'succeeded' });
  const event = await world.store.latestEvent(run?.id ?? '', 'run.explained');
  expect(event?.explanation.services.find(({ service }) => service === 'db')?.because).toBe(
    'Its file is no longer in playbooks; what it deployed is left as it is.',
  );
});
