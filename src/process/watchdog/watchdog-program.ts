/** The watchdog's process. Ends the held processes if its stdin ends or is silent for too long. */

import { createInterface } from 'node:readline';
import { endDescendants } from '../process-table.ts';
import type { HeldProcess, WatchdogMessage } from './watchdog.ts';

const [silenceMs = Number.NaN, graceMs = Number.NaN] = process.argv.slice(2).map(Number);
const LOOK_MS = 500;

let held: HeldProcess[] = [];
let heardAtMs = performance.now();

async function endHeld(): Promise<void> {
  await Promise.all(held.splice(0).map((leader) => endDescendants({ ...leader, graceMs })));
}

const timer = setInterval(() => {
  if (performance.now() - heardAtMs > silenceMs) void endHeld();
}, LOOK_MS);

for await (const line of createInterface({ input: process.stdin })) {
  heardAtMs = performance.now();
  held = heldBy(line) ?? held;
}
clearInterval(timer);
await endHeld();

/** Returns null for half a line, whose writer died. */
function heldBy(line: string): HeldProcess[] | null {
  try {
    return (JSON.parse(line) as WatchdogMessage).held;
  } catch {
    return null;
  }
}
