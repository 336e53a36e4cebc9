/** Promotions in a storm, each in another difficult moment. */

import { setTimeout as sleep } from 'node:timers/promises';
import { DECIDERS } from './environments.ts';
import { decide, prepare, promote, rollBack } from './promotion-requests.ts';
import type { StormEvent } from './storm-event.ts';
import { release, setHold } from './storm-holds.ts';
import { deliver, pushChange } from './storm-pushes.ts';
import type { World } from './world.ts';

/** Asks for a promotion of the newest commit that staging holds. Returns null if nothing was taken. */
async function promoteNewest(world: World) {
  return (await prepare(world)) ? promote(world) : null;
}

/** The server is killed between the approval and the run, or while it answers the approval. */
async function killAfterApproval(world: World): Promise<void> {
  const { random, server } = world;
  const asked = await promoteNewest(world);
  if (!asked) return;
  const approval = decide(world, asked, 'approve');
  await (random.chance(0.6) ? approval : sleep(random.between(0, 20)));
  server.hit('SIGKILL');
  await server.revive(random.between(0, 300));
  await approval;
}

/** Two people decide at once, and one of them twice. An asker who is an admin tries as well. */
async function decideAtOnce(world: World): Promise<void> {
  const { random } = world;
  const asked = await promoteNewest(world);
  if (!asked) return;
  const decisions = random.some(['approve', 'approve', 'reject', 'reject'] as const, 3);
  await Promise.all([
    ...decisions.map((decision) => decide(world, asked, decision)),
    ...DECIDERS.filter((person) => person === asked.asker).map((person) =>
      decide(world, asked, 'approve', person),
    ),
  ]);
}

/** The branch moves on while the approved commit is promoted. */
async function pushDuringPromotion(world: World): Promise<void> {
  const asked = await promoteNewest(world);
  if (!asked) return;
  const approval = decide(world, asked, 'approve');
  await sleep(world.random.between(0, 1_500));
  await deliver(world, await pushChange(world));
  await approval;
}

/** Somebody names a commit as soon as it was pushed. Staging usually does not hold it yet. */
async function promoteTooEarly(world: World): Promise<void> {
  const push = await pushChange(world);
  const answer = deliver(world, push);
  const asked = await promote(world, { revision: push.after });
  if (asked) await decide(world, asked, 'approve');
  await answer;
}

/** A newer promotion is asked for while an older one waits, or just after it was approved. */
async function promoteTwice(world: World): Promise<void> {
  const { random } = world;
  const first = await promoteNewest(world);
  if (!first) return;
  const isApproved = random.chance(0.5);
  if (isApproved) await decide(world, first, 'approve');
  const second = await promoteNewest(world);
  if (!isApproved) await decide(world, first, 'approve');
  if (second) await decide(world, second, random.chance(0.7) ? 'approve' : 'reject');
}

/** Production is held before the approval, and released after it. */
async function holdPromotion(world: World): Promise<void> {
  const { random } = world;
  const asked = await promoteNewest(world);
  if (!asked) return;
  const [first] = asked.shown?.services ?? [];
  const services = first === undefined || random.chance(0.5) ? undefined : [first];
  const id = await setHold(world, { environment: 'production', services });
  await decide(world, asked, 'approve');
  await sleep(random.between(500, 3_000));
  if (id !== null) await release(world, id);
}

/** A service of production goes back to a commit that it had. */
async function rollBackProduction(world: World): Promise<void> {
  const { journals, random } = world;
  const { syncs } = await journals.production.read();
  const done = syncs.filter(({ endedNs, failed, commit }) => endedNs !== null && !failed && commit !== '-');
  if (done.length === 0) return;
  const { service, commit } = random.pick(done);
  await rollBack(world, service, commit);
}

export const promotions: readonly StormEvent[] = [
  { name: 'kill after approval', weight: 4, happen: killAfterApproval },
  { name: 'decisions at once', weight: 4, happen: decideAtOnce },
  { name: 'push during promotion', weight: 3, happen: pushDuringPromotion },
  { name: 'early promotion', weight: 2, happen: promoteTooEarly },
  { name: 'second promotion', weight: 2, happen: promoteTwice },
  { name: 'held promotion', weight: 2, happen: holdPromotion },
];

export const rollbacks: readonly StormEvent[] = [
  { name: 'rollback of production', weight: 1, happen: rollBackProduction },
];
