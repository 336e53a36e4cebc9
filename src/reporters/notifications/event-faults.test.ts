/** A receiver of events that fails at its n-th request, and a store that fails at its n-th call, for every n. */

import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failAtCall } from '../../faults/failing-store.fixture.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createFastTime } from '../stored-runs.fixture.ts';
import { createDeployEventSource } from './deploy-event-source.ts';
import {
  answer,
  createDeployments,
  type Deployments,
  type EventReceiver,
  startEventReceiver,
} from './event-receiver.fixture.ts';
import { startEventSender } from './event-sender.ts';
import { createEventWebhook } from './event-webhook-client.ts';

type Started = ReturnType<typeof startEventSender>;

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const MOST_CALLS = 200;
const EVENTS = ['deployment.started', 'deployment.succeeded'];

let deployments: Deployments;
let receiver: EventReceiver;
let other: EventReceiver;
let webhooks: Started | null;

beforeEach(async () => {
  deployments = await createDeployments();
  receiver = await startEventReceiver();
  other = await startEventReceiver();
});

afterEach(async () => {
  await webhooks?.stop();
  webhooks = null;
  await Promise.all([deployments.close(), receiver.close(), other.close()]);
});

async function start(store: RunStore = deployments.store): Promise<Started> {
  await webhooks?.stop();
  const rules = { protocols: ['https', 'http'], hosts: ['127.0.0.1'] };
  webhooks = startEventSender({
    store,
    source: createDeployEventSource({
      store,
      sendEvent: createEventWebhook({ secret: SECRET, rules, version: '1', timeoutMs: 1_000 }),
      url: receiver.url,
      runUrl: (id) => `https://runner.example/runs/${id}`,
    }),
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    random: () => 0,
    ...createFastTime(60),
  });
  return webhooks;
}

/** Plays two deployments, of which one names its own address. */
async function play({ idle }: Started): Promise<string[]> {
  const ids: string[] = [];
  for (const callbackUrl of [null, other.url]) {
    ids.push(await deployments.deploy({ callbackUrl }));
    const lease = await deployments.begin();
    await idle();
    await deployments.finish(lease);
  }
  await idle();
  return ids;
}

/** Checks that each event arrived, in order, and with the same id each time. */
async function expectSent(ids: readonly string[], doubles: number, what: string): Promise<void> {
  for (const [{ seen }, expected] of [
    [receiver, ids],
    [other, ids.slice(1)],
  ] as const) {
    let repeated = 0;
    for (const id of expected) {
      const events = seen.filter(({ body }) => body.data.deployment_id === id);
      const firsts = new Map(events.map(({ headers, body }) => [headers['webhook-id'], body.type]));
      expect([...firsts.values()], what).toEqual(EVENTS);
      expect(events.at(-1)?.body.type, what).toBe(EVENTS.at(-1));
      repeated += events.length - firsts.size;
    }
    expect(repeated, what).toBeLessThanOrEqual(doubles);
  }
  expect(await deployments.store.unreported('event-webhook', 10), what).toEqual([]);
  for (const id of ids) {
    const reports = await deployments.store.reports('event-webhook', id);
    expect(
      reports.every(({ settled, problem }) => settled && problem === null),
      what,
    ).toBe(true);
  }
}

describe('A receiver that fails at its n-th request', () => {
  it.each<[string, (response: ServerResponse) => void]>([
    ['resets the connection', (response) => void response.socket?.resetAndDestroy()],
    ['hangs', () => undefined],
    ['fails', answer(500)],
    ['cuts its answer before its status is whole', (response) => void response.socket?.end('HTTP/1.1 2')],
  ])('that %s gets every event in the end', async (what, how) => {
    const events = await start();
    for (let n = 0; n < 5; n += 1) {
      receiver.script = [...Array.from({ length: n }, () => answer(204)), how];
      const ids = await play(events);
      await expectSent(ids, 1, `${what}, request ${n + 1}`);
    }
  });
});

describe('A store that fails at its n-th call', () => {
  it.each([
    ['and has not done its work', false],
    ['and has done its work', true],
  ])('%s: every event is sent once', async (what, afterwards) => {
    let n = 1;
    for (let isMet = true; isMet && n < MOST_CALLS; n += 1) {
      const failing = failAtCall(deployments.store, n, { afterwards });
      const ids = await play(await start(failing.store));
      const [failed] = failing.failed();
      isMet = failed !== undefined;
      await expectSent(ids, 0, `call ${n} (${failed}) fails ${what}`);
    }
    expect(n).toBeGreaterThan(20);
  });
});
