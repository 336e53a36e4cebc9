/** What docs/environments.md says of promotions: its examples, its approvals, and the subcommand. */

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { runBounded } from './support/bounded-command.ts';
import { examplesOf, installProgram, runInShell } from './support/document-examples.ts';
import { askAs, beginEnvironments, type Environments, promote } from './support/environments.ts';
import { runProgram } from './support/runner.ts';

const DOCUMENT = 'environments.md';
const PRODUCTION_STATUS = 'IaC Runner / Sync (production)';
/** The names in the examples stand for these. */
const SERVICE = 'platform/redis';
const NEW_COMMIT = 'dbfca230c189fba44c44305c61585409a687d007';
const OLD_COMMIT = '3f1c9a20c1b2a3d4e5f60718293a4b5c6d7e8f90';
const RUN = '019a7c3e-53a2-7d1f-9c55-0d7e5b8f2a61';

const runSchema = z.looseObject({
  run_id: z.string(),
  state: z.string(),
  environment: z.string().optional(),
});
const runsSchema = z.object({ runs: z.array(runSchema) });

/** Pushes a change of `apps/web`, and waits until staging has it. */
async function pushToStaging({ push, runner }: Environments, content: string, app = 'web'): Promise<string> {
  const { commit, runId } = await push(app, content);
  await runner.waitForRun(runId, 'succeeded');
  return commit;
}

/** Lets bob approve everything that waits, and resolves when nothing is left to do. */
async function approveAll({ ask, runner }: Environments): Promise<void> {
  const { runs } = runsSchema.parse((await ask('bob', '/runs')).body);
  for (const { run_id: id, state } of runs) {
    if (state === 'awaiting_approval') await ask('bob', `/runs/${id}/approve`, {});
    await runner.waitForRun(id, 'final');
  }
}

async function approve({ ask, runner }: Environments, run: string, state: string) {
  expect(await ask('bob', `/runs/${run}/approve`, {})).toMatchObject({ status: 200 });
  return runner.waitForRun(run, state);
}

async function takeBack({ ask, runner }: Environments, commit: string): Promise<void> {
  const body = { to: commit, environment: 'production' };
  const answer = await ask('olga', '/services/apps/web/rollback', body);
  await runner.waitForRun(z.object({ run_id: z.string() }).parse(answer.body).run_id, 'succeeded');
}

describe('The examples of docs/environments.md', () => {
  const commands = examplesOf(DOCUMENT, 'sh');
  const answers = examplesOf(DOCUMENT, 'json').map((text) =>
    z.record(z.string(), z.unknown()).parse(JSON.parse(text)),
  );

  it('do what the text says', async (context) => {
    if (!(await runBounded(['curl', '--version'], 10_000)).ok) context.skip('curl is not installed');
    const world = await beginEnvironments('promotion-examples', { production: ['approval: any'] });
    const { stage, runner } = world;
    const bin = await installProgram(stage.folder);
    const had: string[] = [];
    for (const content of ['first', 'second']) {
      had.push(await pushToStaging(world, content));
      await promote(world, 'olga', {}, 'awaiting_approval');
      await approveAll(world);
    }
    expect(commands.length).toBeGreaterThan(5);
    for (const [index, example] of commands.entries()) {
      const commit = await pushToStaging(world, `change ${index}`);
      const waiting = await promote(world, 'olga', {}, 'awaiting_approval');
      const before = had.at(-2) ?? '';
      const script = example
        .replaceAll('https://iac.example.com', runner.url)
        .replaceAll(SERVICE, 'apps/web')
        .replaceAll(NEW_COMMIT, commit)
        .replaceAll(OLD_COMMIT, before)
        .replaceAll(RUN, waiting);
      const environment = { IAC_RUNNER_URL: runner.url, IAC_RUNNER_TOKEN: 'ada-token-of-a-test' };
      const { exitCode, stdout, stderr } = await runInShell(script, bin, environment);
      expect({ example, exitCode, stderr }).toEqual({ example, exitCode: 0, stderr: '' });
      expect(stdout).toContain(example.includes('/promote?') ? commit : '/runs/');
      await approveAll(world);
      const shown = example.includes('/rollback') ? before : commit;
      expect((await world.seen()).at(-1)).toBe(`production production production apps/web ${shown}`);
      had.push(shown);
    }
  });

  it('show the members that the answers have', async () => {
    const world = await beginEnvironments('promotion-answers', { production: ['approval: any'] });
    await pushToStaging(world, '1');
    const shown = await world.ask('vera', '/promote?environment=production');
    const asked = await world.ask('olga', '/promote', { environment: 'production' });
    const members = [shown, asked].map(({ body }) => Object.keys(z.looseObject({}).parse(body)));
    expect(members).toEqual(answers.map((answer) => Object.keys(answer)));
  });
});

describe('iac-runner promote', () => {
  it('asks for a promotion, follows it, and exits with what became of it', async () => {
    const world = await beginEnvironments('promote-command');
    const { stage, runner } = world;
    const command = (person: string, ...args: string[]) =>
      runProgram(['promote', ...args], {
        ...stage.runnerOptions,
        environment: { IAC_RUNNER_URL: runner.url, IAC_RUNNER_TOKEN: `${person}-token-of-a-test` },
      });
    const first = await pushToStaging(world, '1');
    const followed = await command('olga', 'production', '--reason', 'Release 1', '--follow');
    expect(followed).toMatchObject({ exitCode: 0, stderr: '' });
    expect(followed.stdout).toContain(`: apps/web at ${first}\n`);
    expect(followed.stdout).toContain('run succeeded 1 service(s) synced successfully');
    const second = await pushToStaging(world, '2');
    const json = await command('olga', 'production', '--service', 'apps/web', '--revision', second, '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      status: 'accepted',
      revision: second,
      services: ['apps/web'],
    });
    await writeFile(join(world.state, 'production-fails'), '');
    await pushToStaging(world, '3');
    expect(await command('olga', 'production', '--follow')).toMatchObject({ exitCode: 1 });
    expect(await command('vera', 'production')).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('This needs the role operator'),
    });
    expect(await command('olga', 'production', '--break-glass', '--reason', 'Fire')).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('break_glass needs the role admin'),
    });
    expect((await world.ask('ada', '/audit')).body).toMatchObject({
      entries: [
        { actor: 'olga', action: 'promote_break_glass', result: 'refused (403)' },
        { actor: 'vera', action: 'promote', result: 'refused (403)' },
        { actor: 'olga', action: 'promote', result: 'done' },
        ...[expect.anything(), expect.anything()],
      ],
    });
    expect(await command('olga')).toMatchObject({ exitCode: 2 });
  });
});

describe('An approval', () => {
  it('is for what was shown: nothing runs after production has changed', async () => {
    const world = await beginEnvironments('promotion-changed', { production: ['approval: any'] });
    const first = await pushToStaging(world, '1');
    await approve(world, await promote(world, 'olga', {}, 'awaiting_approval'), 'succeeded');
    await pushToStaging(world, '2');
    await approve(world, await promote(world, 'olga', {}, 'awaiting_approval'), 'succeeded');
    await pushToStaging(world, '3');
    const waiting = await promote(world, 'olga', {}, 'awaiting_approval');
    await takeBack(world, first);
    expect(await approve(world, waiting, 'failed')).toMatchObject({
      reason: 'promotion_changed',
      message: 'Nothing was promoted: a rollback has pinned apps/web',
    });
    expect((await world.seen()).at(-1)).toBe(`production production production apps/web ${first}`);
  });

  it('may be given by a name among the approvers, whatever the role, and not by the one who asked', async () => {
    const rules = ['approval: other', 'approvers: [vera, olga]'];
    const world = await beginEnvironments('promotion-approvers', { production: rules });
    await pushToStaging(world, '1');
    const run = await promote(world, 'olga', {}, 'awaiting_approval');
    expect(await world.ask('olga', `/runs/${run}/reject`, {})).toMatchObject({ status: 403 });
    expect(await world.ask('vera', `/runs/${run}/approve`, {})).toMatchObject({ status: 200 });
    await world.runner.waitForRun(run, 'succeeded');
    expect(await world.ask('ada', `/runs/${run}/approve`, {})).toMatchObject({ status: 409 });
  });

  it('is not needed any more when a newer promotion was asked for, and nobody gives it for ever', async () => {
    const world = await beginEnvironments('promotion-waits', {
      production: ['approval: any'],
      environment: { APPROVAL_TIMEOUT: '8' },
    });
    const { runner } = world;
    await pushToStaging(world, '1');
    const named = await promote(world, 'olga', { services: ['apps/web'] }, 'awaiting_approval');
    const older = await promote(world, 'olga', {}, 'awaiting_approval');
    const newer = await promote(world, 'olga', {}, 'awaiting_approval');
    expect(await runner.getJson(`/runs/${older}`)).toMatchObject({
      body: { state: 'superseded', covered_by: newer },
    });
    expect(await runner.getJson(`/runs/${named}`)).toMatchObject({ body: { state: 'awaiting_approval' } });
    for (const run of [named, newer]) {
      expect(await runner.waitForRun(run, 'cancelled')).toMatchObject({ reason: 'approval_expired' });
    }
  });
});

describe('A promotion that fails in a service while another one is held', () => {
  it('is followed, when the hold ends, by a run for the held service under the same approval', async () => {
    const world = await beginEnvironments('promotion-rest', { production: ['approval: other'] });
    const { ask, runner, state, stage } = world;
    for (const app of ['web', 'db']) await pushToStaging(world, '1', app);
    const hold = { reason: 'Its disk is moved', environment: 'production', services: ['apps/db'] };
    const held = z.looseObject({ id: z.string() }).parse((await ask('olga', '/holds', hold)).body);
    await writeFile(join(state, 'production-fails'), '');
    const promoted = await promote(world, 'olga', {}, 'awaiting_approval');
    const failed = await approve(world, promoted, 'failed');
    expect(failed.steps.map(({ id, state: of }) => [id, of])).toEqual([
      ['apps/db', 'skipped'],
      ['apps/web', 'failed'],
    ]);
    await rm(join(state, 'production-fails'));
    // A crash does not forget what is left to do.
    await runner.kill();
    const second = await world.restart('');
    expect(await askAs(second, 'olga', `/holds/${held.id}/release`, {})).toMatchObject({ status: 204 });
    const rest = await second.waitForRun((run) => run.rest_of === promoted, 'succeeded');
    expect(rest).toMatchObject({ promotion: { services: [{ service: 'apps/db', from: null }] } });
    const production = (await world.seen()).filter((line) => line.startsWith('production'));
    expect(production.map((line) => line.split(' ')[3])).toEqual(['apps/web', 'apps/db']);
    await stage.github.statuses.waitFor({
      sha: String(rest.revision),
      state: 'success',
      context: PRODUCTION_STATUS,
    });
  });
});
