/** Servers stop or die in the middle of a run, and GitHub is away: nothing is lost or done twice. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { MISBEHAVIOURS } from './support/github-misbehaviour.ts';
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
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { openGate } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { expectNoFalseSuccess, waitForFinalStatuses } from './support/truthful-statuses.ts';
import { until } from './support/until.ts';

/** Pushes two services in two waves. The first one is running and waits at its gate. */
async function startTwoWaves(stage: Stage, runner: Runner) {
  await writeGatedService(stage.repository, 'platform/06.first', 'first');
  await writeGatedService(stage.repository, 'platform/07.second', 'second');
  const pushed = await pushRun(stage, runner, 'Two waves');
  await stage.journal.waitForStart('platform/first');
  return pushed;
}

describe('SIGTERM in the middle of a run', () => {
  it('F24: lets the running task end, hands the other services back, accepts pushes until then, and the next start continues', async () => {
    const stage = await setTestStage('drain');
    const runner = await stage.start();
    const { runId, commit } = await startTwoWaves(stage, runner);
    runner.signal('SIGTERM');
    await until('the server to begin to stop', () => runner.logs().find(({ msg }) => msg === 'stopping'));
    await appendLine(stage.repository, 'platform/01.redis/compose.yaml', '# While stopping');
    const later = await pushRun(stage, runner, 'While stopping');
    await openGate(stage, 'first');
    expect(await runner.exited).toEqual({ exitCode: 0, signal: null });
    const { syncs } = await stage.journal.read();
    expect(syncs).toMatchObject([{ service: 'platform/first' }]);
    expect(syncs[0]?.endedNs).not.toBeNull();
    expect(await processesMentioning(stage.folder)).toEqual([]);

    await openGate(stage, 'second');
    const next = await stage.start();
    await next.waitForRun(later.runId, 'succeeded');
    await next.waitForRun(runId, 'final');
    const after = (await stage.journal.read()).syncs.map(({ service }) => service);
    expect(after).toEqual(['platform/first', 'platform/redis', 'platform/second']);
    await waitForFinalStatuses(stage, next);
    await expectNoFalseSuccess(stage, next);
    expect(stage.github.statuses.latest(commit)?.state).toBe('success');
  });

  it('F24: with a short DRAIN_TIMEOUT ends the task, which the next server runs again', async () => {
    const stage = await setTestStage('short-drain');
    const runner = await stage.start({ environment: { DRAIN_TIMEOUT: '1' } });
    const { runId, commit } = await startTwoWaves(stage, runner);
    expect(await runner.stop()).toBe(0);
    expect(await processesMentioning(stage.folder)).toEqual([]);
    for (const gate of ['first', 'second']) await openGate(stage, gate);
    const next = await stage.start();
    const run = await next.waitForRun(runId, 'succeeded');
    expect(run).toMatchObject({ attempt: 1, message: '2 service(s) synced successfully' });
    const { syncs, overlaps } = await stage.journal.read();
    expect(overlaps).toEqual([]);
    expect(syncs.map(({ service, endedNs }) => [service, endedNs !== null])).toEqual([
      ['platform/first', false],
      ['platform/first', true],
      ['platform/second', true],
    ]);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
  });

  it('F24: sent a second time, does not wait for the task', async () => {
    const stage = await setTestStage('hurry');
    const runner = await stage.start({ environment: { DRAIN_TIMEOUT: '600' } });
    const { runId } = await startTwoWaves(stage, runner);
    runner.signal('SIGTERM');
    await until('the server to begin to stop', () => runner.logs().find(({ msg }) => msg === 'stopping'));
    expect(await runner.stop()).toBe(0);
    expect(await processesMentioning(stage.folder)).toEqual([]);
    for (const gate of ['first', 'second']) await openGate(stage, gate);
    const next = await stage.start();
    await next.waitForRun(runId, 'succeeded');
  });
});

describe('kill -9 in the middle of a run', () => {
  it('F25: does not repeat finished services, and loses no push that only waited', async () => {
    const stage = await setTestStage('kill-later');
    const runner = await stage.start();
    const { runId } = await startTwoWaves(stage, runner);
    await openGate(stage, 'first');
    await stage.journal.waitForStart('platform/second');
    const waiting = await commitChange(stage.repository, ['platform/redis'], 'Behind it');
    const second = acceptedRun(await stage.push(runner));
    await runner.kill();
    await openGate(stage, 'second');
    const next = await stage.start();
    await next.waitForRun(runId, 'final');
    await next.waitForRun(second, 'succeeded');
    const { syncs, overlaps } = await stage.journal.read();
    expect(overlaps).toEqual([]);
    expect(syncs.filter(({ service }) => service === 'platform/first')).toHaveLength(1);
    expect(await syncedAt(stage.journal, waiting)).toContain('platform/redis');
    await waitForFinalStatuses(stage, next);
    await expectNoFalseSuccess(stage, next);
  });

  it('F25: leaves no old task running even if the next server is killed before it has ended that task, which ignores SIGTERM', async () => {
    const stage = await setTestStage('kill-twice');
    const runner = await stage.start();
    const body = `
import signal
asked = Path(os.environ["IAC_EXAMPLE_STATE"], "asked-to-end")
signal.signal(signal.SIGTERM, lambda *_: asked.touch())
while not ${gateIsOpen('deaf')}:
    time.sleep(0.05)`;
    await writeRecordedService(stage.repository, 'platform/06.deaf', body);
    const { runId } = await pushRun(stage, runner, 'Add deaf');
    const { pid } = await stage.journal.waitForStart('platform/deaf');
    await runner.kill();
    const starting = stage.start().then(
      () => 'started',
      () => 'died',
    );
    await until(
      'SIGTERM to reach the task',
      () => existsSync(join(stage.folder, 'state/asked-to-end')) || null,
    );
    const servers = (await processesMentioning(stage.folder)).filter(({ command }) =>
      /\bserve$/.test(command),
    );
    expect(servers).toHaveLength(1);
    for (const server of servers) process.kill(server.pid, 'SIGKILL');
    expect(await starting).toBe('died');
    const third = await stage.start();
    await stage.journal.waitForStart('platform/deaf', 2);
    expect((await processesMentioning(stage.folder)).map((found) => found.pid)).not.toContain(pid);
    await openGate(stage, 'deaf');
    await third.waitForRun(runId, 'succeeded');
    expect((await stage.journal.read()).overlaps).toEqual([]);
  });
});

describe('GitHub', () => {
  it('F44: is down for a whole run and over a restart: the last state is sent once GitHub works again', async () => {
    const stage = await setTestStage('github-down');
    const stopFailing = stage.github.misbehave({ how: MISBEHAVIOURS.badGateway, times: 'forever' });
    const runner = await stage.start();
    const commit = await commitChange(stage.repository, ['platform/redis'], 'While GitHub is down');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    await until('an attempt to send the status', () =>
      stage.github.requests.find(({ method }) => method === 'POST'),
    );
    expect(await runner.stop()).toBe(0);
    expect(stage.github.statuses.history(commit)).toEqual([]);
    const tries = stage.github.requests.length;
    const next = await stage.start();
    await until('another attempt', () => (stage.github.requests.length > tries ? true : null));
    stopFailing();
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    await waitForFinalStatuses(stage, next);
    const { others } = stage.github.requests.find((request) => request.others > 0) ?? { others: 0 };
    expect(others).toBe(0);
  });

  it('F45: answers the pending state late: the last state of the commit is still the outcome', async () => {
    const stage = await setTestStage('github-late');
    const ended = Promise.withResolvers<void>();
    stage.github.misbehave({ how: { kind: 'held', until: ended.promise }, times: 1, method: 'POST' });
    const runner = await stage.start();
    await writeGatedService(stage.repository, 'platform/06.gated', 'gated');
    const { commit, runId } = await pushRun(stage, runner, 'Add gated');
    await until('the pending state', () => stage.github.requests.find(({ method }) => method === 'POST'));
    await openGate(stage, 'gated');
    await runner.waitForRun(runId, 'succeeded');
    ended.resolve();
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    await waitForFinalStatuses(stage, runner);
    // The reporter gives up on an answer that takes too long, and may send the pending state once more before the
    // run ends.
    const statuses = stage.github.statuses.history(commit).map(({ state }) => state);
    expect(statuses.filter((state) => state !== 'pending')).toEqual(['success']);
    expect(statuses.at(-1)).toBe('success');
    expect(statuses[0]).toBe('pending');
    expect(stage.github.requests.filter(({ others }) => others > 0)).toEqual([]);
    await runner.stop();
    expect(stage.github.statuses.latest(commit)?.state).toBe('success');
  });
});
