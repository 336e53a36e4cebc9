/**
 * Preloaded into a server (`node --import`), whose wall clock is then off by the milliseconds in a file. Timers and
 * the monotonic clock do not change, as on a machine whose time is set.
 */

import { readFileSync } from 'node:fs';

const file = process.env.TEST_CLOCK_FILE ?? '';
const TrueDate = Date;

function offsetMs(): number {
  try {
    return Number(readFileSync(file, 'utf8')) || 0;
  } catch {
    return 0;
  }
}

globalThis.Date = new Proxy(TrueDate, {
  construct(target, values, newTarget): object {
    const given = values.length === 0 ? [TrueDate.now() + offsetMs()] : values;
    return Reflect.construct(target, given, newTarget);
  },
  get: (target, key) =>
    key === 'now' ? () => TrueDate.now() + offsetMs() : Reflect.get(target, key, target),
});
