import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MISBEHAVIOURS } from '../../../e2e/support/github-misbehaviour.ts';
import { expectNoViolations, type LocalGithub, startLocalGithub } from '../../../e2e/support/local-github.ts';
import { createGitHubComments } from '../../github/github-comments.ts';
import { aTarget } from '../local-reporting.fixture.ts';
import { createSetAside } from '../outbox/set-aside.ts';
import { createWriteLane } from '../outbox/write-lane.ts';
import { aPlan as anyPlan, aPreview, createStoredRuns, type StoredRuns } from '../stored-runs.fixture.ts';
import { createCommentSender } from './comment-sender.ts';
import { planComments, previewComments } from './sticky-comments.ts';

const DONE = { state: 'succeeded', message: 'Merging this will sync nothing' } as const;
const TOKEN = 'ghp_comments';

let github: LocalGithub;
let runs: StoredRuns;
let now = 1_700_000_000_000;

beforeEach(async () => {
  github = await startLocalGithub({ fullName: 'acme/platform', token: TOKEN });
  runs = await createStoredRuns();
});

afterEach(async () => {
  await github.close();
  await runs.close();
  expectNoViolations(github);
});

function aPlan(...[changes, input]: Parameters<typeof anyPlan>) {
  return anyPlan(changes, { repository: 'acme/platform', ...input });
}

/** Runs one round of all senders of comments. */
function createSending(): () => Promise<number | null> {
  const { store } = runs;
  const client = createGitHubComments({ apiUrl: github.url, token: TOKEN, version: '1' });
  const laneOf = () => lane;
  const runUrl = (id: string) => `https://runner.example/runs/${runs.nameOf(id)}`;
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const lane = createWriteLane({ clock: () => now, random: () => 0 });
  const previews = previewComments({
    store,
    targetOf: () => aTarget(github),
    client: { version: '1' },
    runUrl,
  });
  const plans = planComments({
    store,
    credential: 'sealed',
    openClient: async ({ id }) => (runs.nameOf(id) === 'no-token' ? null : client),
    runUrl,
  });
  const sendPreview = createCommentSender({ store, log, laneOf }, previews);
  const sendPlan = createCommentSender({ store, log, laneOf }, plans);
  const aside = createSetAside('comments', log);
  return async () => (await sendPreview(aside)) ?? sendPlan(aside);
}

/** Runs rounds until nothing is left, or until `rounds` are over. Returns the waits between them. */
async function sendAll(rounds = 20, sendNext = createSending()): Promise<number[]> {
  const waits: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const waitMs = await sendNext();
    if (waitMs === null) return waits;
    waits.push(waitMs);
    now += waitMs;
  }
  return waits;
}

/** Returns the run that each comment shows, and how often the comment was edited. */
function standing(pullRequest = 7): [run: string, edits: number][] {
  return github.comments
    .of(pullRequest)
    .map(({ body, edits }) => [/runs\/([\w-]+)/.exec(body)?.[1] ?? '', edits]);
}

function writes(): number {
  return github.requests.filter(({ method }) => method !== 'GET').length;
}

describe('The comment of a pull request', () => {
  it('is written once for the newest outcome, and older runs are settled without a comment', async () => {
    await runs.put(aPreview({ id: '1', ...DONE }));
    await runs.put(aPreview({ id: '2', ...DONE, state: 'superseded' }));
    await runs.put(aPreview({ id: '3', ...DONE, state: 'failed' }));
    await runs.put(aPreview({ id: '4', ...DONE, state: 'cancelled' }));
    await runs.put(aPreview({ id: '5', ...DONE }, { pullRequest: 8 }));
    await sendAll();
    expect([standing(7), standing(8)]).toEqual([[['3', 0]], [['5', 0]]]);
    expect(runs.settledRuns.toSorted()).toEqual(['1', '2', '3', '4', '5']);
  });

  it('waits for a newer preview that is on its way', async () => {
    await runs.put(aPreview({ id: '1', ...DONE }));
    await runs.put(aPreview({ id: '2', state: 'running' }));
    expect(await sendAll()).toEqual([]);
    expect(github.requests).toEqual([]);
    await runs.change('2', { state: 'cancelled' });
    await sendAll();
    expect(standing()).toEqual([['1', 0]]);
  });

  it('is tried again after a failure, at growing intervals', async () => {
    github.misbehave({ how: MISBEHAVIOURS.serverError, times: 3, method: 'POST' });
    await runs.put(aPreview({ id: '1', ...DONE }));
    const waits = (await sendAll()).filter((ms) => ms > 100);
    expect(waits).toEqual([900, 1_900, 3_900]);
    expect(writes()).toBe(4);
    expect(runs.settledRuns).toEqual(['1']);
  });

  it('is given up if GitHub refuses it, and the report keeps the problem', async () => {
    github.misbehave({ how: MISBEHAVIOURS.forbidden, times: 1, method: 'POST' });
    await runs.put(aPreview({ id: '1', ...DONE }));
    await sendAll();
    expect(writes()).toBe(1);
    expect(await runs.reports('1')).toMatchObject([
      { target: '#7', settled: true, problem: expect.stringContaining('HTTP 403') },
    ]);
  });

  it('is written a second after the one before', async () => {
    await runs.put(aPreview({ id: '1', ...DONE }));
    await runs.put(aPreview({ id: '2', ...DONE }, { pullRequest: 8 }));
    expect(await sendAll()).toEqual([100, 900, 100]);
  });

  it('of a plan is written once while the plan waits for an approval, and again when it has ended', async () => {
    const sendNext = createSending();
    await runs.put(
      aPlan({ id: '1', state: 'awaiting_approval', message: 'Heads of forks need an approval' }),
    );
    await sendAll(20, sendNext);
    expect(github.comments.of(7)[0]?.body).toContain('<!-- runners-poc:plan:p1 -->');
    expect(runs.settledRuns).toEqual([]);
    await runs.change('1', { state: 'running' });
    await sendAll(20, sendNext);
    expect(writes()).toBe(1);
    await runs.change('1', { state: 'succeeded' });
    await sendAll(20, sendNext);
    expect(standing()).toEqual([['1', 1]]);
    expect(runs.settledRuns).toEqual(['1']);
  });

  it('of a plan is updated by a newer head that changes no root, but not created for such a head', async () => {
    const nothing = { state: 'succeeded', message: 'No Terraform root is changed' } as const;
    await runs.put(aPlan({ id: '1', ...nothing }, { roots: null }));
    await sendAll();
    expect(standing()).toEqual([]);
    expect(runs.settledRuns).toEqual(['1']);
    await runs.put(aPlan({ id: '2', state: 'succeeded', chosen: 1, message: '1 root' }, { roots: null }));
    await sendAll();
    await runs.put(aPlan({ id: '3', ...nothing }, { roots: null, revision: 'b'.repeat(40) }));
    await sendAll();
    expect(standing()).toEqual([['3', 1]]);
    const [comment] = github.comments.of(7);
    expect(comment?.body).toContain('No Terraform root is changed');
    expect(comment?.body).toContain('b'.repeat(40));
    expect(runs.settledRuns).toEqual(['1', '2', '3']);
  });

  it('of a plan without its token is undeliverable, and holds up no other', async () => {
    await runs.put(aPlan({ id: 'no-token', state: 'failed' }));
    await runs.put(aPlan({ id: '2', state: 'succeeded', concurrencyGroup: 'plan:other' }));
    await sendAll();
    expect(standing()).toEqual([['2', 0]]);
    expect(await runs.reports('no-token')).toMatchObject([{ settled: true }]);
    expect(runs.settledRuns.toSorted()).toEqual(['2', 'no-token']);
  });

  it('of plans exists once for each plan id, and the reporter of requests leaves plans with our own token alone', async () => {
    const ended = { state: 'succeeded' } as const;
    await runs.put(aPlan({ id: '1', ...ended }));
    await runs.put(aPlan({ id: '2', ...ended, concurrencyGroup: 'plan:other' }, { planId: 'p2' }));
    const own = { credential: 'configured' } as const;
    await runs.put(aPlan({ id: '3', ...ended, concurrencyGroup: 'plan:ours' }, own));
    await sendAll();
    expect(github.comments.of(7).map(({ body }) => body.split('\n')[0])).toEqual([
      '<!-- runners-poc:plan:p1 -->',
      '<!-- runners-poc:plan:p2 -->',
    ]);
  });
});
