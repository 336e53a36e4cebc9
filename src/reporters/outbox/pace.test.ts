import { expect, it } from 'vitest';
import { createPace } from './pace.ts';

it('lets the first write go at once and the next a second later', () => {
  const pace = createPace({ minIntervalMs: 1_000 });
  expect(pace.earliest(5_000, { final: true })).toBe(5_000);
  pace.record(5_000);
  expect(pace.earliest(5_200, { final: true })).toBe(6_000);
  expect(pace.earliest(60_000, { final: true })).toBe(60_000);
});

it.each([
  ['final', true, 80, 500],
  ['pending', false, 60, 375],
])('keeps %s writes within a part of the minute and the hour', (_name, final, perMinute, perHour) => {
  const pace = createPace({ minIntervalMs: 0 });
  const times: number[] = [];
  for (let now = 0; times.length < 1_200; ) {
    now = pace.earliest(now, { final });
    pace.record(now);
    times.push(now);
  }
  function mostWithin(windowMs: number): number {
    return Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + windowMs).length));
  }
  expect(mostWithin(60_000)).toBe(perMinute);
  expect(mostWithin(3_600_000)).toBe(perHour);
});

it('is not blocked by a clock that was set back', () => {
  const pace = createPace({ minIntervalMs: 1_000 });
  pace.record(9_000_000);
  expect(pace.earliest(1_000, { final: true })).toBe(1_000);
});
