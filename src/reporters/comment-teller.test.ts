import { describe, expect, it } from 'vitest';
import { createCommentTeller } from './comment-teller.ts';
import type { SendOutcome } from './github-answer.ts';
import type { CommentRequest, GitHubComments } from './github-comments.ts';
import { planComments, previewComments } from './sticky-comments.ts';
import { aPlan, aPreview, createStoredRuns } from './stored-runs.fixture.ts';
import { createWriteLane } from './write-lane.ts';

const DONE = { state: 'succeeded', message: 'Merging this will sync nothing' } as const;
const RETRY: SendOutcome = {
  kind: 'retry',
  scope: 'target',
  afterMs: 1_000,
  maxTries: null,
  problem: 'Down.',
};

function createTelling(outcomes: SendOutcome[] = []) {
  const store = createStoredRuns();
  const put: CommentRequest[] = [];
  let now = 1_700_000_000_000;
  const client: GitHubComments = {
    async put(request) {
      put.push(request);
      return outcomes.shift() ?? { kind: 'ok' };
    },
  };
  const runUrl = (id: string) => `https://runner.example/runs/${id}`;
  const log = { info: () => undefined, warn: () => undefined };
  const lane = createWriteLane({ clock: () => now, random: () => 0 });
  const previews = previewComments({
    store: { latestEvent: async () => null },
    client,
    repository: { owner: 'acme', repo: 'platform' },
    runUrl,
  });
  const plans = planComments({
    store: { steps: async () => [], eventsOf: async () => [] },
    credential: 'sealed',
    openClient: async ({ id }) => (id === 'no-token' ? null : client),
    runUrl,
  });
  const tellPreview = createCommentTeller({ store, log, lane }, previews);
  const tellPlan = createCommentTeller({ store, log, lane }, plans);
  const tellNext = async () => (await tellPreview()) ?? tellPlan();
  return {
    store,
    put,
    /** Until nothing is left, or until `rounds` are over; the waits between them. */
    async tellAll(rounds = 20) {
      const waits: number[] = [];
      for (let round = 0; round < rounds; round += 1) {
        const waitMs = await tellNext();
        if (waitMs === null) return waits;
        waits.push(waitMs);
        now += waitMs;
      }
      return waits;
    },
  };
}

describe('The comment of a pull request', () => {
  it('is told once for the newest outcome, and older ones are settled unsaid', async () => {
    const { store, put, tellAll } = createTelling();
    store.put(aPreview({ id: '1', ...DONE }));
    store.put(aPreview({ id: '2', ...DONE, state: 'superseded' }));
    store.put(aPreview({ id: '3', ...DONE, state: 'failed' }));
    store.put(aPreview({ id: '4', ...DONE, state: 'cancelled' }));
    store.put(aPreview({ id: '5', ...DONE }, { pullRequest: 8 }));
    await tellAll();
    expect(put.map(({ pullRequest, body }) => [pullRequest, /runs\/(\d)/.exec(body)?.[1]])).toEqual([
      [7, '3'],
      [8, '5'],
    ]);
    expect(store.settledRuns.toSorted()).toEqual(['1', '2', '3', '4', '5']);
  });

  it('waits for a newer preview that is on its way', async () => {
    const { store, put, tellAll } = createTelling();
    store.put(aPreview({ id: '1', ...DONE }));
    store.put(aPreview({ id: '2', state: 'running' }));
    expect(await tellAll()).toEqual([]);
    expect(put).toEqual([]);
    store.change('2', { state: 'cancelled' });
    await tellAll();
    expect(put).toHaveLength(1);
  });

  it('is tried again after a failure, growing slower', async () => {
    const { store, put, tellAll } = createTelling([RETRY, RETRY, RETRY]);
    store.put(aPreview({ id: '1', ...DONE }));
    const waits = (await tellAll()).filter((ms) => ms > 100);
    expect(waits).toEqual([900, 1_900, 3_900]);
    expect(put).toHaveLength(4);
    expect(store.settledRuns).toEqual(['1']);
  });

  it('is given up when GitHub refuses it, and the problem stays to be seen', async () => {
    const { store, put, tellAll } = createTelling([{ kind: 'refused', problem: 'Not allowed.' }]);
    store.put(aPreview({ id: '1', ...DONE }));
    await tellAll();
    expect(put).toHaveLength(1);
    expect(store.savedReports.at(-1)).toMatchObject({ target: '#7', settled: true, problem: 'Not allowed.' });
  });

  it('keeps a second apart from the one before', async () => {
    const { store, tellAll } = createTelling();
    store.put(aPreview({ id: '1', ...DONE }));
    store.put(aPreview({ id: '2', ...DONE }, { pullRequest: 8 }));
    expect(await tellAll()).toEqual([100, 900, 100]);
  });

  it('of a plan is told when it waits for an approval, once, and again when it has ended', async () => {
    const { store, put, tellAll } = createTelling();
    store.put(aPlan({ id: '1', state: 'awaiting_approval', message: 'Heads of forks need an approval' }));
    await tellAll();
    expect(put.map(({ mark }) => mark)).toEqual(['<!-- runners-poc:plan:p1 -->']);
    expect(store.settledRuns).toEqual([]);
    store.change('1', { state: 'running' });
    await tellAll();
    expect(put).toHaveLength(1);
    store.change('1', { state: 'succeeded' });
    await tellAll();
    expect(put).toHaveLength(2);
    expect(store.settledRuns).toEqual(['1']);
  });

  it('of a plan whose token is gone is undeliverable, and holds up nobody', async () => {
    const { store, put, tellAll } = createTelling();
    store.put(aPlan({ id: 'no-token', state: 'failed' }));
    store.put(aPlan({ id: '2', state: 'succeeded', concurrencyGroup: 'plan:other' }));
    await tellAll();
    expect(put).toHaveLength(1);
    expect(store.savedReports[0]).toMatchObject({ runId: 'no-token', settled: true });
    expect(store.settledRuns.toSorted()).toEqual(['2', 'no-token']);
  });

  it('of plans is one for each plan id, and a plan by our own token is none of a request', async () => {
    const { store, put, tellAll } = createTelling();
    store.put(aPlan({ id: '1', state: 'succeeded' }));
    store.put(aPlan({ id: '2', state: 'succeeded', concurrencyGroup: 'plan:other' }, { planId: 'p2' }));
    store.put(
      aPlan({ id: '3', state: 'succeeded', concurrencyGroup: 'plan:ours' }, { credential: 'configured' }),
    );
    await tellAll();
    expect(put.map(({ mark }) => mark)).toEqual([
      '<!-- runners-poc:plan:p1 -->',
      '<!-- runners-poc:plan:p2 -->',
    ]);
  });
});
