/** The times of the week in which syncs may run. */

import { z } from 'zod';
import { MINUTE } from './units.ts';

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

type Day = (typeof DAYS)[number];

/** A window on each of the days. It ends on the next day if `toMinute` is not after `fromMinute`. */
export interface SyncWindow {
  days: readonly Day[];
  /** Minutes after midnight. */
  fromMinute: number;
  toMinute: number;
  /** IANA name, e.g. Europe/Berlin. */
  timeZone: string;
}

const ALL_DAYS: readonly string[] = DAYS;
const WEEK_MINUTES = 7 * 24 * 60;
const MINUTES_OF_DAY = 24 * 60;

const clock = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'expected a time of day such as "22:30"')
  .describe('A time of day, e.g. "22:30"');

/** A window as people write it in a file. */
export const windowFields = z.strictObject({
  days: z.array(z.enum(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])).min(1),
  from: clock,
  to: clock,
  timezone: z
    .string()
    .refine(isTimeZone, 'expected a time zone such as Europe/Berlin')
    .default('UTC')
    .describe('IANA name, e.g. Europe/Berlin'),
});

export function toWindow({ days, from, to, timezone }: z.output<typeof windowFields>): SyncWindow {
  return { days, fromMinute: minutes(from), toMinute: minutes(to), timeZone: timezone };
}

function minutes(time: string): number {
  const [hours = 0, minute = 0] = time.split(':').map(Number);
  return hours * 60 + minute;
}

function isTimeZone(name: string): boolean {
  try {
    return Boolean(new Intl.DateTimeFormat('en-US', { timeZone: name }));
  } catch {
    return false;
  }
}

/** The next time (ms since the epoch) at which a sync may run. Inside a window that is `now`. */
export function nextOpening(windows: readonly SyncWindow[], now: number): number {
  if (windows.length === 0 || windows.some((window) => isOpen(window, now))) return now;
  const minute = Math.ceil(now / MINUTE);
  // Looking at every minute needs no rules for clock changes and leap days.
  for (let ahead = 0; ahead <= WEEK_MINUTES; ahead += 1) {
    const at = (minute + ahead) * MINUTE;
    if (windows.some((window) => isOpen(window, at))) return at;
  }
  return now + WEEK_MINUTES * MINUTE;
}

function isOpen({ days, fromMinute, toMinute, timeZone }: SyncWindow, at: number): boolean {
  const { day, minute } = localTime(at, timeZone);
  const today = DAYS[day];
  const yesterday = DAYS[(day + 6) % 7];
  const begins = today !== undefined && days.includes(today);
  if (fromMinute < toMinute) return begins && minute >= fromMinute && minute < toMinute;
  const goesOn = yesterday !== undefined && days.includes(yesterday);
  return (begins && minute >= fromMinute) || (goesOn && minute < toMinute);
}

const formats = new Map<string, Intl.DateTimeFormat>();

function localTime(at: number, timeZone: string): { day: number; minute: number } {
  let format = formats.get(timeZone);
  if (!format) {
    const options = {
      timeZone,
      weekday: 'short',
      hour: 'numeric',
      minute: 'numeric',
      hourCycle: 'h23',
    } as const;
    format = new Intl.DateTimeFormat('en-US', options);
    formats.set(timeZone, format);
  }
  const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]));
  const weekday = parts.get('weekday')?.toLowerCase() ?? '';
  const day = ALL_DAYS.indexOf(weekday);
  return { day, minute: (Number(parts.get('hour')) * 60 + Number(parts.get('minute'))) % MINUTES_OF_DAY };
}
