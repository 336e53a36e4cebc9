/** Clocks that jump and processes that are paused do not end, repeat, forget or admit anything. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { MISBEHAVIOURS } from './support/github-misbehaviour.ts';
import { commitChange, syncedAt, writeGatedService } from './support/platform-services.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { pushRun } from './support/pushed-run.ts';
import { acceptedRun } from './support/run-actions.ts';
import { type Runner, runProgram } from './support/runner.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { openGate } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';
import { signBody } from './support/webhook-sender.ts';

const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;

interface Clock {
  environment: Record<string, string>;
  /** Sets how far the server's clock is off from now on. */
  shift(ms: number): Promise<void>;
}

async function shiftableClock(stage: Stage): Promise<Clock> {
  const file = join(stage.folder, 'clock');
  const shift = (ms: number): Promise<void> => writeFile(file, `${ms}`);
  await shift(0);
  const module = join(PROJECT_ROOT, 'e2e/support/shifted-clock.ts');
  return { shift, environment: { NODE_OPTIONS: `--import ${module}`, TEST_CLOCK_FILE: file } };
}

/** Sends a request that is signed for the time `atMs`. */
async function postSyncAt(runner: Runner, atMs: number, nonce: string): Promise<number> {
  const body = JSON.stringify({ services: ['platform/redis'] });
  const timestamp = `${Math.floor(atMs / 1_000)}`;
  const { status } = await runner.signedPost('/sync', body, {
    headers: {
      'x-iac-timestamp': timestamp,
      'x-iac-nonce': nonce,
      'x-hub-signature-256': signBody(WEBHOOK_SECRET, `${timestamp}.${nonce}.${body}`),
    },
  });
  return status;
}

const eventsSchema = z.looseObject({ runs: z.array(z.looseObject({ run_id: z.string() })) });

describe('A clock that jumps', () => {
  it('F23: ends no run too early, lets no run go on for ever, keeps their order, and deletes nothing that is in use', async () => {
    const stage = await setTestStage('clock');
    const clock = await shiftableClock(stage);
    const environment = { ...clock.environment, SYNC_TIMEOUT: '60', RETENTION_DAYS: '1' };
    const runner = await stage.start({ environment });
    await writeGatedService(stage.repository, 'platform/06.gated', 'clock');
    const { runId, commit } = await pushRun(stage, runner);
    await stage.journal.waitForStart('platform/gated');
    const ids = [runId];
    for (const offMs of [YEAR_MS, -HOUR_MS, -YEAR_MS, HOUR_MS]) {
      await clock.shift(offMs);
      const queued = await commitChange(stage.repository, ['platform/redis'], `at ${offMs}`);
      ids.push(acceptedRun(await stage.push(runner)));
      expect(await runner.getJson(`/runs/${runId}`)).toMatchObject({ body: { state: 'running' } });
      expect(queued).toMatch(/^[0-9a-f]{40}$/);
    }
    await openGate(stage, 'clock');
    await runner.waitForRun(runId, 'succeeded');
    await runner.waitForRun(ids.at(-1) ?? '', 'succeeded');
    const listed = eventsSchema.parse((await runner.getJson('/runs')).body).runs.map((run) => run.run_id);
    expect(listed).toEqual(ids.toReversed());
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    expect(
      (await stage.journal.read()).syncs.filter(({ service }) => service === 'platform/gated'),
    ).toHaveLength(1);
  });

  it('F23: delays no status: a failed status is sent soon after the clock was corrected', async () => {
    const stage = await setTestStage('clock-status');
    const clock = await shiftableClock(stage);
    const runner = await stage.start({ environment: clock.environment });
    await clock.shift(YEAR_MS);
    stage.github.misbehave({ how: MISBEHAVIOURS.serverError, times: 4, method: 'POST' });
    const commit = await commitChange(stage.repository, ['platform/redis'], 'in a year');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    await clock.shift(0);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
  });

  it('F23: admits a signed request only within its own time', async () => {
    const stage = await setTestStage('clock-door');
    const clock = await shiftableClock(stage);
    const runner = await stage.start({ environment: clock.environment });
    const now = Date.now();
    expect(await postSyncAt(runner, now, 'first-nonce-1')).toBe(200);
    expect(await postSyncAt(runner, now, 'first-nonce-1')).toBe(401);
    for (const offMs of [HOUR_MS, -HOUR_MS, YEAR_MS]) {
      await clock.shift(offMs);
      expect(await postSyncAt(runner, now, `nonce-at-${offMs}`)).toBe(401);
      expect(await postSyncAt(runner, now + offMs, `own-nonce-at-${offMs}`)).toBe(200);
    }
    await clock.shift(0);
    // A used nonce does not become valid again when the clock is set back.
    expect(await postSyncAt(runner, now, 'first-nonce-1')).toBe(401);
  });
});

describe('Work that is due later', () => {
  it('F23: a failed service is tried again after growing pauses, whatever the clock says, and then left to people', async () => {
    const stage = await setTestStage('clock-retries');
    const clock = await shiftableClock(stage);
    const environment = { ...clock.environment, SYNC_RETRIES: '3' };
    // This server looks once, at its start. A later look might see the push before its delivery arrives.
    const first = await stage.start({ environment });
    await stage.repository.write('platform/01.redis/compose.yaml', 'imgae: redis\n');
    const { runId, commit } = await pushRun(stage, first, 'Break redis');
    await first.waitForRun(runId, 'failed');
    await first.stop();
    const runner = await stage.start({ environment: { ...environment, RECONCILE_INTERVAL: '1' } });
    let offMs = 0;
    async function expectRunsAfter(ms: number, count: number): Promise<void> {
      offMs += ms;
      await clock.shift(offMs);
      // In this time the server looks at the branch several times.
      await sleep(3_000);
      await until(`${count} runs`, async () => ((await runner.runs()).length >= count ? true : null));
      const runs = await runner.runs();
      expect(runs).toHaveLength(count);
      await runner.waitForRun(runs[0]?.run_id ?? '', 'failed');
    }
    const MINUTE_MS = 60_000;
    await expectRunsAfter(0, 1);
    await expectRunsAfter(MINUTE_MS, 2);
    await expectRunsAfter(MINUTE_MS, 2);
    await expectRunsAfter(MINUTE_MS, 3);
    // The clock is set back by a year. The server does not wait for the attempt that then lies in the future.
    await expectRunsAfter(-YEAR_MS, 4);
    await expectRunsAfter(YEAR_MS, 4);
    expect(stage.github.statuses.latest(commit)).toMatchObject({ state: 'failure' });
    await commitChange(stage.repository, ['platform/minio'], 'Another push');
    const pushed = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'failed');
    expect(pushed.message).toBe('1/2 service(s) failed to sync');
  });

  it('F23: a sync that waits for its window starts when the window opens', async () => {
    const stage = await setTestStage('clock-window');
    const clock = await shiftableClock(stage);
    const runner = await stage.start({ environment: clock.environment });
    const opening = new Date(Date.now() + 72 * HOUR_MS);
    opening.setUTCHours(10, 30, 0, 0);
    const day = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'][opening.getUTCDay()];
    const windows = `windows:\n  - { days: [${day}], from: "10:00", to: "11:00" }\n`;
    await stage.repository.write('.iac-runner.yaml', windows);
    const commit = await commitChange(stage.repository, ['platform/redis'], 'In three days');
    const runId = acceptedRun(await stage.push(runner));
    await until('the run to wait', async () => {
      const { state, message } = await runner.waitForRun(runId, 'queued');
      return state === 'queued' && message.startsWith('Waiting for the sync window at ') ? true : null;
    });
    await clock.shift(opening.getTime() - Date.now());
    expect(await runner.waitForRun(runId, 'succeeded')).toMatchObject({ revision: commit, attempt: 1 });
    expect(await syncedAt(stage.journal, commit)).toEqual(['platform/redis']);
  });
});

describe('A paused server', () => {
  it('F22: continues where it was after a pause longer than its lease, and no other server takes its place meanwhile', async () => {
    const stage = await setTestStage('paused');
    const clock = await shiftableClock(stage);
    const runner = await stage.start({ environment: clock.environment });
    await writeGatedService(stage.repository, 'platform/06.gated', 'paused');
    const { runId, commit } = await pushRun(stage, runner);
    await stage.journal.waitForStart('platform/gated');
    runner.signal('SIGSTOP');
    // This is how a paused machine looks: the wall clock has moved on by an hour, the monotonic clock has not. A
    // lease lasts a minute.
    await clock.shift(HOUR_MS);
    const { exitCode, stderr } = await runProgram(['serve'], stage.runnerOptions);
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 1, stderr: /already uses the data directory/ });
    await sleep(1_000);
    runner.signal('SIGCONT');
    await openGate(stage, 'paused');
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.attempt).toBe(1);
    const { syncs, overlaps } = await stage.journal.read();
    expect(overlaps).toEqual([]);
    expect(syncs).toHaveLength(1);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
  });
});
