/** A GitHub that fails at its n-th request, and a store that fails at its n-th call, for every n of a short story. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MISBEHAVIOURS, type Misbehaviour } from '../../e2e/support/github-misbehaviour.ts';
import { expectNoViolations } from '../../e2e/support/local-github.ts';
import { failAtCall } from '../faults/failing-store.fixture.ts';
import { createLocalReporting, type LocalReporting } from './local-reporting.fixture.ts';
import type { SendingLoop } from './outbox/sending-loop.ts';
import { RUNNING, SUCCEEDED } from './reporting.fixture.ts';
import { aPlan, aPreview, aRun } from './stored-runs.fixture.ts';

/** More requests than one story makes. */
const MOST_CALLS = 300;

let reporting: LocalReporting;

beforeEach(async () => {
  reporting = await createLocalReporting(1_000);
});

afterEach(async () => {
  await reporting.close();
  expectNoViolations(reporting.github);
});

interface Story {
  /** Commits of the sync, the preview and the plan, and the pull requests of the latter two. */
  commits: [string, string, string];
  pulls: [number, number];
}

/** Commits and pull requests that no earlier story had. */
function createStory(n: number): Story {
  const commitOf = (letter: string): string => letter + n.toString(16).padStart(39, '0');
  return { commits: [commitOf('a'), commitOf('b'), commitOf('c')], pulls: [2 * n, 2 * n + 1] };
}

/** Plays a sync that starts and ends, a preview, and a plan. Each state is sent before the next one comes. */
async function play({ commits, pulls }: Story, { idle }: SendingLoop): Promise<void> {
  const { runs } = reporting;
  const [synced, previewed, planned] = commits;
  await runs.put(aRun({ id: synced, concurrencyGroup: synced, ...RUNNING, revision: synced }));
  await idle();
  await runs.change(synced, SUCCEEDED);
  await runs.put(
    aPreview(
      { id: previewed, concurrencyGroup: previewed, ...SUCCEEDED },
      { revision: previewed, pullRequest: pulls[0] },
    ),
  );
  await runs.put(
    aPlan(
      { id: planned, concurrencyGroup: planned, state: 'failed', message: 'The plan failed' },
      { revision: planned, pullRequest: pulls[1], repository: 'acme/platform', credential: 'configured' },
    ),
  );
  await idle();
}

/** Checks the state after a story. At most `doubles` statuses may have been sent twice in a row. */
async function expectSent({ commits, pulls }: Story, doubles: number, what: string): Promise<void> {
  const { github, runs } = reporting;
  const [synced, previewed, planned] = commits;
  const shown = commits.map((commit) => github.statuses.latest(commit)?.state);
  expect(shown, what).toEqual(['success', 'success', 'failure']);
  const repeated = commits.flatMap((commit) => {
    const texts = github.statuses.history(commit).map(({ state, description }) => `${state} ${description}`);
    return texts.filter((text, index) => text === texts[index - 1]);
  });
  expect(repeated.length, `${what}: ${repeated}`).toBeLessThanOrEqual(doubles);
  expect(github.statuses.history(synced)[0]?.state, what).toBe('pending');
  for (const [pull, name] of [
    [pulls[0], previewed],
    [pulls[1], planned],
  ] as const) {
    const bodies = github.comments.of(pull).map(({ body }) => body);
    expect(bodies, what).toEqual([expect.stringContaining(runs.idOf(name))]);
  }
  for (const reporter of ['commit-status', 'pull-request-comment', 'plan-comment'] as const)
    expect(await runs.store.unreported(reporter, 10), `${what}: ${reporter}`).toEqual([]);
}

describe('F44: A GitHub that fails at its n-th request', () => {
  it.each<[string, Misbehaviour, boolean]>([
    ['resets the connection', MISBEHAVIOURS.reset, false],
    ['resets the connection after it has done the work', MISBEHAVIOURS.reset, true],
    ['hangs', MISBEHAVIOURS.hang, false],
    ['answers half of its JSON', MISBEHAVIOURS.truncated, true],
    ['cuts its answer', MISBEHAVIOURS.cut, true],
    ['fails', MISBEHAVIOURS.serverError, false],
    ['refuses the token', MISBEHAVIOURS.badCredentials, false],
  ])('that %s shows every outcome in the end', async (what, how, takesEffect) => {
    const { github, start } = reporting;
    const reporter = await start();
    let n = 0;
    for (let isMet = true; isMet && n < MOST_CALLS; n += 1) {
      const before = github.requests.length;
      const stop = github.misbehave({ how, takesEffect, after: n, times: 1 });
      const story = createStory(n + 1);
      await play(story, reporter);
      isMet = github.requests.length - before > n;
      stop();
      const doubles = takesEffect ? 1 : 0;
      await expectSent(story, doubles, `${what}, request ${n + 1}`);
    }
    // Four statuses, and twice: the question for our account, a list and a comment.
    expect(n).toBeGreaterThan(10);
  });
});

describe('A store that fails at its n-th call', () => {
  it.each([
    ['and has not done its work', false],
    ['and has done its work', true],
  ])('%s: every outcome is sent once', async (what, afterwards) => {
    const { runs, start } = reporting;
    let n = 1;
    for (let isMet = true; isMet && n < MOST_CALLS; n += 1) {
      const failing = failAtCall(runs.store, n, { afterwards });
      const story = createStory(n);
      await play(story, await start(failing.store));
      const [failed] = failing.failed();
      isMet = failed !== undefined;
      await expectSent(story, 0, `call ${n} (${failed}) fails ${what}`);
    }
    expect(n).toBeGreaterThan(20);
  });

  it('for a long time holds up nothing once it works again', async () => {
    const { logged, runs, start } = reporting;
    const failing = failAtCall(runs.store, 3, { times: Number.POSITIVE_INFINITY });
    const reporter = await start(failing.store);
    const story = createStory(1);
    const played = play(story, reporter);
    await expect.poll(() => failing.failed().length).toBeGreaterThan(10);
    failing.heal();
    await played;
    await expectSent(story, 0, 'a store that was away');
    expect(logged).toContain('commit statuses wait: the store could not be read or written');
  });
});
