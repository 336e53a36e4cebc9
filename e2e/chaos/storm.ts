/** The storm of a round: actions of people and GitHub, and faults at the same time. */

import { setTimeout as sleep } from 'node:timers/promises';
import { databaseHardships } from './storm-database.ts';
import type { StormEvent } from './storm-event.ts';
import { faults } from './storm-faults.ts';
import { fileHardships } from './storm-file.ts';
import { hardships } from './storm-hardships.ts';
import { holds } from './storm-holds.ts';
import { pushes } from './storm-pushes.ts';
import { requests } from './storm-requests.ts';
import type { World } from './world.ts';

function troublesOf({ database }: World): StormEvent[] {
  return [...faults, ...hardships, ...(database === null ? fileHardships : databaseHardships)];
}

/**
 * A few pushes and requests and one or two faults, in any order, started at random intervals and overlapping. The
 * number of runs is small, because the server writes one commit status a second. If `only` is set, the fault with
 * this name is the only one.
 */
export async function playStorm(world: World, only?: string): Promise<void> {
  const { random } = world;
  const events = [
    ...draw(world, pushes, random.between(1, 2)),
    ...draw(world, requests, random.between(0, 1)),
    ...draw(world, holds, random.between(0, 1)),
    ...(only === undefined
      ? draw(world, troublesOf(world), random.between(1, 2))
      : [troubleNamed(world, only)]),
  ];
  const shuffled = random.some(events, events.length);
  const under = shuffled.map(async ({ happen }, index) => {
    await sleep(index * random.between(0, 250));
    await happen(world);
  });
  await Promise.all(under);
}

function troubleNamed(world: World, wanted: string): StormEvent {
  const troubles = troublesOf(world);
  const found = troubles.find(({ name }) => name === wanted);
  if (!found)
    throw new Error(
      `There is no fault "${wanted}". The faults are ${troubles.map(({ name }) => name).join(', ')}.`,
    );
  return found;
}

function draw({ random }: World, list: readonly StormEvent[], count: number): StormEvent[] {
  const ballot = list.flatMap((event) => Array.from({ length: event.weight }, () => event));
  return Array.from({ length: count }, () => random.pick(ballot));
}
