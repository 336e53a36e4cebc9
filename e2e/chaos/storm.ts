/** The storm of a round: actions of people and GitHub, and faults at the same time. */

import { setTimeout as sleep } from 'node:timers/promises';
import { apart } from './storm-apart.ts';
import { databaseHardships } from './storm-database.ts';
import type { StormEvent } from './storm-event.ts';
import { faults } from './storm-faults.ts';
import { fileHardships } from './storm-file.ts';
import { hardships } from './storm-hardships.ts';
import { holds } from './storm-holds.ts';
import { promotions, rollbacks } from './storm-promotions.ts';
import { pushes } from './storm-pushes.ts';
import { requests } from './storm-requests.ts';
import type { World } from './world.ts';

/** One of them happens in each storm, so that no two make the environments wait at the same time. */
const promotionEvents: readonly StormEvent[] = [...promotions, ...apart];

/**
 * A few pushes and requests, a promotion, and one or two faults, in any order, started at random intervals and overlapping. The
 * number of runs is small, because the server writes one commit status a second. If `only` is set, the fault or the
 * promotion with this name is the only one.
 */
export async function playStorm(world: World, only?: string): Promise<void> {
  const { random } = world;
  const events = [
    ...draw(world, pushes, random.between(1, 2)),
    ...draw(world, requests, random.between(0, 1)),
    ...draw(world, holds, random.between(0, 1)),
    ...promotionsOf(world, only),
    ...draw(world, rollbacks, random.chance(0.25) ? 1 : 0),
    ...troublesOf(world, only),
  ];
  const shuffled = random.some(events, events.length);
  const under = shuffled.map(async ({ happen }, index) => {
    await sleep(index * random.between(0, 250));
    await happen(world);
  });
  await Promise.all(under);
}

function promotionsOf(world: World, only: string | undefined): StormEvent[] {
  const named = promotionEvents.filter(({ name }) => name === only);
  return named.length > 0 ? named : draw(world, promotionEvents, 1);
}

function troublesOf(world: World, only: string | undefined): StormEvent[] {
  const own = world.database === null ? fileHardships : databaseHardships;
  const all = [...faults, ...hardships, ...own];
  if (only === undefined) return draw(world, all, world.random.between(1, 2));
  const named = all.filter(({ name }) => name === only);
  const known = [...all, ...promotionEvents].map(({ name }) => name);
  if (!known.includes(only)) throw new Error(`There is no fault "${only}". There are ${known.join(', ')}.`);
  return named;
}

function draw({ random }: World, list: readonly StormEvent[], count: number): StormEvent[] {
  const ballot = list.flatMap((event) => Array.from({ length: event.weight }, () => event));
  return Array.from({ length: count }, () => random.pick(ballot));
}
