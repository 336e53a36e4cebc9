/** Several environments of one repository: each has its own tasks, secrets, ledger, statuses and holds. */

import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { beginEnvironments, PRODUCTION_SECRET, promote, STAGING_SECRET } from './support/environments.ts';
import { until } from './support/until.ts';

const STAGING_STATUS = 'IaC Runner / Sync (staging)';
const PRODUCTION_STATUS = 'IaC Runner / Sync (production)';

describe('A push', () => {
  it('reaches the environment that follows its branch, with its variables and secrets, and no other', async () => {
    const world = await beginEnvironments('environments-push');
    const { runner, stage } = world;
    const { commit, answer, runId } = await world.push('web', '1');
    expect(answer).toMatchObject({ environments: ['staging'] });
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run).toMatchObject({ environment: 'staging', repository: 'acme/platform' });
    expect(await world.seen()).toEqual([`staging staging staging apps/web ${commit}`]);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success', context: STAGING_STATUS });
    expect(stage.github.statuses.history(commit, PRODUCTION_STATUS)).toEqual([]);
    const log = await world.ask('vera', `/runs/${runId}/log`);
    expect(JSON.stringify(log.body)).toContain('The token is ****.');
    expect(JSON.stringify(log.body)).not.toContain(STAGING_SECRET);
    expect(existsSync(join(stage.folder, 'workspace/platform@staging/.git'))).toBe(true);
  });

  it('uses a secret file as it is when the run starts, and fails with its name when it is missing', async () => {
    const world = await beginEnvironments('environments-secret');
    const { runner } = world;
    await runner.waitForRun((await world.push('web', '1')).runId, 'succeeded');
    await writeFile(world.secretFile, 'another-secret-99ee\n');
    const second = await world.push('web', '2');
    await runner.waitForRun(second.runId, 'succeeded');
    const log = await world.ask('vera', `/runs/${second.runId}/log`);
    expect(JSON.stringify(log.body)).not.toContain('another-secret-99ee');
    await rm(world.secretFile);
    const third = await world.push('web', '3');
    const failed = await runner.waitForRun(third.runId, 'errored');
    expect(failed).toMatchObject({ reason: 'secret_missing' });
    expect(failed.message).toContain(world.secretFile);
    await writeFile(world.secretFile, 'back-again-11aa\n');
    const { status, body } = await world.ask('olga', `/runs/${third.runId}/retry`, {});
    expect(status).toBe(200);
    await runner.waitForRun((body as { run_id: string }).run_id, 'succeeded');
  });
});

describe('A promotion', () => {
  it('takes to production what staging holds, shows it before, and gives the commit its own status', async () => {
    const world = await beginEnvironments('environments-promote');
    const { runner, stage } = world;
    const { commit, runId } = await world.push('web', '1');
    await runner.waitForRun(runId, 'succeeded');
    const shown = await world.ask('vera', '/promote?environment=production');
    expect(shown).toMatchObject({
      status: 200,
      body: {
        environment: 'production',
        from: 'staging',
        revision: commit,
        subject: 'web: 1',
        services: [{ service: 'apps/web', from: null }],
        not_held: [],
      },
    });
    const promoted = await promote(world, 'olga', { reason: 'Release 1' });
    const run = await runner.waitForRun(promoted, 'succeeded');
    expect(run).toMatchObject({
      environment: 'production',
      revision: commit,
      promotion: { from: 'staging', services: [{ service: 'apps/web', from: null }], break_glass: false },
    });
    expect(await world.seen()).toEqual([
      `staging staging staging apps/web ${commit}`,
      `production production production apps/web ${commit}`,
    ]);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success', context: PRODUCTION_STATUS });
    const log = await world.ask('vera', `/runs/${promoted}/log`);
    expect(JSON.stringify(log.body)).not.toContain(PRODUCTION_SECRET);
    expect(await world.ask('vera', '/services?environment=production')).toMatchObject({
      body: { services: [{ service: 'apps/web', environment: 'production', synced: { commit } }] },
    });
  });

  it('of what staging does not hold is refused, and nothing runs', async () => {
    const world = await beginEnvironments('environments-unheld');
    const { runner } = world;
    await writeFile(join(world.state, 'staging-fails'), '');
    const { commit, runId } = await world.push('web', '1');
    await runner.waitForRun(runId, 'failed');
    const refused = { status: 409, body: { code: 'not_promotable', error: expect.any(String) } };
    const named = { environment: 'production', revision: commit };
    expect(await world.ask('olga', '/promote', named)).toEqual(refused);
    expect(await runner.signedPost('/sync', { all: true, environment: 'production' })).toMatchObject(refused);
    expect(await world.seen()).toHaveLength(1);
    const glass = { ...named, break_glass: true };
    expect(await world.ask('olga', '/promote', { ...glass, reason: 'Fire' })).toMatchObject({ status: 403 });
    expect(await world.ask('ada', '/promote', glass)).toMatchObject({ status: 400 });
    const run = await promote(world, 'ada', { ...glass, reason: 'Fire' });
    await runner.waitForRun(run, 'succeeded');
    expect(await runner.getJson(`/runs/${run}`)).toMatchObject({
      body: { promotion: { break_glass: true }, reason_given: 'Fire' },
    });
  });

  it('needs somebody else to approve it, and runs once, whatever is decided at the same time', async () => {
    const world = await beginEnvironments('environments-approval', { production: ['approval: other'] });
    const { runner } = world;
    const { commit, runId } = await world.push('web', '1');
    await runner.waitForRun(runId, 'succeeded');
    const run = await promote(world, 'ada', {}, 'awaiting_approval');
    expect(await world.ask('olga', `/runs/${run}/approve`, {})).toMatchObject({ status: 403 });
    expect(await world.ask('ada', `/runs/${run}/approve`, {})).toMatchObject({ status: 403 });
    const decisions = await Promise.all([
      world.ask('bob', `/runs/${run}/approve`, {}),
      world.ask('bob', `/runs/${run}/approve`, {}),
    ]);
    expect(decisions.map(({ status }) => status).toSorted()).toEqual([200, 409]);
    await runner.waitForRun(run, 'succeeded');
    expect((await world.seen()).filter((line) => line.startsWith('production'))).toEqual([
      `production production production apps/web ${commit}`,
    ]);
  });

  it('that waits for its approval keeps nothing else in production from running', async () => {
    const world = await beginEnvironments('environments-beside', { production: ['approval: any'] });
    const { runner } = world;
    const first = await world.push('web', '1');
    await runner.waitForRun(first.runId, 'succeeded');
    const one = await promote(world, 'olga', {}, 'awaiting_approval');
    await world.ask('bob', `/runs/${one}/approve`, {});
    await runner.waitForRun(one, 'succeeded');
    const second = await world.push('web', '2');
    await runner.waitForRun(second.runId, 'succeeded');
    const waiting = await promote(world, 'olga', {}, 'awaiting_approval');
    const back = await world.ask('olga', '/services/apps%2Fweb/rollback', {
      to: first.commit,
      environment: 'production',
    });
    expect(back.status).toBe(200);
    await runner.waitForRun((back.body as { run_id: string }).run_id, 'succeeded');
    expect(await runner.getJson(`/runs/${waiting}`)).toMatchObject({ body: { state: 'awaiting_approval' } });
    // The rollback pinned the service, so that the promotion would not do what was approved.
    await world.ask('bob', `/runs/${waiting}/approve`, {});
    await runner.waitForRun(waiting, 'final');
    expect((await world.seen()).filter((line) => line.startsWith('production')).at(-1)).toContain(
      first.commit,
    );
  });

  it('by itself follows each success of staging', async () => {
    const world = await beginEnvironments('environments-automatic', { production: ['automatic: true'] });
    const { runner, stage } = world;
    const { commit, runId } = await world.push('web', '1');
    await runner.waitForRun(runId, 'succeeded');
    await stage.github.statuses.waitFor({ sha: commit, state: 'success', context: PRODUCTION_STATUS });
    expect((await world.seen()).filter((line) => line.startsWith('production'))).toEqual([
      `production production production apps/web ${commit}`,
    ]);
  });
});

const MORE = `      - { name: preprod, follow: main }
      - { name: releases, follow: { tags: "v*" } }
`;

describe('Several environments', () => {
  it('that follow one branch get one push, each with a run and a delivery of its own', async () => {
    const world = await beginEnvironments('environments-several', { more: MORE });
    const { runner, stage } = world;
    const { commit, answer } = await world.push('web', '1');
    expect(answer).toMatchObject({ environments: ['staging', 'preprod'] });
    for (const environment of ['staging', 'preprod']) {
      await stage.github.statuses.waitFor({
        sha: commit,
        state: 'success',
        context: `IaC Runner / Sync (${environment})`,
      });
    }
    expect((await world.seen()).map((line) => line.split(' ')[0]).toSorted()).toEqual(['preprod', 'staging']);
    const { body } = await world.ask('vera', '/deliveries');
    const details = (body as { deliveries: { detail: string }[] }).deliveries.map(({ detail }) => detail);
    expect(details.toSorted()).toEqual([
      `Push of ${commit.slice(0, 8)} for preprod`,
      `Push of ${commit.slice(0, 8)} for staging`,
    ]);
    expect(await runner.runs()).toHaveLength(2);
  });

  it('follow tags by version: an older version that is pushed later changes nothing', async () => {
    const world = await beginEnvironments('environments-tags', { more: MORE });
    const { runner, stage } = world;
    const { commit, runId } = await world.push('web', '1');
    await runner.waitForRun(runId, 'succeeded');
    const tagged = await stage.push(runner, { refspec: 'HEAD:refs/tags/v1.10.0' });
    expect(tagged.body).toMatchObject({ status: 'accepted', environments: ['releases'] });
    await runner.waitForRun((tagged.body as { run_id: string }).run_id, 'succeeded');
    const releases = async () => (await world.seen()).filter((line) => line.startsWith('releases'));
    expect(await releases()).toEqual([`releases releases  apps/web ${commit}`]);
    await runner.waitForRun((await world.push('web', '2')).runId, 'succeeded');
    const older = await stage.push(runner, { refspec: 'HEAD:refs/tags/v1.9.0' });
    await runner.waitForRun((older.body as { run_id: string }).run_id, 'succeeded');
    expect(await releases()).toHaveLength(1);
    const other = await stage.push(runner, { refspec: 'HEAD:refs/tags/nightly' });
    expect(other.body).toEqual({ status: 'ignored', reason: 'Not main branch or a tag v*' });
  });

  it('never wait for each other, and a hold of one lets the other go on', async () => {
    const world = await beginEnvironments('environments-apart', { more: MORE });
    const { stage } = world;
    await writeFile(join(world.state, 'staging-waits'), '');
    const held = { reason: 'Freeze', environment: 'preprod' };
    expect(await world.ask('olga', '/holds', held)).toMatchObject({ status: 201 });
    expect(await world.ask('olga', '/holds', { ...held, environment: 'qa' })).toMatchObject({ status: 400 });
    const { commit } = await world.push('web', '1');
    const { statuses } = stage.github;
    await until('staging to work and preprod to be held', () => {
      const shown = ['staging', 'preprod'].map(
        (environment) => statuses.latest(commit, `IaC Runner / Sync (${environment})`)?.description,
      );
      return shown[0] === 'Syncing 1 service(s)...' && shown[1] === 'Held by olga: Freeze' ? true : null;
    });
    await stage.push(world.runner, { refspec: 'HEAD:refs/tags/v1' });
    await statuses.waitFor({ sha: commit, state: 'success', context: 'IaC Runner / Sync (releases)' });
    await rm(join(world.state, 'staging-waits'));
    await statuses.waitFor({ sha: commit, state: 'success', context: STAGING_STATUS });
    expect((await world.seen()).some((line) => line.startsWith('preprod'))).toBe(false);
  });

  it('that are taken out of the file leave what they deployed, and the server says so', async () => {
    const world = await beginEnvironments('environments-removed', { more: MORE });
    const { runner, stage } = world;
    await runner.waitForRun((await world.push('web', '1')).runId, 'succeeded');
    await until('preprod to be synced', async () =>
      (await world.seen()).some((line) => line.startsWith('preprod')) ? true : null,
    );
    await runner.stop();
    const again = await world.restart('');
    expect(
      again.logs().find(({ msg }) => String(msg).startsWith('these are not configured any more')),
    ).toMatchObject({
      gone: expect.arrayContaining(['preprod of acme/platform']),
    });
    expect(existsSync(join(stage.folder, 'workspace/platform@preprod/apps/web/deploy.sh'))).toBe(true);
    expect(await again.getJson('/services?environment=preprod')).toMatchObject({ status: 400 });
  });
});
