/** The ends of tasks, their reports, and the effect on the next run. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { obtainedInvoke } from './support/obtained.ts';
import { ALL_IDS, commitChange, syncedAt, writeRecordedService } from './support/platform-services.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { pushRun, readLog, readPage } from './support/pushed-run.ts';
import { acceptedRun, sync } from './support/run-actions.ts';
import { shareStage } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';

/** Every process that was started for a task so far, in order. */
async function invocations({ folder }: Stage): Promise<string[]> {
  const text = await readFile(join(folder, 'state', 'invocations'), 'utf8').catch(() => '');
  return text.split('\n').filter((task) => task !== '');
}

/** The path of the result file, in Python. */
const REPORT = 'Path(os.environ["IAC_RESULT_FILE"])';

describe('The outcome of a task', () => {
  const shared = shareStage('outcomes', () => ({
    INVOKE_COMMAND: ['sh', join(PROJECT_ROOT, 'e2e/support/counted-invoke.sh'), ...obtainedInvoke()].join(
      ' ',
    ),
  }));

  it('that fails makes the run fail, lets all other services run, and makes the next push try it again', async () => {
    const { stage, runner } = shared();
    const { repository, journal, github } = stage;
    await repository.write('platform/01.redis/compose.yaml', 'services: {}\n');
    const bad = await commitChange(repository, ['platform/postgres', 'platform/signoz'], 'Break redis');
    const run = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'failed');
    expect(run).toMatchObject({ reason: 'step_failed', message: '1/3 service(s) failed to sync' });
    expect(run.steps).toMatchObject([
      { id: 'platform/postgres', state: 'succeeded', exit_code: 0 },
      { id: 'platform/redis', state: 'failed', exit_code: 1 },
      { id: 'platform/signoz', state: 'succeeded', exit_code: 0 },
    ]);
    expect(await readLog(runner, run.run_id, 'platform/redis')).toContain('compose.yaml names no image');
    await github.statuses.waitFor({ sha: bad, state: 'failure' });
    expect(github.statuses.latest(bad)).toMatchObject({ description: '1/3 service(s) failed to sync' });

    const other = await commitChange(repository, ['platform/dashy'], 'Something else');
    const again = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'failed');
    expect(again.message).toBe('1/2 service(s) failed to sync');
    expect(await syncedAt(journal, other)).toEqual(['platform/dashy', 'platform/redis']);

    await repository.git('checkout', '--quiet', `${bad}~1`, '--', 'platform/01.redis');
    const repaired = await repository.commit('Repair redis');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(await syncedAt(journal, repaired)).toEqual(['platform/redis']);
  });

  it('is what its result file says: a failure in it counts whatever the exit code, and details are shown', async () => {
    const { stage, runner } = shared();
    const details = 'hash 1f2e \\x1b[31mred\\x1b[0m <b>bold</b>\\nsecond line';
    const bodies: Record<string, string> = {
      lied: `${REPORT}.write_text('{"action": "failed", "details": "the engine said no"}')`,
      honest: `${REPORT}.write_text('{"action": "failed"}')\nsys.exit(7)`,
      created: `import json\n${REPORT}.write_text(json.dumps({"action": "created", "details": "${details}"}))`,
      skipped: `${REPORT}.write_text('{"action": "skipped", "details": "nothing to do"}')`,
      garbage: `${REPORT}.write_bytes(b"\\x00\\xff{]")`,
      unknown: `${REPORT}.write_text('{"action": "exploded"}')`,
      huge: `${REPORT}.write_text('{"action": "updated", "details": "' + "x" * 3000000 + '"}')`,
      linked: `${REPORT}.symlink_to("/etc/hostname")`,
      endless: `${REPORT}.symlink_to("/dev/zero")`,
      folder: `${REPORT}.mkdir()`,
      pipe: `os.mkfifo(os.environ["IAC_RESULT_FILE"])`,
      silent: 'print("done")',
    };
    const folders = Object.keys(bodies).map((name) => `platform/06.${name}`);
    for (const [name, body] of Object.entries(bodies)) {
      await writeRecordedService(stage.repository, `platform/06.${name}`, body);
    }
    const { runId } = await pushRun(stage, runner, 'Services that report');
    const run = await runner.waitForRun(runId, 'failed');
    for (const folder of folders) await stage.repository.remove(folder);
    await runner.waitForRun((await pushRun(stage, runner, 'Remove them')).runId, 'succeeded');

    expect(run.message).toBe('2/12 service(s) failed to sync');
    const said = new Map(run.steps.map(({ id, state, message }) => [id.slice(9), { state, message }]));
    const failed = (words: string) => ({ state: 'failed', message: expect.stringContaining(words) });
    expect(said.get('lied')).toEqual(failed('the engine said no'));
    expect(said.get('honest')).toEqual(failed('7'));
    expect(said.get('created')?.message).toMatch(/^Created: hash 1f2e/);
    expect(said.get('skipped')).toEqual({ state: 'succeeded', message: 'Skipped: nothing to do' });
    expect(said.get('silent')).toEqual({ state: 'succeeded', message: 'Synced' });
    for (const name of ['garbage', 'unknown', 'huge', 'linked', 'endless', 'folder', 'pipe']) {
      const message = 'Synced (its result file could not be read)';
      expect(said.get(name), name).toEqual({ state: 'succeeded', message });
    }
    const html = await readPage(runner, `/runs/${runId}`);
    expect(html).toContain('&lt;b&gt;bold&lt;/b&gt;');
    expect(html).not.toContain('\u001b');
  });

  it('that succeeded is not repeated while nothing changes: no process is started', async () => {
    const { stage, runner } = shared();
    const first = await sync(shared(), { all: true });
    expect(first.message).toMatch(/service\(s\) synced successfully|No services required sync/);
    const before = await invocations(stage);
    expect([...new Set(before)].filter((task) => task === 'fr-app.sync')).toHaveLength(1);
    const journalled = (await stage.journal.read()).syncs.length;

    const again = await sync(shared(), { all: true });
    expect(again.message).toBe('No services required sync');
    expect(again.steps.map(({ id }) => id).toSorted()).toEqual(ALL_IDS);
    for (const { state, message } of again.steps) {
      expect(state).toBe('skipped');
      expect(message).toMatch(/^Unchanged since run [0-9a-f-]{36}\.$/);
    }
    await sync(shared(), { services: ['platform/redis', 'finance_report/app'] });
    const dry = await sync(shared(), { services: ['platform/redis'], force: true, dry_run: true });
    expect(dry).toMatchObject({ message: 'Dry run: 1 service(s) would be synced' });
    expect(dry.steps).toMatchObject([
      { id: 'platform/redis', state: 'skipped', message: expect.stringContaining('Would be synced') },
    ]);
    const { deliveryId } = stage.github.deliveries.at(-1) ?? { deliveryId: '' };
    acceptedRun(await stage.github.redeliver(deliveryId));
    expect((await runner.runs()).filter(({ state }) => state === 'queued' || state === 'running')).toEqual(
      [],
    );
    expect(await invocations(stage)).toEqual(before);
    expect((await stage.journal.read()).syncs).toHaveLength(journalled);

    const forced = await sync(shared(), { services: ['platform/redis'], force: true });
    expect(forced.message).toBe('1 service(s) synced successfully');
    expect((await invocations(stage)).slice(before.length)).toEqual(['redis.sync']);
  });

  it('of a dry run is not reported to GitHub', async () => {
    const { stage, runner } = shared();
    const head = await commitChange(stage.repository, ['platform/redis'], 'For a dry run');
    await stage.repository.push();
    const before = await invocations(stage);
    const dry = await sync(shared(), { all: true, dry_run: true });
    expect(dry).toMatchObject({ revision: head, message: 'Dry run: 1 service(s) would be synced' });
    expect(await invocations(stage)).toEqual(before);
    // A real run reports its status after the dry run, so a status of the dry run would be there as well.
    await sync(shared(), { services: ['platform/redis'] });
    const { targetUrl } = await stage.github.statuses.waitFor({ sha: head, state: 'success' });
    expect(targetUrl).not.toContain(dry.run_id);
    const statuses = stage.github.statuses
      .history(head)
      .filter((status) => status.targetUrl?.includes(dry.run_id));
    expect(statuses).toEqual([]);
    expect((await runner.getJson(`/runs/${dry.run_id}`)).body).toMatchObject({ dry_run: true });
  });
});
