/** Holds that people set in a storm. Some are released in it, some end by themselves, and the rest is released after it. */

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { FOLDERS } from '../support/platform-services.ts';
import { ask } from './ask.ts';
import { ENVIRONMENTS, type EnvironmentName } from './environments.ts';
import { nowNs } from './facts.ts';
import type { StormEvent } from './storm-event.ts';
import type { World } from './world.ts';

const SERVICES = Object.keys(FOLDERS);
const PAUSE_MS = 150;

const holdSchema = z.object({ id: z.string() });
const holdsSchema = z.object({ holds: z.array(holdSchema) });

interface NewHold {
  environment?: EnvironmentName | undefined;
  services?: string[] | undefined;
  until?: string | undefined;
}

/** Sets a hold. Returns its id, or null if no answer named one. */
export async function setHold(
  world: World,
  { environment, services, until }: NewHold,
): Promise<string | null> {
  const { server, story, facts, production } = world;
  await server.up();
  const body = { reason: 'Chaos', environment, services, until };
  const answer = await ask(world, 'operator', { method: 'POST', path: '/holds', body });
  const what = `${services?.join(', ') ?? 'everything'} in ${environment ?? 'both environments'}`;
  story.add(`hold ${what}: ${answer?.status ?? 'no answer'}`);
  // 400 is right for an end that has passed because the server's clock jumped meanwhile.
  const isExpected = answer === null || [201, 503].includes(answer.status) || until !== undefined;
  if (!isExpected)
    facts.surprises.push(`/holds was answered ${answer.status} ${JSON.stringify(answer.body)}`);
  if (answer?.status !== 201) return null;
  const { id } = holdSchema.parse(answer.body);
  const scope = { environment: environment ?? null, services: services ?? null };
  if (until === undefined) production.holds.push({ id, ...scope, fromNs: nowNs(), untilNs: null });
  return id;
}

export async function release(world: World, id: string): Promise<void> {
  const { production, server, story } = world;
  await server.up();
  for (const hold of production.holds) if (hold.id === id) hold.untilNs ??= nowNs();
  const answer = await ask(world, 'operator', { method: 'DELETE', path: `/holds/${id}` });
  story.add(`release: ${answer?.status ?? 'no answer'}`);
}

/** Releases every hold, also those that a killed server stored without an answer. */
export async function releaseAll(world: World): Promise<void> {
  for (;;) {
    await world.server.revive(0);
    const listed = await ask(world, 'operator', { method: 'GET', path: '/holds' });
    const holds = listed?.status === 200 ? holdsSchema.parse(listed.body).holds : null;
    if (holds?.length === 0) return;
    for (const { id } of holds ?? []) await release(world, id);
    await sleep(PAUSE_MS);
  }
}

async function hold(world: World): Promise<void> {
  const { random, machine } = world;
  const services = random.between(0, 1) === 0 ? undefined : random.some(SERVICES, random.between(1, 6));
  const environment = random.chance(0.5) ? undefined : random.pick(ENVIRONMENTS);
  const end = Date.now() + machine.clockOffsetMs() + random.between(1, 20) * 1_000;
  const until = random.between(0, 2) === 0 ? new Date(end).toISOString() : undefined;
  const id = await setHold(world, { environment, services, until });
  if (id === null || random.between(0, 1) === 0) return;
  await sleep(random.between(0, 3_000));
  await release(world, id);
}

export const holds: readonly StormEvent[] = [{ name: 'hold', weight: 1, happen: hold }];
