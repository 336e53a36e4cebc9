/** Pushes, and the ways in which their deliveries reach the server, or do not reach it. */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { FOLDERS } from '../support/platform-services.ts';
import { buildPushPayload } from '../support/push-payload.ts';
import { WEBHOOK_SECRET } from '../support/runner-environment.ts';
import { until } from '../support/until.ts';
import type { Delivery } from '../support/webhook-sender.ts';
import { nowNs, type RecordedPush } from './facts.ts';
import { readAccepted } from './read-answer.ts';
import type { StormEvent } from './storm-event.ts';
import { commitMark, type World } from './world.ts';

const SERVICES = Object.keys(FOLDERS);
const START_LIMIT_MS = 15_000;
const short = (commit: string): string => commit.slice(0, 8);

/**
 * Pushes a change of one or two services. It holds the repository's turn, so that the recorded history is the
 * branch's.
 */
export async function pushChange(world: World, services?: readonly string[]): Promise<RecordedPush> {
  const { random } = world;
  const changed = services ?? random.some(SERVICES, random.between(1, 2));
  return world.inRepository(async () => {
    await commitMark(world, changed, `change ${world.facts.pushes.length + 1}`);
    return record(world, await world.stage.repository.push(), changed.join(', '));
  });
}

function record(
  { facts, story }: World,
  moved: { ref: string; before: string; after: string },
  what: string,
  forced = false,
): RecordedPush {
  const push = { ...moved, forced, atNs: nowNs() };
  facts.pushes.push(push);
  story.add(`${forced ? 'forced push' : 'push'} ${short(push.before)}..${short(push.after)}: ${what}`);
  return push;
}

/** Delivers the webhook of a push and records the answer. */
export async function deliver(
  { stage, facts, story, server, random }: World,
  push: RecordedPush,
  { deliveryId = randomUUID(), how = 'delivery' }: { deliveryId?: string; how?: string } = {},
): Promise<Delivery> {
  // Most deliveries wait for a server. Otherwise none would ever be accepted, because a start takes longer than the
  // rest of a storm.
  if (random.chance(0.8)) await server.up();
  const { ref, before, after } = push;
  const repository = { path: stage.repository.path, fullName: stage.github.fullName };
  const payload = await buildPushPayload({ repository, ref, before, after });
  const url = `${server.url()}/webhook`;
  const delivery = await stage.github.deliver({
    url,
    secret: WEBHOOK_SECRET,
    event: 'push',
    payload,
    deliveryId,
  });
  const accepted = readAccepted(delivery);
  if (accepted) facts.accepted.push({ runId: accepted, commit: after, services: null });
  if (delivery.status !== null && delivery.status !== 200 && delivery.status !== 503) {
    facts.surprises.push(`a signed push was answered ${delivery.status} ${JSON.stringify(delivery.body)}`);
  }
  const answer = accepted ? `run ${short(accepted)}` : (delivery.status ?? 'no answer');
  story.add(`${how} of ${short(after)}: ${answer}`);
  return delivery;
}

/** Pushes a change of these services and waits until a task has started. Returns the commit of the task. */
export async function pushTask(world: World, services: readonly string[]): Promise<string> {
  await world.server.up();
  const push = await pushChange(world, services);
  await deliver(world, push);
  return (await taskStart(world, services, push.atNs)) ?? push.after;
}

/**
 * Waits for a start of one of the services in staging after `sinceNs`. Returns its commit, or null if it does not start in
 * time.
 */
export async function taskStart(
  { journals, story }: World,
  services: readonly string[],
  sinceNs: bigint,
): Promise<string | null> {
  const started = async () => {
    const { syncs } = await journals.staging.read();
    return syncs.find(({ service, startedNs }) => services.includes(service) && startedNs > sinceNs);
  };
  const what = `a task of ${services.join(' or ')}`;
  const start = await until(what, started, { timeoutMs: START_LIMIT_MS }).catch(() => null);
  story.add(
    start ? `${start.service} has started at ${short(start.commit)}` : `${what} has not started in time`,
  );
  return start?.commit ?? null;
}

async function deliverTwice(world: World, push: RecordedPush): Promise<void> {
  const deliveryId = randomUUID();
  const twice = ['first delivery', 'the same again'].map((how) => deliver(world, push, { deliveryId, how }));
  const [first, second] = (await Promise.all(twice)).map(readAccepted);
  if (first && second) world.facts.doubled.push({ first, second });
}

/** Moves the branch back by one or two commits and adds a commit there. */
async function pushForced(world: World): Promise<void> {
  const { facts, random, stage } = world;
  const services = random.some(SERVICES, 1);
  const push = await world.inRepository(async () => {
    const { repository } = stage;
    const depth = Number(await repository.git('rev-list', '--count', `${facts.baseline}..HEAD`));
    const back = Math.min(depth, random.between(1, 2));
    if (back > 0) await repository.git('reset', '--quiet', '--hard', `HEAD~${back}`);
    await commitMark(world, services, `rewritten ${facts.pushes.length + 1}`);
    return record(world, await repository.push({ force: true }), services.join(', '), back > 0);
  });
  await deliver(world, push);
}

async function replay(world: World): Promise<void> {
  const { facts, random } = world;
  if (facts.pushes.length === 0) return;
  await deliver(world, random.pick(facts.pushes.slice(-8)), { how: 'replay under a new id' });
}

async function pushInWrongOrder(world: World): Promise<void> {
  const older = await pushChange(world);
  const newer = await pushChange(world);
  await deliver(world, newer);
  await sleep(world.random.between(0, 400));
  await deliver(world, older, { how: 'late delivery' });
}

export const pushes: readonly StormEvent[] = [
  { name: 'push', weight: 4, happen: async (world) => void (await deliver(world, await pushChange(world))) },
  { name: 'lost', weight: 3, happen: async (world) => void (await pushChange(world)) },
  { name: 'doubled', weight: 2, happen: async (world) => deliverTwice(world, await pushChange(world)) },
  { name: 'wrong order', weight: 2, happen: pushInWrongOrder },
  { name: 'replay', weight: 3, happen: replay },
  { name: 'forced', weight: 1, happen: pushForced },
];
