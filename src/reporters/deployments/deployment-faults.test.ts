/** Deployments and statuses of services, with a GitHub and a store that fail at each request and at each call. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MISBEHAVIOURS, type Misbehaviour } from '../../../e2e/support/github-misbehaviour.ts';
import { expectNoViolations } from '../../../e2e/support/local-github.ts';
import { StoreUnavailableError } from '../../errors.ts';
import { failAtCall } from '../../faults/failing-store.fixture.ts';
import type { SyncRun } from '../../runs/run.ts';
import { aTarget, createLocalReporting, FIRST, type LocalReporting } from '../local-reporting.fixture.ts';
import type { SendingLoop } from '../outbox/sending-loop.ts';
import { RUNNING, SUCCEEDED } from '../reporting.fixture.ts';
import { aRun } from '../stored-runs.fixture.ts';

/** More requests than one story makes. */
const MOST_CALLS = 300;
const CREATION = { method: 'POST', path: /\/deployments$/ } as const;
const STATUS = { method: 'POST', path: /\/deployments\/\d+\/statuses$/ } as const;
const UNDELIVERED = 'deployment cannot be reported; nothing more is sent for this run and commit';

let reporting: LocalReporting;

/** A request that the machine, not the test, delays for so long would be sent again while it is still under way. */
const HANG_TIMEOUT_MS = 3_000;

async function open(timeoutMs?: number): Promise<void> {
  reporting = await createLocalReporting(timeoutMs);
  reporting.targetOf = () => aTarget(reporting.github, { deployments: true, serviceStatuses: true });
}

beforeEach(() => open());

afterEach(async () => {
  await reporting.close();
  expectNoViolations(reporting.github);
});

function aSync(id: string, sha = FIRST, changes: Partial<SyncRun> = {}): SyncRun {
  return aRun({ id, concurrencyGroup: id, revision: sha, ...changes }, { revision: sha });
}

function withMessage(status: number, message: string): Misbehaviour {
  return { kind: 'answer', status, body: { message } };
}

const states = () => reporting.github.deployments.states();
const unsettled = () => reporting.runs.store.unreported('github-deployment', 10);

/** Plays a sync of one service. Each state is sent before the next one comes. */
async function play(sha: string, { idle }: SendingLoop): Promise<void> {
  const { runs } = reporting;
  await runs.put(aSync(sha, sha, { state: 'running' }));
  await runs.tell(sha, {
    type: 'step.planned',
    step: 'platform/redis',
    position: 0,
    wave: 1,
    message: 'It changed.',
  });
  await runs.change(sha, RUNNING);
  await idle();
  const end = { state: 'succeeded', message: 'Created', exitCode: 0, ledger: null } as const;
  await runs.tell(sha, { type: 'step.started', step: 'platform/redis', command: [], ledger: null });
  await runs.tell(sha, { type: 'step.finished', step: 'platform/redis', ...end });
  await runs.change(sha, SUCCEEDED);
  await idle();
}

/** Checks that everything is shown after a story, and that at most `doubles` statuses were sent twice in a row. */
async function expectSent(sha: string, doubles: number, what: string): Promise<void> {
  const { github, runs } = reporting;
  const mine = github.deployments.all.filter((one) => one.sha === sha);
  expect(mine.length, `${what}: deployments`).toBe(1);
  const shown = {
    deployment: mine.flatMap(({ statuses }) => statuses),
    service: github.statuses.history(sha, 'IaC Runner / platform/redis'),
    run: github.statuses.history(sha, 'IaC Runner / Sync'),
  };
  const ends = Object.values(shown).map((all) => [all[0]?.state, all.at(-1)?.state]);
  expect(ends, what).toEqual([
    ['in_progress', 'success'],
    ['pending', 'success'],
    ['pending', 'success'],
  ]);
  const repeated = Object.values(shown).flatMap((all) => {
    const texts = all.map(({ state, description }) => `${state} ${description}`);
    return texts.filter((text, index) => text === texts[index - 1]);
  });
  expect(repeated.length, `${what}: ${repeated}`).toBeLessThanOrEqual(doubles);
  for (const reporter of ['commit-status', 'service-status', 'github-deployment'] as const)
    expect(await runs.store.unreported(reporter, 10), `${what}: ${reporter}`).toEqual([]);
}

function commitOf(n: number): string {
  return n.toString(16).padStart(40, 'a');
}

describe('F44: A GitHub that fails at its n-th request', () => {
  it.each<[string, Misbehaviour, boolean]>([
    ['resets the connection', MISBEHAVIOURS.reset, false],
    ['resets the connection after it has done the work', MISBEHAVIOURS.reset, true],
    ['hangs', MISBEHAVIOURS.hang, false],
    ['hangs after it has done the work', MISBEHAVIOURS.hang, true],
    ['answers half of its JSON', MISBEHAVIOURS.truncated, true],
    ['cuts its answer', MISBEHAVIOURS.cut, true],
    ['answers without a body', { kind: 'answer', status: 201, body: '' }, true],
    ['fails', MISBEHAVIOURS.serverError, false],
    ['cannot take it now', withMessage(409, 'Conflict'), false],
    ['refuses the token', MISBEHAVIOURS.badCredentials, false],
  ])('that %s has one deployment with its outcome in the end', async (what, how, takesEffect) => {
    if (how.kind === 'hang') {
      await reporting.close();
      await open(HANG_TIMEOUT_MS);
    }
    const { github, start } = reporting;
    const reporter = await start();
    let n = 0;
    for (let isMet = true; isMet && n < MOST_CALLS; n += 1) {
      const before = github.requests.length;
      const stop = github.misbehave({ how, takesEffect, after: n, times: 1 });
      const sha = commitOf(n + 1);
      await play(sha, reporter);
      isMet = github.requests.length - before > n;
      stop();
      await expectSent(sha, takesEffect ? 1 : 0, `${what}, request ${n + 1}`);
    }
    // Two statuses of the run, two of its service, and a deployment with two statuses.
    expect(n).toBeGreaterThan(7);
  });
});

describe('A store that fails at its n-th call', () => {
  it.each([
    ['and has not done its work', false],
    ['and has done its work', true],
  ])('%s: there is one deployment, and every outcome is sent once', async (what, afterwards) => {
    const { runs, start } = reporting;
    let n = 1;
    for (let isMet = true; isMet && n < MOST_CALLS; n += 1) {
      const failing = failAtCall(runs.store, n, { afterwards });
      const sha = commitOf(n);
      await play(sha, await start(failing.store));
      const [failed] = failing.failed();
      isMet = failed !== undefined;
      await expectSent(sha, 0, `call ${n} (${failed}) fails ${what}`);
    }
    expect(n).toBeGreaterThan(20);
  });
});

describe('A deployment', () => {
  it('is found again if the process ended before the store had its id', async () => {
    const { github, logged, runs, start } = reporting;
    await runs.put(aSync('run', FIRST, RUNNING));
    const { saveReport } = runs.store;
    runs.store.saveReport = async (saved) => {
      const isId = saved.reporter === 'github-deployment' && saved.sent !== 'asked';
      if (isId) throw new StoreUnavailableError('The disk is full.');
      return saveReport(saved);
    };
    await start();
    await expect.poll(() => logged).toContain('deployments wait: the store could not be read or written');
    expect(states()).toEqual([[]]);
    expect(await runs.reports('run')).toContainEqual(expect.objectContaining({ sent: 'asked' }));
    runs.store.saveReport = saveReport;
    await (await start()).idle();
    await runs.change('run', SUCCEEDED);
    await (await start()).idle();
    expect(states()).toEqual([['in_progress', 'success']]);
    expect(
      github.requests.filter(({ method, url }) => method === 'POST' && CREATION.path.test(url)),
    ).toHaveLength(1);
  });

  it('whose creation is uncertain is not created if the run is superseded by then, and inactive if it exists', async () => {
    const { github, runs, start } = reporting;
    for (const [name, takesEffect] of [
      ['lost', false],
      ['done', true],
    ] as const) {
      await runs.put(aSync(name, commitOf(takesEffect ? 1 : 2), RUNNING));
      const stop = github.misbehave({
        path: /deployments/,
        how: MISBEHAVIOURS.reset,
        takesEffect,
        times: 'forever',
      });
      const before = github.requests.length;
      const reporter = await start();
      const asked = () => github.requests.slice(before).some(({ url }) => CREATION.path.test(url));
      await expect.poll(asked).toBe(true);
      // A request that is under way may still create the deployment, so that none may be.
      await reporter.stop();
      await runs.change(name, { state: 'superseded', message: 'A newer push covers this one' });
      stop();
      await (await start()).idle();
    }
    expect(states().map((shown) => shown.at(-1))).toEqual(['inactive']);
    expect(await unsettled()).toEqual([]);
  });

  it.each([
    [404, 'Not Found'],
    [403, 'Resource not accessible by personal access token'],
  ])(
    'that the token may not create (%i) is given up, and the log and the report say why',
    async (status, message) => {
      const { github, logged, runs, start } = reporting;
      github.misbehave({ path: /deployments/, how: withMessage(status, message), times: 'forever' });
      await runs.put(aSync('run', FIRST, RUNNING));
      await runs.change('run', SUCCEEDED);
      await (await start()).idle();
      expect(github.requests.filter(({ url }) => url.includes('/deployments')).length).toBeLessThan(6);
      expect(logged).toContain(UNDELIVERED);
      expect(await runs.reports('run')).toContainEqual(
        expect.objectContaining({
          reporter: 'github-deployment',
          settled: true,
          problem: expect.stringMatching(
            /does not let the token report deployments of acme\/platform.*write access/,
          ),
        }),
      );
      expect(await unsettled()).toEqual([]);
      expect(github.statuses.latest(FIRST, 'IaC Runner / Sync')).toMatchObject({ state: 'success' });
    },
  );

  it('of a commit that stays unknown is given up within hours', async () => {
    const { clock, github, runs, start } = reporting;
    const how = withMessage(422, `No ref found for: ${FIRST}`);
    github.misbehave({ ...CREATION, how, times: 'forever' });
    const startedAt = clock();
    await runs.put(aSync('run', FIRST, { ...SUCCEEDED, chosen: 1 }));
    await (await start()).idle();
    expect(clock() - startedAt).toBeGreaterThan(3_600_000);
    expect(clock() - startedAt).toBeLessThan(6 * 3_600_000);
    expect(await unsettled()).toEqual([]);
  });

  it('that somebody deleted is given up after a day', async () => {
    const { github, logged, runs, start } = reporting;
    await runs.put(aSync('run', FIRST, RUNNING));
    const { idle } = await start();
    await idle();
    github.deployments.remove(github.deployments.all[0]?.id ?? 0);
    await runs.change('run', SUCCEEDED);
    await idle();
    expect(logged).toContain(UNDELIVERED);
    expect(await unsettled()).toEqual([]);
  });

  it('keeps its outcome for as long as the token may not write it', async () => {
    const { github, runs, start } = reporting;
    await runs.put(aSync('run', FIRST, RUNNING));
    const { idle } = await start();
    await idle();
    const how = MISBEHAVIOURS.forbidden;
    github.misbehave({ ...STATUS, how, times: 30 });
    await runs.change('run', SUCCEEDED);
    await idle();
    expect(states()).toEqual([['in_progress', 'success']]);
  });

  it('leaves out a state before the end that GitHub refuses, and shows the outcome', async () => {
    const { github, logged, runs, start } = reporting;
    github.misbehave({ ...STATUS, how: MISBEHAVIOURS.unprocessable, times: 1 });
    await runs.put(aSync('run', FIRST, RUNNING));
    const { idle } = await start();
    await idle();
    expect(logged).toContain(
      'deployment cannot be reported; this state is left out; the outcome will be sent',
    );
    await runs.change('run', SUCCEEDED);
    await idle();
    expect(states()).toEqual([['success']]);
    expect(await unsettled()).toEqual([]);
  });

  it('is never created before that of an earlier run of its environment', async () => {
    const { github, runs, start } = reporting;
    github.misbehave({ ...CREATION, how: MISBEHAVIOURS.serverError, times: 3 });
    await runs.put(aSync('one', commitOf(1), { ...SUCCEEDED, chosen: 1 }));
    await runs.put(aSync('two', commitOf(2), { ...SUCCEEDED, chosen: 1 }));
    await (await start()).idle();
    expect(github.deployments.all.map(({ sha }) => sha)).toEqual([commitOf(1), commitOf(2)]);
    expect(states()).toEqual(Array(2).fill(['in_progress', 'success']));
  });

  it('follows a repository that was renamed', async () => {
    const { github, runs, start } = reporting;
    reporting.targetOf = () =>
      aTarget(github, { repo: 'old-name', deployments: true, serviceStatuses: true });
    const moved = (location: string): Misbehaviour => ({
      kind: 'answer',
      status: 307,
      headers: { location },
      body: { message: 'Moved Permanently' },
    });
    const old = /^\/repos\/acme\/old-name\//;
    const place = '/repos/acme/platform';
    const at = { path: new RegExp(`${old.source}deployments$`), method: 'POST' };
    github.misbehave({ ...at, how: moved(`${github.url}${place}/deployments`), times: 'forever' });
    // The first answer is lost, so that the list is read as well.
    github.misbehave({ ...CREATION, how: MISBEHAVIOURS.cut, after: 1, times: 1 });
    const list = `deployments?sha=${FIRST}&environment=production&task=deploy&per_page=100&page=1`;
    github.misbehave({
      path: /old-name\/deployments\?/,
      how: moved(`${github.url}${place}/${list}`),
      times: 'forever',
    });
    github.misbehave({
      path: /old-name\/deployments\/\d+\/statuses/,
      how: moved(`${github.url}${place}/deployments/4001/statuses`),
      times: 'forever',
    });
    github.misbehave({
      path: /old-name\/statuses/,
      how: moved(`${github.url}${place}/statuses/${FIRST}`),
      times: 'forever',
    });
    await runs.put(aSync('run', FIRST, { ...SUCCEEDED, chosen: 1 }));
    await (await start()).idle();
    expect(states()).toEqual([['in_progress', 'success']]);
    expect(github.statuses.latest(FIRST, 'IaC Runner / Sync')).toMatchObject({ state: 'success' });
    expect(await unsettled()).toEqual([]);
  });
});
