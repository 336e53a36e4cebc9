/** The requests of people about production: to promote, to decide, and to take a service back. */

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { type Answer, ask } from './ask.ts';
import { ASKERS, DECIDERS, type Person } from './environments.ts';
import { FINAL } from './evidence.ts';
import { nowNs } from './facts.ts';
import type { Asked, Decision } from './production-facts.ts';
import { readAccepted } from './read-answer.ts';
import { deliver, pushChange } from './storm-pushes.ts';
import { postSigned } from './storm-requests.ts';
import type { World } from './world.ts';

const POLL_MS = 250;
/** A server that is killed, or a push that it never received, must not delay the storm. */
const READY_LIMIT_MS = 8_000;

const promotedSchema = z.object({ run_id: z.string(), revision: z.string(), services: z.array(z.string()) });
const previewSchema = z.object({
  services: z.array(z.object({ service: z.string() })),
  not_held: z.array(z.unknown()),
});
const stateSchema = z.object({ state: z.string() });
const runSchema = z.object({
  requested_revision: z.string().nullable(),
  trigger: z.object({ actor: z.string().nullable() }),
  promotion: z.object({ services: z.array(z.object({ service: z.string() })) }).optional(),
});
const short = (commit: string): string => commit.slice(0, 8);
/** The ids of runs begin with their time, so their ends differ more. */
const nameOf = (runId: string): string => runId.slice(-8);

/** Answers that are right for every request, because the server may be killed, or its store may be away. */
function isUsual(answer: Answer | null): boolean {
  return answer === null || answer.status === 503;
}

function expectAnswer(world: World, what: string, answer: Answer | null, right: readonly number[]): void {
  if (isUsual(answer) || (answer && right.includes(answer.status))) return;
  world.facts.surprises.push(`${what} was answered ${answer?.status} ${JSON.stringify(answer?.body)}`);
}

/** Asks for a promotion, by default of the newest commit that staging holds. Returns what was asked, if it was taken. */
export async function promote(
  world: World,
  { asker, revision }: { asker?: Person; revision?: string } = {},
): Promise<Asked | null> {
  const { production, random, server, story } = world;
  await server.up();
  const person = asker ?? random.pick(ASKERS);
  const atNs = nowNs();
  const body = { environment: 'production', reason: 'Chaos', ...(revision !== undefined && { revision }) };
  const answer = await ask(world, person, { method: 'POST', path: '/promote', body });
  expectAnswer(world, '/promote', answer, [202, 409]);
  story.add(
    `promotion of ${revision === undefined ? 'the newest' : short(revision)}: ${answer?.status ?? 'no answer'}`,
  );
  if (answer?.status !== 202) return null;
  const { run_id: runId, ...shown } = promotedSchema.parse(answer.body);
  const asked = { runId, asker: person, shown, atNs };
  production.asked.push(asked);
  story.add(
    `run ${nameOf(runId)} promotes ${shown.services.join(', ') || 'nothing'} at ${short(shown.revision)}`,
  );
  return asked;
}

/** Ensures that production can take something, if the troubles of the storm allow it. */
export async function prepare(world: World): Promise<boolean> {
  if (await isPromotable(world)) return true;
  const runId = readAccepted(await deliver(world, await pushChange(world)));
  const deadline = performance.now() + READY_LIMIT_MS;
  while (performance.now() < deadline) {
    const hasEnded = runId !== null && (await isFinal(world, runId));
    if (await isPromotable(world)) return true;
    if (hasEnded) break;
    await sleep(POLL_MS);
  }
  world.story.add('there is nothing to promote');
  return false;
}

async function isFinal(world: World, runId: string): Promise<boolean> {
  const answer = await ask(world, 'viewer', { method: 'GET', path: `/runs/${runId}` });
  const parsed = stateSchema.safeParse(answer?.body);
  return parsed.success && FINAL.has(parsed.data.state);
}

async function isPromotable(world: World): Promise<boolean> {
  await world.server.up();
  const path = '/promote?environment=production';
  const answer = await ask(world, 'viewer', { method: 'GET', path });
  expectAnswer(world, `GET ${path}`, answer, [200, 409]);
  if (answer?.status !== 200) return false;
  const { services, not_held: unheld } = previewSchema.parse(answer.body);
  return services.length > 0 && unheld.length === 0;
}

/** Approves or rejects a run in the name of somebody who may. */
export async function decide(
  world: World,
  { runId, asker }: Pick<Asked, 'runId' | 'asker'>,
  decision: Decision['decision'],
  by: Person = someOther(world, asker),
): Promise<Decision> {
  const { production, server, story } = world;
  await server.up();
  const decided: Decision = { runId, decision, by, atNs: nowNs(), status: null };
  production.decisions.push(decided);
  const answer = await ask(world, by, { method: 'POST', path: `/runs/${runId}/${decision}`, body: {} });
  decided.status = answer?.status ?? null;
  expectAnswer(world, `/runs/${runId}/${decision}`, answer, by === asker ? [403] : [200, 409]);
  story.add(`${by} says ${decision} to run ${nameOf(runId)}: ${answer?.status ?? 'no answer'}`);
  return decided;
}

function someOther({ random }: World, asker: Person | null): Person {
  return random.pick(DECIDERS.filter((person) => person !== asker));
}

/** Takes one service of production back to a commit that it had, and pins it there. */
export async function rollBack(world: World, service: string, revision: string): Promise<void> {
  const { production, server, story } = world;
  await server.up();
  const rollback = { service, revision, answered: false, atNs: nowNs() };
  production.rollbacks.push(rollback);
  const body = { to: revision, environment: 'production' };
  const path = `/services/${encodeURIComponent(service)}/rollback`;
  const answer = await ask(world, 'operator', { method: 'POST', path, body });
  rollback.answered = answer !== null;
  // The commit may have left the branch, and a server that was killed may not have stored the success there.
  expectAnswer(world, path, answer, [200, 400, 409]);
  story.add(`rollback of ${service} in production to ${short(revision)}: ${answer?.status ?? 'no answer'}`);
}

/** Ends rollbacks: asks to sync the services of production at the commit. Returns what was asked, if it was taken. */
export async function unpin(world: World, services: string[], revision: string): Promise<Asked | null> {
  const { machine, production, server, story } = world;
  const atNs = nowNs();
  const body = JSON.stringify({ services, revision, unpin: true, environment: 'production' });
  const answer = await postSigned(`${server.url()}/sync`, body, Date.now() + machine.clockOffsetMs());
  expectAnswer(world, '/sync about production', answer, [200]);
  const runId = answer && readAccepted(answer);
  story.add(`unpin of ${services.join(', ')} in production: ${answer?.status ?? 'no answer'}`);
  if (runId === null) return null;
  const asked = { runId, asker: null, shown: { revision, services }, atNs };
  production.asked.push(asked);
  return asked;
}

/** Records a run whose request got no answer, so that people can decide about it. */
export async function adopt(world: World, runId: string): Promise<Asked | null> {
  const { production } = world;
  const known = production.asked.find((asked) => asked.runId === runId);
  if (known) return known;
  const answer = await ask(world, 'viewer', { method: 'GET', path: `/runs/${runId}` });
  if (answer?.status !== 200) return null;
  const { requested_revision: revision, trigger, promotion } = runSchema.parse(answer.body);
  const services = promotion?.services.map(({ service }) => service);
  const asked: Asked = {
    runId,
    asker: ASKERS.find((person) => person === trigger.actor) ?? null,
    shown: revision !== null && services ? { revision, services } : null,
    atNs: nowNs(),
  };
  production.asked.push(asked);
  return asked;
}
