import { describe, expect, it } from 'vitest';
import { createCommentTeller } from './comment-teller.ts';
import type { SendOutcome } from './github-answer.ts';
import type { CommentRequest } from './github-comments.ts';
import { aPreview, createStoredRuns } from './stored-runs.fixture.ts';
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
  const tellNext = createCommentTeller({
    store: { ...store, latestEvent: async () => null },
    client: {
      async put(request) {
        put.push(request);
        return outcomes.shift() ?? { kind: 'ok' };
      },
    },
    repository: { owner: 'acme', repo: 'platform' },
    runUrl: (id) => `https://runner.example/runs/${id}`,
    log: { info: () => undefined, warn: () => undefined },
    lane: createWriteLane({ clock: () => now, random: () => 0 }),
  });
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
});
