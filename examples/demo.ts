/** A day of a platform team on this machine: pushes, a mistake and its correction, and a release. For `npm run demo`. */

import { deepEqual, equal, match } from 'node:assert/strict';
import { until } from '../e2e/support/until.ts';
import { promoteAndWatch } from './demo/promotion.ts';
import { edit, type Pushed, pushAndWatch, watchJournal } from './demo/push.ts';
import { rehearse, type Scene } from './demo/rehearsal.ts';

// A demo that was cut short must not wait for anything.
process.exit(await rehearse(story));

async function story(scene: Scene): Promise<void> {
  introduce(scene);
  await syncEverything(scene);
  const upgrade = await pushTwoServices(scene);
  const mistake = await pushMistake(scene);
  await pushCorrection(scene);
  await findNothingToDo(scene);
  await releaseToProduction(scene);
  await showPages(scene, upgrade, mistake);
}

function introduce({ narrator, runner, invokeFrom }: Scene): void {
  narrator.say(`\n${narrator.paint('bold', 'iac-runner: git push as the only deploy button')}\n`);
  narrator.line('platform', 'examples/platform, in a bare git repository made for this');
  narrator.line('tasks', `run by invoke (${invokeFrom})`);
  narrator.line('GitHub', 'a local server that sends webhooks and takes commit statuses');
  narrator.line('runner', `listening on ${runner.url}`);
  narrator.line('staging', 'gets every push to main');
  narrator.line('production', 'takes what staging has proven, when somebody else approves it');
}

async function syncEverything(scene: Scene): Promise<void> {
  const { narrator, runner } = scene;
  narrator.act('Staging is synced once, wave by wave');
  const ran = await watchJournal(scene);
  const { runId } = await syncAll(scene);
  const { steps, message } = await runner.waitForRun(runId, 'succeeded');
  for (const [wave, inWave] of Map.groupBy(steps, (step) => Number(step.wave))) {
    narrator.line(`wave ${String(wave).padStart(2, '0')}`, inWave.map(({ id }) => id).join(', '));
  }
  narrator.line('result', narrator.paint('green', message));
  const synced = (await ran()).map(({ service }) => service);
  deepEqual(synced, steps.map(({ id }) => id).sort(), 'Not every service was synced once.');
  equal(message, '12 service(s) synced successfully');
}

async function pushTwoServices(scene: Scene): Promise<Pushed> {
  scene.narrator.act('A push changes two services');
  await edit(scene, 'platform/01.redis/compose.yaml', /image: redis:\S+/, 'image: redis:8.2-alpine');
  await edit(
    scene,
    'finance_report/finance_report/10.app/compose.yaml',
    /(image: \S+):[\d.]+$/gm,
    '$1:1.15.0',
  );
  await scene.stage.repository.write('platform/UPGRADES.md', 'Redis 8 reads the files of Redis 7.\n');
  return pushAndWatch(scene, 'Move Redis to 8 and the finance report to 1.15', {
    runs: ['finance_report/app', 'platform/redis'],
    state: 'succeeded',
    status: 'success',
    message: '2 service(s) synced successfully',
  });
}

async function pushMistake(scene: Scene): Promise<Pushed> {
  scene.narrator.act('A mistake fails its own service and no other');
  const minio = 'imgae: minio/minio:RELEASE.2025-10-15T17-29-55Z';
  await edit(scene, 'platform/02.minio/compose.yaml', /image: \S+/, minio);
  await edit(scene, 'platform/04.uptime-kuma/compose.yaml', /(uptime-kuma):[\d.]+$/m, '$1:2.1.0');
  return pushAndWatch(scene, 'Move MinIO to October and Uptime Kuma to 2.1', {
    runs: ['platform/minio', 'platform/uptime-kuma'],
    state: 'failed',
    status: 'failure',
    message: '1/2 service(s) failed to sync',
  });
}

async function pushCorrection(scene: Scene): Promise<void> {
  scene.narrator.act('The mistake is corrected, and only the failed service runs');
  await edit(scene, 'platform/02.minio/compose.yaml', 'imgae:', 'image:');
  await pushAndWatch(scene, "Spell MinIO's image right", {
    runs: ['platform/minio'],
    state: 'succeeded',
    status: 'success',
    message: '1 service(s) synced successfully',
  });
}

async function findNothingToDo(scene: Scene): Promise<void> {
  const { narrator, runner, stage } = scene;
  narrator.act('Staging is requested again, and there is nothing left to do');
  const ran = await watchJournal(scene);
  const { runId, seconds } = await syncAll(scene);
  const { steps, message, revision } = await runner.waitForRun(runId, 'succeeded');
  for (const [because, skipped] of Map.groupBy(steps, (step) => step.message)) {
    narrator.line(`${skipped.length} skipped`, because);
  }
  narrator.line('result', `${narrator.paint('green', message)}, in ${seconds} s`);
  deepEqual(await ran(), [], 'A task ran though nothing had changed.');
  equal(message, 'No services required sync');
  await until('the status of this sync', () => {
    const shown = stage.github.statuses.latest(revision ?? '')?.description;
    return shown === message ? shown : null;
  });
}

/** Sends a signed request and follows its run, with the product's own command. */
async function syncAll({ narrator, command }: Scene): Promise<{ runId: string; seconds: string }> {
  narrator.line('command', 'iac-runner sync --environment staging --all --follow');
  const startedAt = performance.now();
  const output = await command('sync', '--environment', 'staging', '--all', '--follow');
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  match(output, /^Run \S+:/);
  return { runId: /^Run (\S+):/.exec(output)?.[1] ?? '', seconds };
}

async function releaseToProduction(scene: Scene): Promise<void> {
  scene.narrator.act('Production takes what staging has proven, after somebody else has approved it');
  await promoteAndWatch(scene, 'The first release', '12 service(s) synced successfully');
}

async function showPages({ narrator }: Scene, upgrade: Pushed, mistake: Pushed): Promise<void> {
  narrator.act('Every status links to the page of its run');
  for (const [subject, { link, run }] of [
    ['the upgrade', upgrade],
    ['the mistake', mistake],
  ] as const) {
    const page = await fetch(link, { headers: { accept: 'text/html' } });
    equal(page.status, 200, `The page of the run ${run.run_id} cannot be opened.`);
    match(await page.text(), new RegExp(`<span class="state" data-state="${run.state}">`));
    narrator.line(subject, link);
  }
}
