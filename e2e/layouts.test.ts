/** The whole program on repositories with layouts of their own: from a push to the deletion and renaming of a service. */

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type Layout, layouts, writeLayout, writePrograms } from './support/layouts.ts';
import { obtainedInvoke } from './support/obtained.ts';
import { appendLine } from './support/platform-services.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { buildPullRequestPayload } from './support/pull-request-payload.ts';
import { acceptedRun, actOnRun } from './support/run-actions.ts';
import { runProgram } from './support/runner.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import type { Stage } from './support/stage.ts';
import { makeTemporaryFolder, removeFolder } from './support/temporary-folder.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const explanationSchema = z.looseObject({
  services: z.array(z.looseObject({ service: z.string(), decision: z.string() })),
});

/** The services that the tasks were started for at a commit, sorted. */
async function startedAt({ folder }: Stage, commit: string): Promise<string[]> {
  const calls = await readFile(join(folder, 'state/calls'), 'utf8').catch(() => '');
  const lines = calls.split('\n').map((line) => line.split(' '));
  return [...new Set(lines.flatMap(([service = '', at]) => (at === commit ? [service] : [])))].toSorted();
}

async function stageOf(layout: Layout): Promise<Stage> {
  if (layout.rules === null) {
    const stage = await setTestStage('layout');
    for (const [path, content] of Object.entries(layout.files)) await stage.repository.write(path, content);
    await stage.repository.commit('Add services');
    await stage.repository.push();
    return stage;
  }
  const source = await makeTemporaryFolder('layout-source');
  try {
    await writeLayout(layout, source);
    return await setTestStage('layout', source);
  } finally {
    await removeFolder(source);
  }
}

async function startOn(layout: Layout) {
  const stage = await stageOf(layout);
  const programs = await writePrograms(join(stage.folder, 'programs'), obtainedInvoke());
  const environment = {
    PATH: `${programs}:${process.env.PATH}`,
    PREVIEWS: 'true',
    TASK_ENV: 'IAC_EXAMPLE_STATE,IAC_JOURNAL,INTERNAL_DOMAIN',
    // A repository without tasks needs no task runner.
    ...(layout.rules === null ? {} : { INVOKE_COMMAND: 'no-such-task-runner' }),
  };
  const runner = await stage.start({ environment });
  await until('the first look at the branch', () =>
    runner.logs().find(({ msg }) => String(msg).startsWith('the branch is seen for the first time')),
  );
  return { stage, runner, environment };
}

type World = Awaited<ReturnType<typeof startOn>>;

/** Commits and pushes. Returns the services in the answer, the commit, the run, and the services that were started. */
async function pushed({ stage, runner }: World, state: 'succeeded' | 'failed' = 'succeeded') {
  const commit = await stage.repository.commit('Change it');
  const answer = await stage.push(runner);
  const run = await runner.waitForRun(acceptedRun(answer), state);
  const { services } = z.looseObject({ services: z.array(z.string()) }).parse(answer.body);
  const steps = Object.fromEntries(run.steps.map((step) => [step.id, step.state]));
  return { commit, run, services, steps, started: await startedAt(stage, commit) };
}

const touch = ({ stage }: World, path: string) => appendLine(stage.repository, path, '# more');

async function explained({ stage, environment }: World, ...args: string[]) {
  const options = { ...stage.runnerOptions, environment };
  const { stdout } = await runProgram(['explain', '-C', stage.repository.clone, '--json', ...args], options);
  return runsIn(JSON.parse(stdout));
}

function runsIn(explanation: unknown): string[] {
  const { services } = explanationSchema.parse(explanation);
  return services.flatMap(({ service, decision }) => (decision === 'run' ? [service] : []));
}

/** Opens a pull request with the change, and returns the services that its preview names. */
async function previewed(world: World, path: string): Promise<string[]> {
  const { stage, runner } = world;
  const { repository, github } = stage;
  await repository.git('checkout', '--quiet', '-B', 'pull-7', 'main');
  await touch(world, path);
  const head = await repository.commit('Pull request');
  await repository.push({ refspec: 'HEAD:refs/pull/7/head' });
  await repository.git('checkout', '--quiet', 'main');
  const payload = buildPullRequestPayload({ action: 'opened', fullName: github.fullName, number: 7, head });
  const delivery = await github.deliver({
    url: `${runner.url}/webhook`,
    secret: WEBHOOK_SECRET,
    event: 'pull_request',
    payload,
  });
  const run = await runner.waitForRun(acceptedRun(delivery), 'succeeded');
  return runsIn(run.why);
}

describe.each(layouts())('A repository with $name', (layout) => {
  const { fileOf, idOf, placeOf, shared } = layout;
  const [web, db] = layout.ids;

  it('is described in at most 15 lines', () => {
    expect((layout.rules ?? '').trim().split('\n').length).toBeLessThanOrEqual(15);
  });

  it('is synced, explained, previewed, retried, rolled back and reconciled by its own layout', async () => {
    const world = await startOn(layout);
    const { stage, runner } = world;
    const { repository, folder } = stage;

    const listed = await runProgram(['services', repository.clone], stage.runnerOptions);
    expect(listed.stdout).toMatch(new RegExp(`^\\d\\d  ${web} +\\S`, 'm'));

    await touch(world, fileOf('web'));
    const first = await pushed(world);
    expect(first).toMatchObject({ services: [web], started: [web], steps: { [web]: 'succeeded' } });
    // The first answer may be from before the first look at the branch.
    await until('/ready to answer 200', async () =>
      (await runner.getJson('/ready', null)).status === 200 ? true : null,
    );
    expect(await explained(world, 'HEAD~1..HEAD')).toEqual([web]);
    expect(await previewed(world, fileOf('db'))).toEqual([db]);

    const named = await runner.signedPost('/sync', { services: [db] });
    await runner.waitForRun(acceptedRun(named), 'succeeded');
    expect(await startedAt(stage, first.commit)).toEqual([db, web].toSorted());
    expect(await runner.signedPost('/sync', { services: [idOf('nothing')] })).toMatchObject({ status: 400 });

    await repository.write(layout.other, 'Words.\n');
    await repository.commit('Write words');
    expect((await stage.push(runner)).body).toMatchObject({ status: 'no_changes' });

    await writeFile(join(folder, 'state/broken'), '');
    await touch(world, fileOf('web'));
    const failed = await pushed(world, 'failed');
    expect(failed.steps).toEqual({ [web]: 'failed' });
    await rm(join(folder, 'state/broken'));
    const retried = acceptedRun(await actOnRun(runner, failed.run.run_id, 'retry'));
    expect((await runner.waitForRun(retried, 'succeeded')).revision).toBe(failed.commit);

    const options = { ...stage.runnerOptions, environment: world.environment };
    const command = (...args: string[]) => runProgram([...args, '--url', runner.url, '--follow'], options);
    await rm(join(folder, 'state/calls'));
    expect(await command('rollback', web, '--to', first.commit)).toMatchObject({ exitCode: 0 });
    expect(await startedAt(stage, first.commit)).toEqual([web]);
    expect(await command('unpin', web)).toMatchObject({ exitCode: 0 });

    await repository.write(shared.path, `${layout.files[shared.path] ?? ''}# more\n`);
    const everything = await pushed(world);
    expect(everything.services).toEqual(shared.announced);
    expect(everything.started).toEqual(expect.arrayContaining([db, web].toSorted()));

    await runner.kill();
    await touch(world, fileOf('db'));
    const missed = await repository.commit('Its delivery is lost');
    await repository.push();
    const restarted = await stage.start({ environment: world.environment });
    await restarted.waitForRun((run) => run.revision === missed, 'succeeded');
    expect(await startedAt(stage, missed)).toEqual([db]);
  });

  it('follows services that are added, renamed and deleted', async () => {
    const world = await startOn(layout);
    const { repository } = world.stage;

    await repository.git('mv', placeOf('web'), placeOf('shop'));
    const renamed = await pushed(world);
    expect(renamed.services).toEqual([idOf('shop'), web].toSorted());
    expect(renamed).toMatchObject({ steps: { [web]: 'removed', [idOf('shop')]: 'succeeded' } });
    expect(renamed.started).toEqual([idOf('shop')]);

    await repository.remove(placeOf('shop'));
    const deleted = await pushed(world);
    expect(deleted).toMatchObject({ services: [idOf('shop')], steps: { [idOf('shop')]: 'removed' } });
    expect(deleted.started).toEqual([]);

    await mkdir(join(repository.clone, placeOf('web'), '..'), { recursive: true });
    await repository.git('checkout', 'HEAD~2', '--', placeOf('web'));
    const added = await pushed(world);
    expect(added).toMatchObject({ services: [web], started: [web] });
  });
});

describe('A service that needs another one', () => {
  it('is blocked in every run after the other one failed, unless it is named by force', async () => {
    const layout = layouts().find(({ rules }) => rules?.includes('needs:'));
    if (!layout) throw new Error('No example has needs.');
    const [web, db] = layout.ids;
    const world = await startOn(layout);
    const { stage, runner } = world;
    await writeFile(join(stage.folder, 'state/broken'), '');
    await touch(world, layout.fileOf('web'));
    await touch(world, layout.fileOf('db'));
    expect((await pushed(world, 'failed')).steps).toEqual({ [db]: 'failed', [web]: 'blocked' });
    await rm(join(stage.folder, 'state/broken'));
    const asked = async (more: object, state: string) => {
      const answer = await runner.signedPost('/sync', { services: [web], ...more });
      return (await runner.waitForRun(acceptedRun(answer), state)).steps;
    };
    expect(await asked({}, 'failed')).toMatchObject([
      { id: web, state: 'blocked', message: `Needs ${db}, whose last sync failed.` },
    ]);
    expect(await asked({ force: true }, 'succeeded')).toMatchObject([{ id: web, state: 'succeeded' }]);
  });
});

describe('docs/your-repository.md', () => {
  it('has one example for each of these layouts', async () => {
    const text = await readFile(join(PROJECT_ROOT, 'docs/your-repository.md'), 'utf8');
    expect(text.match(/^```yaml$/gm)).toHaveLength(layouts().filter(({ rules }) => rules !== null).length);
  });
});
