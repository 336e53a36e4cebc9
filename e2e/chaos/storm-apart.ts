/** Work in one environment while a task of the other one does not end. Two environments never wait for each other. */

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { ask } from './ask.ts';
import type { EnvironmentName } from './environments.ts';
import { nowNs } from './facts.ts';
import { decide, prepare, promote } from './promotion-requests.ts';
import { readAccepted } from './read-answer.ts';
import { holdTask, SLOW_SERVICE } from './slow-service.ts';
import type { StormEvent } from './storm-event.ts';
import { deliver, pushChange, pushTask } from './storm-pushes.ts';
import type { World } from './world.ts';

const POLL_MS = 100;
/** Much longer than a start of a task takes on a busy machine. */
const PATIENCE_MS = 45_000;
const START_LIMIT_MS = 15_000;

/** A promotion is approved while a task of staging does not end. */
async function promoteBesideSync(world: World): Promise<void> {
  if (!(await prepare(world))) return;
  const asked = await promote(world);
  if (!asked) return;
  const letGo = holdTask(world, 'staging', await pushTask(world, [SLOW_SERVICE]));
  try {
    const start = watchStarts(world, 'production');
    const { status } = await decide(world, asked, 'approve');
    if (status === 200) await start.isSeen(asked.runId);
  } finally {
    letGo();
  }
}

/** A push is synced while a task of production does not end. */
async function syncBesidePromotion(world: World): Promise<void> {
  const push = await pushChange(world, [SLOW_SERVICE]);
  await deliver(world, push);
  const letGo = holdTask(world, 'production', push.after);
  try {
    const asked = (await prepare(world)) ? await promote(world, { revision: push.after }) : null;
    if (!asked || (await decide(world, asked, 'approve')).status !== 200) return;
    if (!(await startsWithin(world, push.atNs))) return;
    const start = watchStarts(world, 'staging');
    const runId = readAccepted(await deliver(world, await pushChange(world)));
    if (runId !== null) await start.isSeen(runId);
  } finally {
    letGo();
  }
}

/** Waits until the slow task of production has started. Returns whether it has. */
async function startsWithin({ journals }: World, sinceNs: bigint): Promise<boolean> {
  const deadline = performance.now() + START_LIMIT_MS;
  while (performance.now() < deadline) {
    const { syncs } = await journals.production.read();
    const started = syncs.some(
      ({ service, startedNs, endedNs }) =>
        service === SLOW_SERVICE && startedNs > sinceNs && endedNs === null,
    );
    if (started) return true;
    await sleep(POLL_MS);
  }
  return false;
}

/** Watches for the start of a task from now on. */
function watchStarts(world: World, environment: EnvironmentName) {
  const { journals, production, story } = world;
  const sinceNs = nowNs();
  const troubles = troublesOf(world);
  return {
    /** Waits for a start as long as the run is due. A trouble of the storm explains every delay. */
    async isSeen(runId: string): Promise<void> {
      const deadline = performance.now() + PATIENCE_MS;
      while (performance.now() < deadline) {
        const { syncs } = await journals[environment].read();
        if (syncs.some(({ startedNs }) => startedNs > sinceNs)) {
          story.add(`${environment} did not wait`);
          return;
        }
        if (troublesOf(world) !== troubles || !(await isDue(world, runId))) return;
        await sleep(POLL_MS);
      }
      production.waits.push(
        `${environment} started no task for run ${runId} while one of the other environment went on`,
      );
    },
  };
}

const stateSchema = z.object({ state: z.enum(['queued', 'running']) });
const holdsSchema = z.object({ holds: z.array(z.unknown()).max(0) });

/** Returns whether the run waits or works, and nothing is held. */
async function isDue(world: World, runId: string): Promise<boolean> {
  const run = await ask(world, 'viewer', { method: 'GET', path: `/runs/${runId}` });
  const holds = await ask(world, 'viewer', { method: 'GET', path: '/holds' });
  return stateSchema.safeParse(run?.body).success && holdsSchema.safeParse(holds?.body).success;
}

/** Returns a text that changes with each trouble. */
function troublesOf({ facts, production, server }: World): string {
  const { serverKillsNs, gitKillsNs, taskKills, hardships, pushes } = facts;
  const over = hardships.filter(({ untilNs }) => untilNs !== null).length;
  const holds = production.holds.filter(({ untilNs }) => untilNs !== null).length;
  const counts = [serverKillsNs.length, gitKillsNs.length, taskKills.length, hardships.length, over];
  const more = [production.taskKills.length, production.holds.length, holds, production.rollbacks.length];
  const forced = pushes.filter((push) => push.forced).length;
  return [...counts, ...more, forced, server.current()?.pid].join(' ');
}

export const apart: readonly StormEvent[] = [
  { name: 'promotion beside a sync', weight: 2, happen: promoteBesideSync },
  { name: 'sync beside a promotion', weight: 2, happen: syncBesidePromotion },
];
