/** People retry runs that failed and cancel runs that they do not want. */

import { describe, expect, it } from 'vitest';
import {
  appendLine,
  commitChange,
  gateIsOpen,
  syncedAt,
  writeGatedService,
  writeRecordedService,
} from './support/platform-services.ts';
import { processesMentioning } from './support/processes.ts';
import { pushRun } from './support/pushed-run.ts';
import { acceptedRun, actOnRun } from './support/run-actions.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { openGate, shareStage } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { expectNoFalseSuccess, waitForFinalStatuses } from './support/truthful-statuses.ts';
import { until } from './support/until.ts';

describe('A run that ended badly', () => {
  const shared = shareStage('actions');

  /** Adds a service that fails until its gate is opened. */
  async function writeFlaky({ repository }: Stage, name: string): Promise<void> {
    const body = `if not ${gateIsOpen(name)}:\n    sys.exit(3)`;
    await writeRecordedService(repository, `platform/06.${name}`, body);
  }

  it('is retried by operators: only the failed services, at the same commit', async () => {
    const { stage, runner } = shared();
    await writeFlaky(stage, 'flaky');
    await appendLine(stage.repository, 'platform/01.redis/compose.yaml', '# Beside flaky');
    const { runId, commit } = await pushRun(stage, runner, 'Add flaky');
    await runner.waitForRun(runId, 'failed');
    await commitChange(stage.repository, [], 'The branch moves on');
    await stage.repository.push();

    expect(await actOnRun(runner, runId, 'retry', null)).toMatchObject({ status: 401 });
    expect(await actOnRun(runner, runId, 'retry', 'not-a-token-at-all')).toMatchObject({ status: 401 });
    expect(await actOnRun(runner, runId, 'retry', API_TOKENS.viewer)).toMatchObject({ status: 403 });
    expect(await actOnRun(runner, crypto.randomUUID(), 'retry')).toMatchObject({ status: 404 });
    await openGate(stage, 'flaky');
    const retry = acceptedRun(await actOnRun(runner, runId, 'retry'));
    expect(retry).not.toBe(runId);
    const retried = await runner.waitForRun(retry, 'succeeded');
    expect(retried).toMatchObject({ revision: commit, trigger: { source: 'retry', retry_of: runId } });
    expect(await syncedAt(stage.journal, commit)).toEqual([
      ...['platform/flaky', 'platform/flaky', 'platform/redis'],
    ]);
    const status = await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    expect(status.description).toBe('1 service(s) synced successfully');
    expect(await actOnRun(runner, retry, 'retry', API_TOKENS.admin)).toMatchObject({ status: 409 });
  });

  it('is never retried backwards', async () => {
    const { stage, runner } = shared();
    await writeFlaky(stage, 'late');
    const first = await pushRun(stage, runner, 'Add late');
    await runner.waitForRun(first.runId, 'failed');
    await openGate(stage, 'late');
    await appendLine(stage.repository, 'platform/06.late/deploy.py', '# Better');
    const second = await pushRun(stage, runner, 'Repair late');
    await runner.waitForRun(second.runId, 'succeeded');
    const before = (await stage.journal.read()).syncs.length;
    const retry = acceptedRun(await actOnRun(runner, first.runId, 'retry'));
    expect(await runner.waitForRun(retry, 'superseded')).toMatchObject({ reason: 'newer_already_synced' });
    expect((await stage.journal.read()).syncs).toHaveLength(before);
  });

  it('was cancelled: all processes of its task have ended, and the next push syncs the rest', async () => {
    const { stage, runner } = shared();
    const children = 'import subprocess\nsubprocess.Popen(["sleep", "3000"], start_new_session=True)';
    const body = `${children}\nsubprocess.Popen(["sleep", "3000"])\nwhile not ${gateIsOpen('stuck')}:\n    time.sleep(0.05)`;
    await writeRecordedService(stage.repository, 'platform/06.stuck', body);
    await writeGatedService(stage.repository, 'platform/07.after', 'stuck');
    const running = await pushRun(stage, runner, 'Add stuck');
    const sleeping = async () =>
      (await processesMentioning(stage.folder)).filter(({ command }) => command === 'sleep 3000');
    await until('two grandchildren', async () => ((await sleeping()).length === 2 ? true : null));
    await appendLine(stage.repository, 'platform/04.dashy/conf.yml', '# Behind it');
    const queued = await pushRun(stage, runner, 'Wait behind it');

    expect(await actOnRun(runner, running.runId, 'retry')).toMatchObject({ status: 409 });
    for (const id of [running.runId, queued.runId]) {
      expect(await actOnRun(runner, id, 'cancel', null)).toMatchObject({ status: 401 });
      expect(await actOnRun(runner, id, 'cancel', API_TOKENS.viewer)).toMatchObject({ status: 403 });
    }
    expect(await actOnRun(runner, queued.runId, 'cancel')).toMatchObject({ status: 200 });
    const waiting = await runner.waitForRun(queued.runId, 'cancelled');
    expect(waiting).toMatchObject({
      reason: 'cancelled_by_request',
      message: 'Cancelled by operator',
      steps: [],
    });
    expect(await actOnRun(runner, running.runId, 'cancel', API_TOKENS.admin)).toMatchObject({ status: 200 });
    const ended = await runner.waitForRun(running.runId, 'cancelled');
    expect(ended).toMatchObject({ reason: 'cancelled_by_request', message: 'Cancelled by admin' });
    expect(ended.steps).toMatchObject([
      { id: 'platform/stuck', state: 'cancelled' },
      { id: 'platform/after', state: 'cancelled' },
    ]);
    expect(await sleeping()).toEqual([]);
    expect(await actOnRun(runner, running.runId, 'cancel')).toMatchObject({ status: 409 });
    for (const { commit } of [running, queued]) {
      await stage.github.statuses.waitFor({ sha: commit, state: 'error' });
    }

    await openGate(stage, 'stuck');
    const next = await commitChange(stage.repository, ['platform/redis'], 'Go on');
    const run = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(run.revision).toBe(next);
    expect(await syncedAt(stage.journal, next)).toEqual([
      ...['platform/after', 'platform/dashy', 'platform/redis', 'platform/stuck'],
    ]);
  });

  it('never made GitHub show a false success, and left no status pending', async () => {
    const { stage, runner } = shared();
    await waitForFinalStatuses(stage, runner);
    await expectNoFalseSuccess(stage, runner);
    expect((await stage.journal.read()).overlaps).toEqual([]);
  });
});
