/** After the storm, nobody does more harm, and the server must repair everything by itself. */

import { setTimeout as sleep } from 'node:timers/promises';
import { statusesOf } from './environment-statuses.ts';
import type { EnvironmentName } from './environments.ts';
import { createEvidenceReader, type Evidence, type Problem } from './evidence.ts';
import { recordPeace, type SyncRequest } from './facts.ts';
import { behind, mayStayBehind, unattempted, unfinished, unsafe } from './invariants.ts';
import { leftovers } from './leftovers.ts';
import { createProductionHelp, openInProduction, type ProductionHelp } from './production-calm.ts';
import { whyPromotionUntrue } from './production-truth.ts';
import { type PromotionEvidence, unsafePromotions } from './promotion-invariants.ts';
import { unended, untrue } from './status-truth.ts';
import { watchStillness } from './stillness.ts';
import { releaseAll } from './storm-holds.ts';
import { requestSync } from './storm-requests.ts';
import type { World } from './world.ts';

const POLL_MS = 150;
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
  const readers = {
    staging: createEvidenceReader(world, 'staging'),
    production: createEvidenceReader(world, 'production'),
  };
  const helpProduction = createProductionHelp(world);
  let checkedRequests = 0;
  return {
    async run() {
      await settle(world, world.facts.syncRequests.slice(checkedRequests));
      const problems = await waitForPeace(world, readers, helpProduction);
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

/** Ensures that the server runs, and that no service of staging is held, or pinned by a rollback. */
async function settle(world: World, requests: readonly SyncRequest[]): Promise<void> {
  await world.server.revive(0);
  await releaseAll(world);
  const pinned = requests.flatMap(({ revision, services }) => (revision === null ? [] : services));
  if (pinned.length === 0) return;
  while (!(await requestSync(world, { services: [...new Set(pinned)], unpin: true }))) await sleep(POLL_MS);
}

type Readers = Record<EnvironmentName, ReturnType<typeof createEvidenceReader>>;

async function waitForPeace(world: World, read: Readers, helpProduction: ProductionHelp): Promise<Problem[]> {
  const isStill = watchStillness(world);
  let nextRepairMs = 0;
  let restarts = 0;
  for (;;) {
    const server = await world.server.revive(0);
    // What production has was in staging before, so the journal of staging is read last.
    const production = await read.production(server);
    const staging = await read.staging(server);
    const both = { staging, production, requests: world.production };
    const forGood = [...unsafe(staging), ...unsafe(production), ...unsafePromotions(both)];
    if (forGood.length > 0) return forGood;
    const undone = [...unfinished(staging), ...unattempted(staging), ...behind(staging)];
    const open = [...undone, ...unended(staging, statusesOf(world, 'staging'))];
    const ofProduction = openInProduction(world, production);
    if (open.length + ofProduction.length === 0) return endRound(world, both);
    if (isStill([staging, production])) return [...open, ...ofProduction];
    // Without regular looks at the branch, people must restart the server after a lost push.
    if (open.length > 0 && world.reconcileInterval() === 0 && restarts === 0 && isIdle(staging)) {
      restarts += 1;
      world.server.hit('SIGKILL');
      continue;
    }
    if (performance.now() > nextRepairMs && (await repair(world, staging, open))) {
      nextRepairMs = performance.now() + PATIENCE_MS;
    }
    await helpProduction(production, undone.length === 0);
    await sleep(POLL_MS);
  }
}

/** Returns the statuses that are not true. If there are none, the next round begins. */
function endRound(world: World, { staging, production, requests }: PromotionEvidence): Problem[] {
  const lies = [
    ...untrue(staging, statusesOf(world, 'staging')),
    ...untrue(production, statusesOf(world, 'production'), (...judged) =>
      whyPromotionUntrue(requests, ...judged),
    ),
  ];
  if (lies.length === 0) recordPeace(world.facts, [...staging.runs.keys(), ...production.runs.keys()]);
  return lies;
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
