import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SendOutcome } from '../../github/github-answer.ts';
import { steadyNow } from '../../steady-clock.ts';
import { createWriteLane } from './write-lane.ts';

const DAY_MS = 86_400_000;
const NOW = 1_700_000_000_000;

function refusedBy(scope: 'target' | 'kind' | 'everything'): Extract<SendOutcome, { kind: 'retry' }> {
  return { kind: 'retry', scope, afterMs: 60_000, maxTries: null, problem: 'No.' };
}

it('One kind of writes waits alone for what is its own trouble, and all wait for the trouble of the host', () => {
  let now = NOW;
  const lane = createWriteLane({ clock: () => now, random: () => 0 });
  const [statuses, comments] = [lane.ofKind(), lane.ofKind()];
  const waits = () =>
    [statuses, comments].map((kind) => kind.earliest({ promised: true, notBefore: 0 }) - now);
  statuses.record(refusedBy('kind'));
  expect(waits()).toEqual([60_000, 1_000]);
  statuses.record(refusedBy('kind'));
  expect(waits()).toEqual([120_000, 1_000]);
  comments.record({ kind: 'ok' });
  expect(waits()).toEqual([120_000, 1_000]);
  statuses.record(refusedBy('everything'));
  expect(waits()).toEqual([120_000, 60_000]);
  now += 120_000;
  expect(waits()).toEqual([0, 0]);
});

it('Every time that is kept is a whole number of milliseconds', () => {
  const lane = createWriteLane({ clock: () => NOW + 0.25, random: () => 0.333 });
  for (const scope of ['target', 'kind', 'everything'] as const) {
    for (const failures of [1, 2, 7, 40]) {
      const at = lane.retryAt({ ...refusedBy(scope), afterMs: 9_876.543 }, failures);
      expect(Number.isSafeInteger(at), `${scope} ${failures} ${at}`).toBe(true);
    }
  }
});

describe('When the time of the machine is set', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }));
  afterEach(() => void vi.useRealTimers());

  it('F23: a lane writes again after a second although the clock was set back by a day', () => {
    const kind = createWriteLane({}).ofKind();
    kind.record({ kind: 'ok' });
    vi.setSystemTime(Date.now() - DAY_MS);
    expect(kind.earliest({ promised: true, notBefore: 0 }) - steadyNow()).toBeLessThanOrEqual(1_000);
  });

  it('F23: a lane keeps the pause that GitHub asked for although the clock was set forward by a day', () => {
    const kind = createWriteLane({}).ofKind();
    kind.record({ ...refusedBy('everything'), afterMs: 60_000 });
    vi.setSystemTime(Date.now() + DAY_MS);
    expect(kind.earliest({ promised: true, notBefore: 0 }) - steadyNow()).toBeGreaterThan(50_000);
  });
});
