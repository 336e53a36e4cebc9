/** Slow, broken or full disks: the server acknowledges only what is stored, and recovers without help. */

import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeUnless } from './support/describe-unless.ts';
import { writeShellService } from './support/hand-made-service.ts';
import { injectFault, noInjection } from './support/injected-fault.ts';
import { commitChange, syncedAt, writeGatedService } from './support/platform-services.ts';
import { pushRun, readLog, waitForSync } from './support/pushed-run.ts';
import { acceptedRun, actOnRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { openGate } from './support/shared-stage.ts';
import { mountSmallDisk, noSmallDisk } from './support/small-disk.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const untraceable = noInjection();
const unmountable = noSmallDisk();
const MIB = 1024 * 1024;

interface PushAnswer {
  status: number | null;
  body: unknown;
  retryAfter: string | null;
}

/** Commits a change, pushes it, and returns the answer to the webhook. */
async function push(stage: Stage, runner: Runner, services: string[], why: string): Promise<PushAnswer> {
  await commitChange(stage.repository, services, why);
  const { status, body, headers } = await stage.push(runner);
  return { status, body, retryAfter: headers.get('retry-after') };
}

/** The ids of all runs in the database file, which must be intact. */
function storedRuns(stage: Stage, directory = `${stage.folder}/data`): string[] {
  const database = new DatabaseSync(`${directory}/iac-runner.db`, { readOnly: true });
  try {
    expect(database.prepare('PRAGMA integrity_check').get()).toMatchObject({ integrity_check: 'ok' });
    return database
      .prepare('SELECT id FROM runs ORDER BY number')
      .all()
      .map(({ id }) => String(id));
  } finally {
    database.close();
  }
}

describeUnless(untraceable, 'A failing disk', () => {
  it('F17: is not trusted: after an I/O error, nothing that was refused counts as written', async () => {
    const stage = await setTestStage('broken-disk');
    const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '0' } });
    const first = await push(stage, runner, ['platform/redis'], 'First');
    const accepted = [acceptedRun(first)];
    await runner.waitForRun(accepted[0] ?? '', 'succeeded');
    for (const call of ['fsync,fdatasync:error=EIO', 'pwrite64:error=EIO', 'pwrite64:error=ENOSPC']) {
      const fault = await injectFault(runner.pid, call);
      const refused = await push(stage, runner, ['platform/dashy'], `While ${call}`);
      await fault.stop();
      expect([call, refused]).toMatchObject([call, { status: 503, retryAfter: '5' }]);
      // The disk works again, and so does the store, without a restart.
      const after = await push(stage, runner, ['platform/minio'], `After ${call}`);
      expect([call, after]).toMatchObject([call, { status: 200 }]);
      const runId = acceptedRun(after);
      await runner.waitForRun(runId, 'succeeded');
      accepted.push(runId);
    }
    expect(storedRuns(stage)).toEqual(accepted);
    await runner.kill();
    const again = await stage.start({ environment: { RECONCILE_INTERVAL: '0' } });
    expect((await again.runs()).map(({ run_id }) => run_id)).toEqual(expect.arrayContaining(accepted));
    expect(await again.stop()).toBe(0);
  });

  it('pauses a running task and loses none of its output', async () => {
    const stage = await setTestStage('held-up');
    const runner = await stage.start();
    await writeShellService(
      stage.repository,
      'platform/06.talk',
      'for n in $(seq 1 200); do echo "line $n"; sleep 0.02; done',
    );
    const { runId } = await pushRun(stage, runner, 'Talk');
    // The fault starts only when git has done its part, because strace also affects the processes that the server
    // starts.
    await until('the first line', async () =>
      (await readLog(runner, runId)).includes('line 1\n') ? true : null,
    );
    const fault = await injectFault(runner.pid, 'fsync,fdatasync:error=EIO');
    await sleep(1_000);
    await fault.stop();
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.attempt).toBe(1);
    const log = await readLog(runner, runId, 'platform/talk');
    const lines = log.split('\n').filter((line) => line.startsWith('line '));
    expect(lines).toEqual(Array.from({ length: 200 }, (_, index) => `line ${index + 1}`));
  });
});

const readySchema = z.object({ checks: z.record(z.string(), z.looseObject({ status: z.string() })) });

async function failedChecks(runner: Runner): Promise<string[]> {
  const { checks } = readySchema.parse((await runner.getJson('/ready', null)).body);
  return Object.entries(checks).flatMap(([name, { status }]) => (status === 'ok' ? [] : [name]));
}

describeUnless(unmountable, 'F17: a full disk', () => {
  it('under DATA_DIR makes the server answer 503 and pauses the running run, until there is space again', async () => {
    const stage = await setTestStage('full-data');
    const disk = mountSmallDisk(`${stage.folder}/small`, 16);
    const DATA_DIR = `${disk.path}/data`;
    const runner = await stage.start({
      environment: { DATA_DIR, DISK_FLOOR_MB: '0', RECONCILE_INTERVAL: '2' },
    });
    await writeGatedService(stage.repository, 'platform/06.slow', 'data');
    const { runId, commit } = await pushRun(stage, runner, 'Add a slow service');
    await stage.journal.waitForStart('platform/slow');
    disk.fill();
    await openGate(stage, 'data');
    // Files on the disk may still have some space inside of them, which is soon used up.
    const refused = await until('a 503', async () => {
      disk.fill();
      const said = await push(stage, runner, ['platform/redis'], `Fill ${Date.now()}`);
      return said.status === 503 ? said : null;
    });
    expect(refused).toMatchObject({ retryAfter: '5' });
    await until('/ready to show it', async () =>
      (await failedChecks(runner)).includes('store') ? true : null,
    );
    expect((await runner.getJson('/health', null)).status).toBe(200);
    await disk.empty();
    await waitForSync(runner, runId);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    const head = await stage.repository.head();
    await until('the refused push to be found', async () => {
      return (await syncedAt(stage.journal, head)).includes('platform/redis') ? true : null;
    });
    expect(await runner.stop()).toBe(0);
    storedRuns(stage, DATA_DIR);
  });

  it('under WORKSPACE_DIR ends the run as disk_full before anything starts, and /ready says so', async () => {
    const stage = await setTestStage('full-workspace');
    const disk = mountSmallDisk(`${stage.folder}/small`, 16);
    const environment = { WORKSPACE_DIR: disk.path, DISK_FLOOR_MB: '8', RECONCILE_INTERVAL: '0' };
    const runner = await stage.start({ environment });
    const first = await pushRun(stage, runner, 'Begin').catch(() => null);
    if (first) await runner.waitForRun(first.runId, 'final');
    disk.fill(4 * MIB);
    const said = await push(stage, runner, ['platform/redis'], 'Change redis');
    const runId = acceptedRun(said);
    const commit = await stage.repository.head();
    const run = await runner.waitForRun(runId, 'errored');
    expect(run).toMatchObject({
      reason: 'disk_full',
      message: 'Failed to update git repository: the disk is full',
      next_action: 'Free space on the disk, then retry the run.',
    });
    await stage.github.statuses.waitFor({ sha: commit, state: 'error' });
    const events = await fetch(`${runner.url}/runs/${runId}/events`, {
      headers: { authorization: `Bearer ${API_TOKENS.viewer}` },
    });
    expect(await events.text()).toMatch(/\d MiB are free at .*DISK_FLOOR_MB/);
    await until('/ready to show it', async () =>
      (await failedChecks(runner)).includes('disk') ? true : null,
    );
    await disk.empty();
    const retried = acceptedRun(await actOnRun(runner, runId, 'retry'));
    await runner.waitForRun(retried, 'succeeded');
    expect(await syncedAt(stage.journal, commit)).toEqual(['platform/redis']);
    await until('/ready to be ready', async () => ((await failedChecks(runner)).length === 0 ? true : null));
  });

  it('that fills up during a checkout leaves nothing incomplete', async () => {
    const stage = await setTestStage('full-checkout');
    const disk = mountSmallDisk(`${stage.folder}/small`, 16);
    const environment = { WORKSPACE_DIR: disk.path, DISK_FLOOR_MB: '0', RECONCILE_INTERVAL: '0' };
    const runner = await stage.start({ environment });
    const begin = acceptedRun(await push(stage, runner, ['platform/redis'], 'Begin'));
    await runner.waitForRun(begin, 'succeeded');
    disk.fill(2 * MIB);
    await stage.repository.write('platform/04.dashy/picture.bin', Buffer.alloc(6 * MIB, 'x'));
    const { runId, commit } = await pushRun(stage, runner, 'Add a large picture');
    expect(await runner.waitForRun(runId, 'errored')).toMatchObject({ reason: 'disk_full' });
    expect(await syncedAt(stage.journal, commit)).toEqual([]);
    await disk.empty();
    const retried = acceptedRun(await actOnRun(runner, runId, 'retry'));
    await runner.waitForRun(retried, 'succeeded');
    expect(await syncedAt(stage.journal, commit)).toEqual(['platform/dashy']);
  });
});

describe('A store that another process has locked', () => {
  it('F18: makes the server answer 503 within 5 s, pauses the running task, and loses nothing', async () => {
    const stage = await setTestStage('locked-store');
    const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '2' } });
    await writeGatedService(stage.repository, 'platform/06.slow', 'locked');
    const { runId, commit } = await pushRun(stage, runner, 'Add a slow service');
    await stage.journal.waitForStart('platform/slow');
    // The lock needs a process of its own, because this process is not the server.
    const other = new DatabaseSync(`${stage.folder}/data/iac-runner.db`);
    other.exec('BEGIN IMMEDIATE');
    await openGate(stage, 'locked');
    const refused = await push(stage, runner, ['platform/redis'], 'Change redis');
    // The answer must arrive in time: GitHub, and the sender of these tests, give up after ten seconds.
    expect(refused).toMatchObject({ status: 503, retryAfter: '5' });
    // By now the end of the task has met the lock, too, more than once.
    await sleep(5_000);
    other.exec('ROLLBACK');
    other.close();
    expect(await waitForSync(runner, runId)).toMatchObject({ attempt: 1 });
    expect(await syncedAt(stage.journal, commit)).toEqual(['platform/slow']);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    const head = await stage.repository.head();
    await until('the refused push to be found', async () => {
      return (await syncedAt(stage.journal, head)).includes('platform/redis') ? true : null;
    });
    expect(runner.logs().filter(({ msg }) => String(msg).includes('by a defect'))).toEqual([]);
    expect(await runner.stop()).toBe(0);
    storedRuns(stage);
  });
});

describe('The queue', () => {
  it('refuses runs beyond QUEUE_LIMIT with 503, and accepts them when there is space again', async () => {
    const stage = await setTestStage('full-queue');
    const runner = await stage.start({ environment: { QUEUE_LIMIT: '2', RECONCILE_INTERVAL: '0' } });
    await writeGatedService(stage.repository, 'platform/06.slow', 'queue');
    const { runId } = await pushRun(stage, runner, 'Add a slow service');
    await stage.journal.waitForStart('platform/slow');
    const ask = () => runner.signedPost('/sync', { services: ['platform/redis'] });
    const waiting = [acceptedRun(await ask()), acceptedRun(await ask())];
    const refused = await ask();
    expect(refused).toMatchObject({
      status: 503,
      body: { error: 'Too many runs are waiting; send it again later' },
    });
    expect(refused.headers.get('retry-after')).toBe('5');
    expect(await push(stage, runner, ['platform/dashy'], 'Change dashy')).toMatchObject({ status: 503 });
    await openGate(stage, 'queue');
    for (const id of [runId, ...waiting]) await runner.waitForRun(id, 'final');
    const taken = await ask();
    expect(taken.status).toBe(200);
    await runner.waitForRun(acceptedRun(taken), 'succeeded');
  });
});
