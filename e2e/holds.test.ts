/** Holds stop syncs, say who and why, and let what waited go on at the newest commit. */

import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { describeUnless } from './support/describe-unless.ts';
import { setMachineStage, sharePostgres, withoutPostgres } from './support/machines.ts';
import { commitChange, lastSynced, syncedAt } from './support/platform-services.ts';
import { readPage, waitForSync } from './support/pushed-run.ts';
import { acceptedRun, actOnRun } from './support/run-actions.ts';
import { type Runner, runProgram } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';
import { parseBody } from './support/webhook-sender.ts';

const REDIS = 'platform/redis';
const DASHY = 'platform/dashy';
const FREEZE = 'Held by operator: Freeze';

const holdSchema = z.looseObject({ id: z.string(), reason: z.string(), by: z.string() });
const holdsSchema = z.object({ holds: z.array(holdSchema) });
const whySchema = z.looseObject({
  why: z.object({ services: z.array(z.looseObject({ service: z.string(), decision: z.string() })) }),
});

async function ask(
  runner: Runner,
  method: 'POST' | 'DELETE',
  path: string,
  { body, token = API_TOKENS.operator }: { body?: object; token?: string } = {},
) {
  const response = await fetch(runner.url + path, {
    method,
    headers: { accept: 'application/json', authorization: `Bearer ${token}` },
    ...(body && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(60_000),
  });
  return { status: response.status, body: parseBody(await response.text()) };
}

async function hold(runner: Runner, more: object = {}): Promise<string> {
  const { status, body } = await ask(runner, 'POST', '/holds', { body: { reason: 'Freeze', ...more } });
  expect({ status, body }).toMatchObject({ status: 201, body: { by: 'operator' } });
  return holdSchema.parse(body).id;
}

async function release(runner: Runner, id: string): Promise<void> {
  expect((await ask(runner, 'DELETE', `/holds/${id}`)).status).toBe(204);
}

async function push(stage: Stage, runner: Runner, ids: readonly string[], why: string) {
  const commit = await commitChange(stage.repository, ids, why);
  return { commit, runId: acceptedRun(await stage.push(runner)) };
}

async function decisionsOf(runner: Runner, runId: string): Promise<Record<string, string>> {
  const { why } = whySchema.parse((await runner.getJson(`/runs/${runId}`)).body);
  const touched = why.services.filter(({ decision }) => decision !== 'not_chosen' && decision !== 'excluded');
  return Object.fromEntries(touched.map(({ service, decision }) => [service, decision]));
}

/** Waits until the run waits for the hold. */
function waitUntilHeld(runner: Runner, runId: string) {
  return until('the run to be held', async () => {
    const { body } = await runner.getJson(`/runs/${runId}`);
    const run = z.looseObject({ state: z.string(), message: z.string() }).parse(body);
    return run.message === FREEZE && run.state === 'queued' ? run : null;
  });
}

function waitForHeldStatus({ github }: Stage, sha: string) {
  return until('the status to say who holds the commit', () => {
    const status = github.statuses.latest(sha);
    return status?.state === 'pending' && status.description === FREEZE ? status : null;
  });
}

function waitUntilSynced({ journal }: Stage, service: string, commit: string) {
  return until(`${service} at ${commit}`, async () =>
    (await lastSynced(journal, [service]))[service] === commit ? true : null,
  );
}

/** Starts a server that has synced two services. */
async function begin(name: string, environment: Record<string, string> = {}) {
  const stage = await setTestStage(name);
  const runner = await stage.start({ environment });
  const { commit, runId } = await push(stage, runner, [REDIS, DASHY], 'Good');
  await waitForSync(runner, runId);
  return { stage, runner, good: commit };
}

describe('A hold on everything', () => {
  it('makes pushes wait, also through a crash, until it is released, and then the newest commit runs', async () => {
    const { stage, runner: first } = await begin('hold-all');
    const { github, journal } = stage;
    const id = await hold(first);
    const one = await push(stage, first, [REDIS], 'One');
    await waitUntilHeld(first, one.runId);
    expect(await decisionsOf(first, one.runId)).toEqual({ [REDIS]: 'held' });
    const pending = await waitForHeldStatus(stage, one.commit);
    expect(pending.targetUrl).toContain(one.runId);
    expect(await readPage(first, `/runs/${one.runId}`)).toContain(FREEZE);
    const forced = acceptedRun(await first.signedPost('/sync', { services: [DASHY], force: true }));
    await waitUntilHeld(first, forced);
    const dry = acceptedRun(
      await first.signedPost('/sync', { services: [DASHY], force: true, dry_run: true }),
    );
    expect(await first.waitForRun(dry, 'succeeded')).toMatchObject({
      message: 'Dry run: 0 service(s) would be synced, 1 held',
    });

    await first.kill();
    const runner = await stage.start();
    const two = await push(stage, runner, [REDIS, DASHY], 'Two');
    await waitUntilHeld(runner, two.runId);
    const before = runner.logs().filter(({ msg }) => msg === 'run started').length;
    expect((await runner.getJson('/holds')).body).toMatchObject({ holds: [{ id, reason: 'Freeze' }] });
    // The worker looks at the queue every five seconds, and the runs stay where they are.
    await new Promise((resolve) => setTimeout(resolve, 11_000));
    expect(runner.logs().filter(({ msg }) => msg === 'run started')).toHaveLength(before);
    expect(await syncedAt(journal, one.commit)).toEqual([]);

    await release(runner, id);
    for (const { runId } of [one, two]) await runner.waitForRun(runId, 'succeeded');
    await runner.waitForRun(forced, 'succeeded');
    expect(await lastSynced(journal, [REDIS, DASHY])).toEqual({ [REDIS]: two.commit, [DASHY]: two.commit });
    for (const { commit } of [one, two]) await github.statuses.waitFor({ sha: commit, state: 'success' });
    expect((await journal.read()).overlaps).toEqual([]);
  });

  it('ends by itself', async () => {
    const { stage, runner } = await begin('hold-until');
    await hold(runner, { until: new Date(Date.now() + 8_000).toISOString() });
    const { commit, runId } = await push(stage, runner, [REDIS], 'Later');
    await waitUntilHeld(runner, runId);
    await runner.waitForRun(runId, 'succeeded');
    expect(await syncedAt(stage.journal, commit)).toEqual([REDIS]);
    expect((await runner.getJson('/holds')).body).toEqual({ holds: [] });
  });

  it('stops a retry, and a cancelled run stays cancelled', async () => {
    const { stage, runner } = await begin('hold-retry');
    const id = await hold(runner);
    const { commit, runId } = await push(stage, runner, [REDIS], 'Cancelled');
    await waitUntilHeld(runner, runId);
    expect((await actOnRun(runner, runId, 'cancel')).status).toBe(200);
    const retry = acceptedRun(await actOnRun(runner, runId, 'retry'));
    await waitUntilHeld(runner, retry);
    await release(runner, id);
    await runner.waitForRun(retry, 'succeeded');
    expect(await syncedAt(stage.journal, commit)).toEqual([REDIS]);
    await runner.waitForRun(runId, 'cancelled');
  });
});

describe('A hold on one service', () => {
  it('lets the others run, and is followed by the newest commit although nobody looks at the branch', async () => {
    const { stage, runner } = await begin('hold-one', { RECONCILE_INTERVAL: '0' });
    const { journal } = stage;
    const id = await hold(runner, { services: [REDIS] });
    const { commit, runId } = await push(stage, runner, [REDIS, DASHY], 'Both');
    await waitForHeldStatus(stage, commit);
    await waitUntilHeld(runner, runId);
    const run = await runner.waitForRun(runId, 'queued');
    const steps = Object.fromEntries(run.steps.map((step) => [step.id, step.state]));
    expect(steps).toEqual({ [REDIS]: 'skipped', [DASHY]: 'succeeded' });
    expect(await decisionsOf(runner, runId)).toEqual({ [REDIS]: 'held', [DASHY]: 'run' });
    expect(await syncedAt(journal, commit)).toEqual([DASHY]);
    expect(await readPage(runner, '/services')).toContain(FREEZE);
    const later = await push(stage, runner, [DASHY], 'Only one');
    await waitForHeldStatus(stage, later.commit);
    await release(runner, id);
    await runner.waitForRun(later.runId, 'succeeded');
    await waitUntilSynced(stage, REDIS, later.commit);
    for (const sha of [commit, later.commit]) await stage.github.statuses.waitFor({ sha, state: 'success' });
    expect(await syncedAt(journal, later.commit)).toEqual([DASHY, REDIS]);
  });
});

describe('A rollback while a hold stands', () => {
  it('waits, unless an admin lets it pass', async () => {
    const { stage, runner, good } = await begin('hold-rollback');
    await waitForSync(runner, (await push(stage, runner, [REDIS, DASHY], 'Bad')).runId);
    await hold(runner);
    const rollback = (service: string, more: object, token?: string) =>
      ask(runner, 'POST', `/services/${service}/rollback`, {
        body: { to: good, ...more },
        ...(token !== undefined && { token }),
      });
    const waiting = acceptedRun(await rollback(DASHY, {}));
    await waitUntilHeld(runner, waiting);
    const override = { override_hold: true, reason: 'It leaks' };
    expect((await rollback(REDIS, override)).status).toBe(403);
    expect(
      (await runner.signedPost('/sync', { services: [REDIS], revision: good, ...override })).status,
    ).toBe(400);
    const { reason: _reason, ...withoutReason } = override;
    const signed = { services: [REDIS], revision: good, ...withoutReason };
    expect((await runner.signedPost('/sync', signed)).status).toBe(403);
    const passing = acceptedRun(await rollback(REDIS, override, API_TOKENS.admin));
    await runner.waitForRun(passing, 'succeeded');
    expect((await lastSynced(stage.journal, [REDIS]))[REDIS]).toBe(good);
    const page = await readPage(runner, `/runs/${passing}`);
    expect(page).toContain(`The request passes over a hold. ${FREEZE}`);
    expect(page).toContain('It leaks');
    await waitUntilHeld(runner, waiting);
  });
});

describe('iac-runner hold and iac-runner release', () => {
  it('hold and release by an API token, and a rollback by an admin passes', async () => {
    const { stage, runner, good } = await begin('hold-commands');
    const command = (args: string[], token: string | undefined = API_TOKENS.operator) =>
      runProgram(args, {
        ...stage.runnerOptions,
        environment: { IAC_RUNNER_TOKEN: token, IAC_RUNNER_URL: runner.url },
      });
    const held = await command(['hold', REDIS, '--environment', 'default', '--reason', 'Freeze']);
    expect(held).toMatchObject({ exitCode: 0, stderr: '' });
    expect(held.stdout).toMatch(/^[\w-]{36} {2}platform\/redis {2}by operator, until released: Freeze$/);
    const time = '2999-01-01T00:00:00Z';
    const other = await command(['hold', '--reason', 'Holidays', '--until', time, '--json']);
    expect(JSON.parse(other.stdout)).toMatchObject({ services: null, until: '2999-01-01T00:00:00.000Z' });
    const list = await command(['hold', '--list'], API_TOKENS.viewer);
    expect(list.stdout.split('\n').map((line) => line.slice(36))).toEqual([
      '  platform/redis  by operator, until released: Freeze',
      '  everything  by operator, until 2999-01-01T00:00:00.000Z: Holidays',
    ]);
    const rollback = ['rollback', REDIS, '--to', good, '--override-hold', '--reason', 'It leaks'];
    expect((await command(rollback)).exitCode).toBe(4);
    const passed = await command(rollback, API_TOKENS.admin);
    expect(passed).toMatchObject({ exitCode: 0, stderr: '' });
    await runner.waitForRun(/^Run (\S+):/.exec(passed.stdout)?.[1] ?? '', 'succeeded');

    expect(await command(['release', held.stdout.slice(0, 36)])).toMatchObject({ exitCode: 0, stderr: '' });
    const unknown = await command(['release', held.stdout.slice(0, 36)]);
    expect([unknown.exitCode, unknown.stderr]).toEqual([4, expect.stringContaining('Hold not found')]);
    expect((await command(['release', '--all'])).stdout).toMatch(/^Released [\w-]{36}$/);
    expect(holdsSchema.parse((await runner.getJson('/holds')).body).holds).toEqual([]);
    expect((await command(['hold', '--reason', 'x', 'platform/none'])).stderr).toContain('Unknown service');
    expect((await command(['hold', '--reason', 'x'], API_TOKENS.viewer)).exitCode).toBe(4);
    expect((await command(['hold'])).exitCode).toBe(2);
    expect((await command(['release'])).exitCode).toBe(2);
    expect((await command(['release', '--all'], '')).exitCode).toBe(3);
  });
});

describeUnless(withoutPostgres, 'With several machines', () => {
  const postgres = sharePostgres();

  it('a hold that one sets and another releases stops both', async () => {
    const { stage, startOn } = await setMachineStage(postgres(), 'hold-machines');
    const one = await startOn('one');
    const two = await startOn('two');
    await waitForSync(one, (await push(stage, one, [REDIS, DASHY], 'Good')).runId);
    const id = await hold(one);
    const pushes = [await push(stage, one, [REDIS], 'First'), await push(stage, two, [DASHY], 'Second')];
    const newest = pushes[1];
    await waitUntilHeld(two, newest?.runId ?? '');
    await one.kill();
    await release(two, id);
    for (const { runId } of pushes) await two.waitForRun(runId, 'succeeded');
    expect(await lastSynced(stage.journal, [REDIS, DASHY])).toEqual({
      [REDIS]: newest?.commit,
      [DASHY]: newest?.commit,
    });
  });
});
