import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { classifyMissingToken, type RetryOutcome } from '../../github/github-answer.ts';
import { steadyNow } from '../../steady-clock.ts';
import { createWriteLane } from './write-lane.ts';

const DAY_MS = 86_400_000;
const NOW = 1_700_000_000_000;

function refusedBy(scope: RetryOutcome['scope']): RetryOutcome {
  return { kind: 'retry', scope, afterMs: 60_000, maxTries: null, problem: 'No.' };
}

it('One kind of write waits alone for its own problems, and all kinds wait for problems of the host', () => {
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

it('One repository waits alone for its own problems, with all kinds of its writes', () => {
  let now = NOW;
  const host = createWriteLane({ clock: () => now, random: () => 0 });
  const [one, other] = [host.ofRepository(), host.ofRepository()];
  const lanes = [one.ofKind(), one.ofKind(), other.ofKind()] as const;
  const waits = () => lanes.map((lane) => lane.earliest({ promised: true, notBefore: 0 }) - now);
  lanes[0].record(refusedBy('repository'));
  expect(waits()).toEqual([60_000, 60_000, 1_000]);
  expect(lanes.map((lane) => lane.isPaused())).toEqual([true, true, false]);
  lanes[1].record(refusedBy('repository'));
  expect(waits()).toEqual([120_000, 120_000, 1_000]);
  lanes[2].record({ kind: 'ok' });
  now += 120_000;
  lanes[0].record({ kind: 'ok' });
  lanes[0].record(refusedBy('repository'));
  expect(waits()).toEqual([60_000, 60_000, 1_000]);
});

it('A token that cannot be read takes no time from other repositories', () => {
  const host = createWriteLane({ clock: () => NOW, random: () => 0 });
  const [one, other] = [host.ofRepository(), host.ofRepository()];
  one.record(classifyMissingToken('The secret cannot be read.'));
  const waits = [one, other].map((lane) => lane.earliest({ promised: true, notBefore: 0 }) - NOW);
  expect(waits).toEqual([60_000, 0]);
});

it('Every stored time is a whole number of milliseconds', () => {
  const lane = createWriteLane({ clock: () => NOW + 0.25, random: () => 0.333 });
  for (const scope of ['target', 'kind', 'repository', 'everything'] as const) {
    for (const failures of [1, 2, 7, 40]) {
      const at = lane.retryAt({ ...refusedBy(scope), afterMs: 9_876.543 }, failures);
      expect(Number.isSafeInteger(at), `${scope} ${failures} ${at}`).toBe(true);
    }
  }
});

describe('When somebody sets the time of the machine', () => {
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

it('The first write may start at once, and the next one a second later', () => {
  let now = NOW;
  const lane = createWriteLane({ clock: () => now });
  const wait = () => lane.earliest({ promised: true, notBefore: 0 }) - now;
  expect(wait()).toBe(0);
  lane.record({ kind: 'ok' });
  now += 200;
  expect(wait()).toBe(800);
  now += 60_000;
  expect(wait()).toBe(0);
});

it.each([
  ['promised', true, 80, 500],
  ['other', false, 60, 375],
])(
  'GitHub gets no more %s writes in a minute or an hour than its limits allow',
  (...[, promised, perMinute, perHour]) => {
    let now = 0;
    const lane = createWriteLane({ clock: () => now, minIntervalMs: 0 });
    const times: number[] = [];
    while (times.length < 1_200) {
      now = lane.earliest({ promised, notBefore: 0 });
      lane.record({ kind: 'ok' });
      times.push(now);
    }
    function mostWithin(windowMs: number): number {
      return Math.max(
        ...times.map((from) => times.filter((at) => at >= from && at < from + windowMs).length),
      );
    }
    expect(mostWithin(60_000)).toBe(perMinute);
    expect(mostWithin(3_600_000)).toBe(perHour);
  },
);

it('A clock that was set back blocks no write', () => {
  let now = 9_000_000;
  const lane = createWriteLane({ clock: () => now });
  lane.record({ kind: 'ok' });
  now = 1_000;
  expect(lane.earliest({ promised: true, notBefore: 0 })).toBe(1_000);
});
