/** After the storm, people decide about what waits and promote what staging holds, until production has it. */

import { setTimeout as sleep } from 'node:timers/promises';
import { statusesOf } from './environment-statuses.ts';
import { createEvidenceReader, type Evidence, type Problem } from './evidence.ts';
import { recordPeace } from './facts.ts';
import { behind, unfinished, unsafe } from './invariants.ts';
import { whyPromotionUntrue } from './production-truth.ts';
import { overlapping, unsafePromotions } from './promotion-invariants.ts';
import { adopt, decide, promote, unpin } from './promotion-requests.ts';
import { unended, untrue } from './status-truth.ts';
import { watchStillness } from './stillness.ts';
import type { World } from './world.ts';

const POLL_MS = 150;
/** A run gets this time before people ask for another one. */
const PATIENCE_MS = 10_000;

type Reader = ReturnType<typeof createEvidenceReader>;

/** Call the returned function when staging is calm. It resolves to the problems that remain or can never be repaired. */
export function createProductionCheck(world: World, readStaging: Reader): () => Promise<Problem[]> {
  const readProduction = createEvidenceReader(world, 'production');
  let checkedRollbacks = 0;
  return async () => {
    const pinned = world.production.rollbacks.slice(checkedRollbacks).map(({ service }) => service);
    checkedRollbacks = world.production.rollbacks.length;
    return waitForPeace(world, { readStaging, readProduction, pinned: new Set(pinned) });
  };
}

interface Watched {
  readStaging: Reader;
  readProduction: Reader;
  /** The services that rollbacks may have pinned. */
  pinned: Set<string>;
}

async function waitForPeace(
  world: World,
  { readStaging, readProduction, pinned }: Watched,
): Promise<Problem[]> {
  const statuses = statusesOf(world.stage.github, 'production');
  const isStill = watchStillness(world);
  let nextMs = 0;
  for (;;) {
    const server = await world.server.revive(0);
    const production = await readProduction(server);
    const staging = await readStaging(server);
    const requests = world.production;
    const forGood = [
      ...unsafe(production),
      ...overlapping(staging, 'staging'),
      ...overlapping(production, 'production'),
      ...unsafePromotions({ staging, production, requests }),
    ];
    if (forGood.length > 0) return forGood;
    const open = [...unfinished(production), ...behind(production), ...unended(production, statuses)];
    if (open.length === 0) {
      const lies = untrue(production, statuses, (...judged) => whyPromotionUntrue(requests, ...judged));
      if (lies.length === 0) recordPeace(requests, production.runs.keys());
      return lies;
    }
    if (isStill(production)) return open;
    await decideWaiting(world, production);
    const isIdle = unfinished(production).length === 0;
    if (isIdle && behind(production).length > 0 && performance.now() > nextMs) {
      await catchUp(world, production.history.head, pinned);
      nextMs = performance.now() + PATIENCE_MS;
    }
    await sleep(POLL_MS);
  }
}

/** Somebody decides about every run that waits, also about those whose request got no answer. */
export async function decideWaiting(world: World, { runs }: Pick<Evidence, 'runs'>): Promise<void> {
  for (const [runId, state] of runs) {
    if (state !== 'awaiting_approval') continue;
    const asked = await adopt(world, runId);
    if (asked) await decide(world, asked, world.random.chance(0.5) ? 'approve' : 'reject');
  }
}

/** Asks for what production lacks, and approves it. */
async function catchUp(world: World, head: string, pinned: Set<string>): Promise<void> {
  const asked = pinned.size > 0 ? await unpin(world, [...pinned], head) : await promote(world);
  if (!asked) return;
  pinned.clear();
  await decide(world, asked, 'approve');
}
