import { describe, expect, it } from 'vitest';
import { nextOpening, type SyncWindow } from './sync-window.ts';

const nights: SyncWindow = {
  days: ['mon', 'tue'],
  fromMinute: 22 * 60,
  toMinute: 6 * 60,
  timeZone: 'Europe/Berlin',
};

function opening(window: SyncWindow, now: string): string {
  return new Date(nextOpening([window], Date.parse(now))).toISOString();
}

describe('nextOpening', () => {
  it('is now if there are no windows', () => {
    expect(nextOpening([], 42)).toBe(42);
  });

  it.each([
    ['in the window', '2026-03-02T21:30:00.000Z', '2026-03-02T21:30:00.000Z'],
    [
      'past midnight, in the window that began the day before',
      '2026-03-04T04:00:00.000Z',
      '2026-03-04T04:00:00.000Z',
    ],
    ['just before it opens', '2026-03-02T20:59:30.000Z', '2026-03-02T21:00:00.000Z'],
    ['at its end', '2026-03-03T05:00:00.000Z', '2026-03-03T21:00:00.000Z'],
    ['on a day without one', '2026-03-06T12:00:00.000Z', '2026-03-09T21:00:00.000Z'],
    ['after the clocks went forward', '2026-03-30T12:00:00.000Z', '2026-03-30T20:00:00.000Z'],
  ])('%s', (_name, now, expected) => {
    expect(opening(nights, now)).toBe(expected);
  });

  it('takes equal ends for a whole day', () => {
    const always: SyncWindow = { days: ['sat'], fromMinute: 0, toMinute: 0, timeZone: 'UTC' };
    expect(opening(always, '2026-03-07T23:59:00.000Z')).toBe('2026-03-07T23:59:00.000Z');
    expect(opening(always, '2026-03-06T23:00:00.000Z')).toBe('2026-03-07T00:00:00.000Z');
  });
});
