/** Notices when nothing happens any more. */

import type { Evidence } from './evidence.ts';
import type { World } from './world.ts';

/**
 * Far more time than it takes until something happens, because a failed status may have to wait for GitHub's
 * limits.
 */
const STILL_LIMIT_MS = 60_000;
/** Activity that continues for this long never ends. */
const CALM_LIMIT_MS = 5 * STILL_LIMIT_MS;

/** Returns a function that tells, each time it gets new evidence, whether nothing more will happen. */
export function watchStillness(world: World): (evidence: readonly Evidence[]) => boolean {
  const deadline = performance.now() + CALM_LIMIT_MS;
  let still = { sight: '', untilMs: 0 };
  return (evidence) => {
    const sight = evidence.map((one) => sightOf(world, one)).join('\n');
    if (sight !== still.sight) still = { sight, untilMs: performance.now() + STILL_LIMIT_MS };
    return performance.now() > Math.min(deadline, still.untilMs);
  };
}

/** Returns a text that changes as long as something happens, however slow the machine is. */
function sightOf({ facts, server, stage }: World, { journal, runs }: Evidence): string {
  const ended = journal.syncs.filter(({ endedNs }) => endedNs !== null).length;
  const written = stage.github.requests.filter(({ status }) => status === 201).length;
  const counts = [journal.syncs.length, ended, written, facts.serverKillsNs.length, server.current()?.pid];
  return `${counts.join(' ')} ${[...runs].join(' ')}`;
}
