/** Holds that people set in a storm. Some are released in it, some end by themselves, and the rest is released after it. */

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { FOLDERS } from '../support/platform-services.ts';
import { API_TOKENS } from '../support/runner-environment.ts';
import { parseBody } from '../support/webhook-sender.ts';
import type { StormEvent } from './storm-event.ts';
import type { World } from './world.ts';

const SERVICES = Object.keys(FOLDERS);
const ANSWER_LIMIT_MS = 10_000;
const PAUSE_MS = 150;

const holdSchema = z.object({ id: z.string() });
const holdsSchema = z.object({ holds: z.array(holdSchema) });

/** Returns null without an answer, because the server may be killed at any moment. */
async function ask(
  { server }: World,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: object,
): Promise<{ status: number; body: unknown } | null> {
  try {
    const response = await fetch(`${server.url()}${path}`, {
      method,
      headers: { accept: 'application/json', authorization: `Bearer ${API_TOKENS.operator}` },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
    });
    return { status: response.status, body: parseBody(await response.text()) };
  } catch {
    return null;
  }
}

/** Releases every hold, also those that a killed server stored without an answer. */
export async function releaseAll(world: World): Promise<void> {
  for (;;) {
    await world.server.revive(0);
    const listed = await ask(world, 'GET', '/holds');
    const holds = listed?.status === 200 ? holdsSchema.parse(listed.body).holds : null;
    if (holds?.length === 0) return;
    for (const { id } of holds ?? []) await ask(world, 'DELETE', `/holds/${id}`);
    await sleep(PAUSE_MS);
  }
}

async function hold(world: World): Promise<void> {
  const { random, server, machine, story, facts } = world;
  await server.up();
  const services = random.between(0, 1) === 0 ? undefined : random.some(SERVICES, random.between(1, 6));
  const end = Date.now() + machine.clockOffsetMs() + random.between(1, 20) * 1_000;
  const until = random.between(0, 2) === 0 ? new Date(end).toISOString() : undefined;
  const answer = await ask(world, 'POST', '/holds', { reason: 'Chaos', services, until });
  story.add(`hold ${services?.join(', ') ?? 'everything'}: ${answer?.status ?? 'no answer'}`);
  // 400 is right for an end that has passed because the server's clock jumped meanwhile.
  const isExpected = answer === null || [201, 503].includes(answer.status) || until !== undefined;
  if (!isExpected)
    facts.surprises.push(`/holds was answered ${answer.status} ${JSON.stringify(answer.body)}`);
  if (answer?.status !== 201 || random.between(0, 1) === 0) return;
  await sleep(random.between(0, 3_000));
  await server.up();
  const { id } = holdSchema.parse(answer.body);
  story.add(`release: ${(await ask(world, 'DELETE', `/holds/${id}`))?.status ?? 'no answer'}`);
}

export const holds: readonly StormEvent[] = [{ name: 'hold', weight: 1, happen: hold }];
