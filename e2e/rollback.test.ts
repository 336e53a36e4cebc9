/** Rollbacks: a service that was rolled back is pinned, shown as pinned, and left alone until it is unpinned. */

import { rm, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { writeShellService } from './support/hand-made-service.ts';
import { commitChange, lastSynced, syncedAt, writeGatedService } from './support/platform-services.ts';
import { pushRun, waitForSync } from './support/pushed-run.ts';
import { acceptedRun, actOnRun } from './support/run-actions.ts';
import { type Runner, runProgram } from './support/runner.ts';
import { openGate } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const REDIS = 'platform/redis';
const DASHY = 'platform/dashy';

const servicesSchema = z.object({
  services: z.array(z.looseObject({ service: z.string(), pinned_to: z.string().nullable() })),
});

async function pinOf(runner: Runner, service: string): Promise<string | null | undefined> {
  const { services } = servicesSchema.parse((await runner.getJson('/services')).body);
  return services.find((entry) => entry.service === service)?.pinned_to;
}

/** Changes both services, pushes, and waits until the run has ended. */
async function pushBoth(stage: Stage, runner: Runner, why: string): Promise<string> {
  const commit = await commitChange(stage.repository, [REDIS, DASHY], why);
  await waitForSync(runner, acceptedRun(await stage.push(runner)));
  return commit;
}

function command(stage: Stage, runner: Runner, ...args: string[]) {
  return runProgram([...args, '--url', runner.url], stage.runnerOptions);
}

describe('iac-runner rollback', () => {
  it('takes services back and keeps them there until iac-runner unpin', async () => {
    const stage = await setTestStage('rollback');
    let runner = await stage.start();
    const good = await pushBoth(stage, runner, 'Good');
    await pushBoth(stage, runner, 'Bad');
    const rollback = await command(stage, runner, 'rollback', REDIS, '--to', good, '--follow');
    expect(rollback).toMatchObject({ exitCode: 0, stderr: '' });
    expect(rollback.stdout).toMatch(/^Run [\w-]+: platform\/redis\n/);
    expect(await lastSynced(stage.journal, [REDIS])).toEqual({ [REDIS]: good });
    expect(await pinOf(runner, REDIS)).toBe(good);
    expect(await pinOf(runner, DASHY)).toBeNull();

    // A push does not move it.
    const pushed = await pushBoth(stage, runner, 'Later');
    expect(await syncedAt(stage.journal, pushed)).toEqual([DASHY]);
    // A sync of everything does not move it and says why.
    const all = await runner.waitForRun(
      acceptedRun(await runner.signedPost('/sync', { all: true, force: true })),
      'succeeded',
    );
    expect(all.steps.find(({ id }) => id === REDIS)).toMatchObject({
      state: 'skipped',
      message: `Pinned to ${good.slice(0, 8)} by a rollback, until it is unpinned.`,
    });
    // Reconciliation after a crash does not move it.
    await runner.kill();
    const later = await commitChange(stage.repository, [REDIS, DASHY], 'Its webhook is lost');
    await stage.repository.push();
    runner = await stage.start({ environment: { RECONCILE_INTERVAL: '1' } });
    await until('the lost push to be found', async () => {
      return (await lastSynced(stage.journal, [DASHY]))[DASHY] === later ? true : null;
    });
    expect(await lastSynced(stage.journal, [REDIS])).toEqual({ [REDIS]: good });
    expect(await pinOf(runner, REDIS)).toBe(good);

    const unpin = await command(stage, runner, 'unpin', REDIS, '--follow');
    expect(unpin).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await lastSynced(stage.journal, [REDIS])).toEqual({ [REDIS]: later });
    expect(await pinOf(runner, REDIS)).toBeNull();
    const last = await pushBoth(stage, runner, 'Last');
    expect(await lastSynced(stage.journal, [REDIS, DASHY])).toEqual({ [REDIS]: last, [DASHY]: last });
    expect((await stage.journal.read()).overlaps).toEqual([]);
  });

  it('that failed can be retried, and nothing moves the service forward automatically', async () => {
    const stage = await setTestStage('rollback-fails');
    const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '0' } });
    const { repository, folder } = stage;
    const service = 'platform/fickle';
    const script = (version: number) =>
      `[ ! -e "$IAC_EXAMPLE_STATE/broken" ] || exit 1\necho ${version} >> "$IAC_EXAMPLE_STATE/fickle"`;
    await writeShellService(repository, 'platform/06.fickle', script(1));
    const first = await pushRun(stage, runner, 'One');
    await runner.waitForRun(first.runId, 'succeeded');
    await writeShellService(repository, 'platform/06.fickle', script(2));
    await runner.waitForRun((await pushRun(stage, runner, 'Two')).runId, 'succeeded');
    await writeFile(`${folder}/state/broken`, '');
    const back = await runner.signedPost('/sync', { services: [service], revision: first.commit });
    const failed = await runner.waitForRun(acceptedRun(back), 'failed');
    expect(await pinOf(runner, service)).toBe(first.commit);
    const forward = await runner.signedPost('/sync', { services: [service] });
    expect((await runner.waitForRun(acceptedRun(forward), 'succeeded')).steps).toMatchObject([
      { id: service, state: 'skipped' },
    ]);
    await rm(`${folder}/state/broken`);
    const retried = acceptedRun(await actOnRun(runner, failed.run_id, 'retry'));
    expect(await runner.waitForRun(retried, 'succeeded')).toMatchObject({
      revision: first.commit,
      message: '1 service(s) synced successfully',
    });
    expect(await pinOf(runner, service)).toBe(first.commit);
  });

  it('to a commit that leaves the branch before the run starts deploys and pins nothing, and says so', async () => {
    const stage = await setTestStage('rollback-overtaken');
    const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '0' } });
    const { repository } = stage;
    const kept = await pushBoth(stage, runner, 'Kept');
    const withdrawn = await pushBoth(stage, runner, 'Withdrawn');
    await writeGatedService(repository, 'platform/06.busy', 'busy');
    await pushRun(stage, runner, 'Keep it busy');
    await stage.journal.waitForStart('platform/busy');
    const back = acceptedRun(await runner.signedPost('/sync', { services: [REDIS], revision: withdrawn }));
    await repository.git('reset', '--quiet', '--hard', kept);
    await writeGatedService(repository, 'platform/06.next', 'next');
    await repository.commit('Rewritten');
    await stage.push(runner, { force: true });
    await openGate(stage, 'busy');
    expect(await runner.waitForRun(back, 'failed')).toMatchObject({
      reason: 'unknown_revision',
      message: `${withdrawn.slice(0, 8)} is not on main any more, so nothing was taken back`,
    });
    await openGate(stage, 'next');
    expect(await syncedAt(stage.journal, withdrawn)).toEqual([DASHY, REDIS]);
    expect(await pinOf(runner, REDIS)).toBeNull();
  });

  it('to a commit that is not on the branch or does not exist is refused and changes nothing', async () => {
    const stage = await setTestStage('rollback-refused');
    const runner = await stage.start();
    await pushBoth(stage, runner, 'Begin');
    const { repository } = stage;
    await repository.git('checkout', '--quiet', '-b', 'elsewhere');
    const foreign = await repository.commit('Never pushed to main');
    await repository.push({ refspec: 'HEAD:refs/heads/elsewhere' });
    for (const to of [foreign, 'f'.repeat(40)]) {
      const { exitCode, stderr } = await command(stage, runner, 'rollback', REDIS, '--to', to);
      expect({ exitCode, stderr }).toEqual({
        exitCode: 4,
        stderr: `iac-runner rollback: ${runner.url} answered 400: The commit ${to} is not on main.`,
      });
    }
    expect(await pinOf(runner, REDIS)).toBeNull();
    expect(await runner.runs()).toHaveLength(1);
    for (const args of [
      ['rollback', REDIS],
      ['rollback', '--to', foreign],
      ['rollback', REDIS, '--to', 'main'],
      ['unpin'],
    ]) {
      expect((await command(stage, runner, ...args)).exitCode).toBe(2);
    }
  });
});
