/**
 * Preloaded into a server (`node --import`): its wall clock is off by the milliseconds that stand in a file. Timers
 * and the monotonic clock go on as they are, like on a machine whose time is set.
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
