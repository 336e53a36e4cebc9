/** After the storm, nobody does more harm, and the server must repair everything by itself. */

import { setTimeout as sleep } from 'node:timers/promises';
import { createEvidenceReader, type Evidence, type Problem } from './evidence.ts';
import { recordPeace, type SyncRequest } from './facts.ts';
import { behind, mayStayBehind, unattempted, unfinished, unsafe } from './invariants.ts';
import { leftovers } from './leftovers.ts';
import { unended, untrue } from './status-truth.ts';
import { releaseAll } from './storm-holds.ts';
import { requestSync } from './storm-requests.ts';
import type { World } from './world.ts';

const POLL_MS = 150;
/**
 * Far more time than it takes until something happens, because a failed status may have to wait for GitHub's
 * limits.
 */
const STILL_LIMIT_MS = 60_000;
/** Activity that continues for this long never ends. */
const CALM_LIMIT_MS = 5 * STILL_LIMIT_MS;
/** A run gets this time before people request it again. */
const PATIENCE_MS = 10_000;

export interface PromiseCheck {
  /**
   * The problems that remain when the time is over, and those that can never be repaired. Empty if all promises
   * hold.
   */
  run(): Promise<Problem[]>;
}

export function createPromiseCheck(world: World): PromiseCheck {
  const read = createEvidenceReader(world);
  let checkedRequests = 0;
  return {
    async run() {
      await settle(world, world.facts.syncRequests.slice(checkedRequests));
      const problems = await waitForPeace(world, read);
      if (problems.length > 0) return problems;
      checkedRequests = world.facts.syncRequests.length;
      const server = await world.server.revive(0);
      const left = await leftovers(world.stage.folder, server.pid);
      const violations = world.stage.github.violations.map((detail) => ({
        invariant: "GitHub's rules are kept",
        detail,
      }));
      return [...left, ...violations];
    },
  };
}

/** Ensures that the server runs, and that no service is held, or pinned by a rollback. */
async function settle(world: World, requests: readonly SyncRequest[]): Promise<void> {
  await world.server.revive(0);
  await releaseAll(world);
  const pinned = requests.flatMap(({ revision, services }) => (revision === null ? [] : services));
  if (pinned.length === 0) return;
  while (!(await requestSync(world, { services: [...new Set(pinned)], unpin: true }))) await sleep(POLL_MS);
}

async function waitForPeace(world: World, read: ReturnType<typeof createEvidenceReader>): Promise<Problem[]> {
  const deadline = performance.now() + CALM_LIMIT_MS;
  let still = { sight: '', untilMs: 0 };
  let nextRepairMs = 0;
  let restarts = 0;
  for (;;) {
    const evidence = await read(await world.server.revive(0));
    const forGood = unsafe(evidence);
    if (forGood.length > 0) return forGood;
    const { github } = world.stage;
    const open = [
      ...unfinished(evidence),
      ...unattempted(evidence),
      ...behind(evidence),
      ...unended(evidence, github),
    ];
    if (open.length === 0) {
      const lies = untrue(evidence, github);
      if (lies.length === 0) recordPeace(world.facts, evidence.runs.keys());
      return lies;
    }
    const sight = sightOf(world, evidence);
    if (sight !== still.sight) still = { sight, untilMs: performance.now() + STILL_LIMIT_MS };
    if (performance.now() > Math.min(deadline, still.untilMs)) return open;
    // Without regular looks at the branch, people must restart the server after a lost push.
    if (world.reconcileInterval() === 0 && restarts === 0 && isIdle(evidence)) {
      restarts += 1;
      world.server.hit('SIGKILL');
      continue;
    }
    if (performance.now() > nextRepairMs && (await repair(world, evidence, open))) {
      nextRepairMs = performance.now() + PATIENCE_MS;
    }
    await sleep(POLL_MS);
  }
}

/** Returns a text that changes as long as something happens, however slow the machine is. */
function sightOf({ facts, server, stage }: World, { journal, runs }: Evidence): string {
  const ended = journal.syncs.filter(({ endedNs }) => endedNs !== null).length;
  const written = stage.github.requests.filter(({ status }) => status === 201).length;
  const counts = [journal.syncs.length, ended, written, facts.serverKillsNs.length, server.current()?.pid];
  return `${counts.join(' ')} ${[...runs].join(' ')}`;
}

function isIdle(evidence: Evidence): boolean {
  return unfinished(evidence).length === 0;
}

/** Requests a sync of services that were killed or interrupted, as people do who see that they failed. */
async function repair(world: World, evidence: Evidence, open: readonly Problem[]): Promise<boolean> {
  if (!isIdle(evidence)) return false;
  const services = [...new Set(open.flatMap(({ service }) => service ?? []))];
  const waiting = services.filter((service) => mayStayBehind(evidence, service));
  return waiting.length > 0 && requestSync(world, { services: waiting });
}
