/** What happens in the storm of a round: what people and GitHub do, and what goes wrong meanwhile. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { StormEvent } from './storm-event.ts';
import { faults } from './storm-faults.ts';
import { hardships } from './storm-hardships.ts';
import { pushes } from './storm-pushes.ts';
import { requests } from './storm-requests.ts';
import type { World } from './world.ts';

const TROUBLES = [...faults, ...hardships];

/**
 * A few pushes and requests and one or two faults, in any order, begun at random distances and overlapping. The
 * number of runs is kept small, because the server writes one commit status a second. When `only` is
 * given, the fault of that name is the only one.
 */
export async function brew(world: World, only?: string): Promise<void> {
  const { random } = world;
  const events = [
    ...draw(world, pushes, random.between(1, 2)),
    ...draw(world, requests, random.between(0, 1)),
    ...(only === undefined ? draw(world, TROUBLES, random.between(1, 2)) : [troubleNamed(only)]),
  ];
  const shuffled = random.some(events, events.length);
  const under = shuffled.map(async ({ happen }, index) => {
    await sleep(index * random.between(0, 250));
    await happen(world);
  });
  await Promise.all(under);
}

function troubleNamed(wanted: string): StormEvent {
  const found = TROUBLES.find(({ name }) => name === wanted);
  if (!found)
    throw new Error(`There is no fault "${wanted}", only ${TROUBLES.map(({ name }) => name).join(', ')}.`);
  return found;
}

function draw({ random }: World, list: readonly StormEvent[], count: number): StormEvent[] {
  const ballot = list.flatMap((event) => Array.from({ length: event.weight }, () => event));
  return Array.from({ length: count }, () => random.pick(ballot));
}
