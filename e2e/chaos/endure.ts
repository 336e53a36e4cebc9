/** A hardship of the machine, recorded for as long as it lasts. */

import { type Hardship, nowNs } from './facts.ts';
import type { World } from './world.ts';

/** Records that the hardship lasts as long as `work`. */
export async function endure(
  { facts, story }: World,
  { kind, what }: { kind: Hardship['kind']; what: string },
  work: () => Promise<void>,
): Promise<void> {
  const hardship: Hardship = { kind, fromNs: nowNs(), untilNs: null };
  facts.hardships.push(hardship);
  story.add(what);
  try {
    await work();
  } finally {
    hardship.untilNs = nowNs();
    story.add(`over: ${what}`);
  }
}
