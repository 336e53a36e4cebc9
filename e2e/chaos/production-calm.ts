/** After the storm, people decide about what waits and promote what staging holds, until production has it. */

import { statusesOf } from './environment-statuses.ts';
import type { Evidence, Problem } from './evidence.ts';
import { behind, unfinished } from './invariants.ts';
import { adopt, decide, promote, unpin } from './promotion-requests.ts';
import { unended } from './status-truth.ts';
import type { World } from './world.ts';

/** Nobody asks again before this time, because the answer would be the same. */
const PATIENCE_MS = 2_000;

/** Every run of production has ended, production has what staging has, and its statuses have ended. */
export function openInProduction(world: World, production: Evidence): Problem[] {
  return [
    ...unfinished(production),
    ...behind(production),
    ...unended(production, statusesOf(world, 'production')),
  ];
}

/** Does what people do in production. `isStagingDone` says whether staging has everything. */
export type ProductionHelp = (production: Evidence, isStagingDone: boolean) => Promise<void>;

export function createProductionHelp(world: World): ProductionHelp {
  let nextMs = 0;
  let unpinned = 0;
  return async (production, isStagingDone) => {
    await decideWaiting(world, production);
    const isIdle = unfinished(production).length === 0;
    if (!isStagingDone || !isIdle || behind(production).length === 0 || performance.now() < nextMs) return;
    nextMs = performance.now() + PATIENCE_MS;
    const { rollbacks } = world.production;
    const pinned = new Set(rollbacks.slice(unpinned).map(({ service }) => service));
    const { head } = production.history;
    const asked = pinned.size > 0 ? await unpin(world, [...pinned], head) : await promote(world);
    if (!asked) return;
    unpinned = rollbacks.length;
    await decide(world, asked, 'approve');
  };
}

/** Somebody decides about every run that waits, also about those whose request got no answer. */
async function decideWaiting(world: World, { runs }: Evidence): Promise<void> {
  for (const [runId, state] of runs) {
    if (state !== 'awaiting_approval') continue;
    const asked = await adopt(world, runId);
    if (asked) await decide(world, asked, world.random.chance(0.5) ? 'approve' : 'reject');
  }
}
