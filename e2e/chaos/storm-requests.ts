/** Requests to /sync: of a few services, forced, with a time, and rollbacks. */

import { createHmac, randomUUID } from 'node:crypto';
import { FOLDERS } from '../support/platform-services.ts';
import { WEBHOOK_SECRET } from '../support/runner-environment.ts';
import { parseBody } from '../support/webhook-sender.ts';
import { nowNs, type SyncRequest } from './facts.ts';
import { readAccepted } from './read-answer.ts';
import type { StormEvent } from './storm-event.ts';
import type { World } from './world.ts';

const SERVICES = Object.keys(FOLDERS);
const ANSWER_LIMIT_MS = 10_000;

/** Sends a signed request about staging, with time and nonce. Returns true if it was accepted. Never throws. */
export async function requestSync(
  { facts, story, server, machine }: World,
  body: { services: string[]; force?: boolean; revision?: string; unpin?: boolean },
): Promise<boolean> {
  await server.up();
  const request: SyncRequest = {
    services: body.services,
    revision: body.revision ?? null,
    answered: false,
    atNs: nowNs(),
  };
  facts.syncRequests.push(request);
  const offsetMs = machine.clockOffsetMs();
  const text = JSON.stringify({ ...body, environment: 'staging' });
  const answer = await postSigned(`${server.url()}/sync`, text, Date.now() + offsetMs);
  const runId = answer && readAccepted(answer);
  request.answered = answer !== null;
  if (runId) facts.accepted.push({ runId, commit: null, services: body.services });
  // 400 is right for a commit that a forced push has removed from the branch meanwhile.
  const expected = answer === null || [200, 503].includes(answer.status);
  // 401 is right for a time that is off because the server's clock jumped meanwhile.
  const clockJumped = machine.clockOffsetMs() !== offsetMs;
  const explained =
    (answer?.status === 400 && body.revision !== undefined) || (answer?.status === 401 && clockJumped);
  if (!expected && !explained) {
    facts.surprises.push(`/sync was answered ${answer.status} ${JSON.stringify(answer.body)}`);
  }
  const said = runId ? `run ${runId.slice(0, 8)}` : (answer?.status ?? 'no answer');
  story.add(`/sync ${JSON.stringify(body)}: ${said}`);
  return Boolean(runId);
}

/** Returns null without an answer. */
export async function postSigned(
  url: string,
  body: string,
  atMs: number,
): Promise<{ status: number; body: unknown } | null> {
  const timestamp = `${Math.floor(atMs / 1_000)}`;
  const nonce = randomUUID();
  const signature = createHmac('sha256', WEBHOOK_SECRET).update(`${timestamp}.${nonce}.${body}`);
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'x-iac-timestamp': timestamp,
        'x-iac-nonce': nonce,
        'x-hub-signature-256': `sha256=${signature.digest('hex')}`,
      },
      body,
      signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
    });
    return { status: response.status, body: parseBody(await response.text()) };
  } catch {
    return null;
  }
}

async function rollBack(world: World): Promise<void> {
  const { facts, random } = world;
  if (facts.pushes.length === 0) return;
  const { before: revision } = random.pick(facts.pushes.slice(-4));
  await requestSync(world, { services: random.some(SERVICES, 1), revision });
}

export const requests: readonly StormEvent[] = [
  {
    name: 'sync',
    weight: 2,
    happen: async (world) => void (await requestSync(world, { services: world.random.some(SERVICES, 1) })),
  },
  {
    name: 'forced sync',
    weight: 1,
    happen: async (world) =>
      void (await requestSync(world, { services: world.random.some(SERVICES, 2), force: true })),
  },
  { name: 'rollback', weight: 1, happen: rollBack },
];
