import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import type { PlanSummary } from '../../runs/deployments/deployment.ts';
import { createFastTime } from '../stored-runs.fixture.ts';
import { createDeployEventSource } from './deploy-event-source.ts';
import {
  answer,
  createDeployments,
  type Deployments,
  type EventReceiver,
  SUMMARY,
  startEventReceiver,
} from './event-receiver.fixture.ts';
import { startEventSender } from './event-sender.ts';
import { createEventWebhook, type EventWebhookOptions } from './event-webhook-client.ts';

type Started = ReturnType<typeof startEventSender>;

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const HOUR = 3_600_000;
/** Sleeps are shortened by this factor. */
const SPEED = 60;
const LISTED = { protocols: ['https', 'http'], hosts: ['127.0.0.1'] };

let deployments: Deployments;
let receiver: EventReceiver;
let other: EventReceiver;
let webhooks: Started | null;

beforeEach(async () => {
  [deployments, receiver, other] = await Promise.all([
    createDeployments(),
    startEventReceiver(),
    startEventReceiver(),
  ]);
});

afterEach(async () => {
  await webhooks?.stop();
  webhooks = null;
  await Promise.all([deployments.close(), receiver.close(), other.close()]);
});

/** A clock that runs by itself, for the receiver, too. Days pass in a second. */
function startFastTime() {
  const fast = createFastTime(SPEED);
  receiver.clock = fast.clock;
  return fast;
}

interface Starting {
  url?: string | null;
  secret?: string | null;
  client?: Partial<EventWebhookOptions>;
  store?: Deployments['store'];
  runUrl?: (id: string) => string;
  /** A clock that runs by itself. */
  fast?: ReturnType<typeof createFastTime>;
}

async function start({ url = receiver.url, secret = SECRET, client, store, fast, runUrl }: Starting = {}) {
  await webhooks?.stop();
  let underWay = 0;
  const send = createEventWebhook({
    secret: secret ?? SECRET,
    rules: LISTED,
    version: '1',
    timeoutMs: 2_000,
    ...client,
  });
  const sendEvent: typeof send = async (...request) => {
    underWay += 1;
    try {
      return await send(...request);
    } finally {
      underWay -= 1;
    }
  };
  webhooks = startEventSender({
    store: store ?? deployments.store,
    source: createDeployEventSource({
      store: store ?? deployments.store,
      sendEvent: secret === null ? null : sendEvent,
      url,
      runUrl: runUrl ?? ((id) => `https://runner.example/runs/${id}`),
    }),
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    random: () => 0,
    // The fast clock stands still during a try, whose real time has nothing to do with it.
    ...(fast && { clock: fast.clock, sleep: (ms, until) => fast.sleep(ms, until, () => underWay === 0) }),
  });
  return webhooks;
}

function reportsOf(runId: string) {
  return deployments.store.reports('event-webhook', runId);
}

async function unsettled(): Promise<string[]> {
  return (await deployments.store.unreported('event-webhook', 100)).map(({ id }) => id);
}

async function endOne(state: 'succeeded' | 'failed' = 'succeeded'): Promise<string> {
  const id = await deployments.deploy();
  await deployments.finish(await deployments.begin(), state);
  return id;
}

describe('The events of a deployment', () => {
  it('are sent in order, each once, with a signature that a Standard Webhooks library accepts', async () => {
    const { store, deploy, begin, plan, awaitApproval, finish } = deployments;
    const { idle } = await start();
    const id = await deploy();
    await idle();
    expect(receiver.types()).toEqual([]);
    const first = await begin();
    await idle();
    await plan(first);
    await awaitApproval(first);
    await idle();
    await store.decide(id, 'approved', 'grace');
    await finish(await begin());
    await idle();
    expect(receiver.types()).toEqual([
      'deployment.started',
      'deployment.awaiting_approval',
      'deployment.succeeded',
    ]);
    const webhook = new Webhook(SECRET);
    for (const { text, headers } of receiver.seen) {
      expect(webhook.verify(text, headers as Record<string, string>)).toEqual(JSON.parse(text));
      expect(headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'iac-runner/1' });
      expect(headers['webhook-id']).toMatch(/^msg_[\w-]{32}$/);
    }
    expect(new Set(receiver.seen.map(({ headers }) => headers['webhook-id'])).size).toBe(3);
    expect(await unsettled()).toEqual([]);
    expect(await reportsOf(id)).toMatchObject([{ target: 'operator', settled: true, problem: null }]);
  });

  it('say what is known at that time, and hold no values or credentials', async () => {
    const { store, deploy, begin, plan, awaitApproval, finish } = deployments;
    const id = await deploy({ path: 'network' });
    const lease = await begin();
    await plan(lease);
    await awaitApproval(lease);
    await store.decide(id, 'approved', 'grace');
    const again = await begin();
    await store.append(again, [
      {
        type: 'run.outputs',
        outputs: { token: { sensitive: false, type: 'string', value: 'output-value' } },
      },
    ]);
    await finish(again, 'failed', 'apply failed');
    const { idle } = await start();
    await idle();
    const [started, awaiting, failed] = receiver.seen.map(({ body }) => body);
    const common = {
      deployment_id: id,
      operation: 'apply',
      tool: 'tofu',
      git_url: 'https://git.example.com/infra.git',
      git_ref: 'main',
      path: 'network',
      requested_by: 'ada',
      run_url: `https://runner.example/runs/${id}`,
    };
    const none = { commit: null, plan: null, approved_by: null, reason: null, error: null };
    expect(started?.data).toEqual({ ...common, ...none, status: 'running', phase: 'initializing' });
    const { outputs: _, ...shown } = SUMMARY;
    const known = { ...common, ...none, commit: 'c'.repeat(40), plan: shown };
    expect(awaiting?.data).toEqual({ ...known, status: 'awaiting_approval', phase: 'plan' });
    const ended = { status: 'failed', phase: 'apply', error: 'apply failed', approved_by: 'grace' };
    expect(failed?.data).toEqual({ ...known, ...ended });
    expect(failed?.timestamp).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    const texts = receiver.seen.map(({ text }) => text).join();
    expect(texts).not.toMatch(/hunter2|output-value|sealed/);
  });

  it('are only the end for a deployment that never started', async () => {
    const id = await deployments.deploy();
    await deployments.store.requestCancel(id, 'ada');
    await (await start()).idle();
    expect(receiver.types()).toEqual(['deployment.cancelled']);
    expect(receiver.seen[0]?.body.data).toMatchObject({ status: 'cancelled', phase: 'initializing' });
  });

  it.each<[string, PlanSummary | null, string, boolean]>([
    ['something differs', SUMMARY, 'deployment.drifted', true],
    ['nobody knows what differs', null, 'deployment.drifted', true],
    ['nothing differs', { ...SUMMARY, add: 0, resources: [] }, 'deployment.succeeded', false],
  ])('say that a drift check %s', async (_what, summary, type, drift) => {
    await deployments.deploy({ operation: 'drift' });
    const lease = await deployments.begin();
    await deployments.plan(lease, summary);
    await deployments.finish(lease);
    await (await start()).idle();
    expect(receiver.types()).toEqual(['deployment.started', type]);
    expect(receiver.seen[1]?.body.data).toMatchObject({ operation: 'drift', drift });
  });

  it('also go to the address of the deployment, or only there if the operator has none', async () => {
    await deployments.deploy({ callbackUrl: other.url });
    await deployments.finish(await deployments.begin());
    await (await start()).idle();
    expect(receiver.types()).toEqual(other.types());
    expect(receiver.seen[0]?.headers['webhook-id']).not.toBe(other.seen[0]?.headers['webhook-id']);
    await webhooks?.stop();
    await deployments.deploy({ callbackUrl: other.url });
    await deployments.finish(await deployments.begin());
    await (await start({ url: null })).idle();
    expect([receiver.seen.length, other.seen.length]).toEqual([2, 4]);
  });

  it('go once to an address that is the operator’s and the deployment’s', async () => {
    await deployments.deploy({ callbackUrl: receiver.url });
    await deployments.finish(await deployments.begin());
    await (await start()).idle();
    expect(receiver.types()).toEqual(['deployment.started', 'deployment.succeeded']);
  });
});

describe('Without a secret', () => {
  it('deployments are settled without an event, and the report says so', async () => {
    const silent = await endOne();
    const asking = await deployments.deploy({ callbackUrl: receiver.url });
    await deployments.begin();
    await (await start({ url: null, secret: null })).idle();
    expect(await unsettled()).toEqual([]);
    expect(await reportsOf(silent)).toEqual([]);
    expect(await reportsOf(asking)).toMatchObject([
      { target: 'callback', settled: true, problem: expect.stringContaining('EVENT_WEBHOOK_SECRET') },
    ]);
    expect(receiver.connections).toBe(0);
  });
});

describe('A receiver that fails', () => {
  it('gets the same id and the same text again, and the next event only after it', async () => {
    receiver.script.push(answer(500), answer(404), (response) => void response.destroy());
    await endOne();
    await (await start({ fast: startFastTime() })).idle();
    expect(receiver.types()).toEqual([...Array(4).fill('deployment.started'), 'deployment.succeeded']);
    const tries = receiver.seen.slice(0, 4);
    expect(new Set(tries.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
    expect(new Set(tries.map(({ text }) => text)).size).toBe(1);
  });

  it('is tried at growing intervals for about a day, across restarts, and then given up in the report', async () => {
    receiver.always = answer(503);
    const id = await endOne();
    const fast = startFastTime();
    const begin = fast.clock();
    let { idle } = await start({ fast });
    await expect.poll(() => receiver.seen.length).toBeGreaterThan(3);
    ({ idle } = await start({ fast }));
    await idle();
    const hours = (fast.clock() - begin) / HOUR;
    // The two events are sent one after the other.
    expect(hours).toBeGreaterThan(2 * 22);
    expect(hours).toBeLessThan(2 * 27);
    expect(receiver.types().filter((type) => type === 'deployment.started').length).toBeLessThan(22);
    expect(await reportsOf(id)).toMatchObject([
      { settled: true, problem: expect.stringContaining(`${receiver.host} answered HTTP 503`) },
    ]);
    expect(JSON.stringify(await reportsOf(id))).not.toContain('s3cret');
    expect(await unsettled()).toEqual([]);
  });

  it('gets the last event although it never took the first, and the report keeps the problem', async () => {
    receiver.script.push(...Array(19).fill(answer(500)));
    const id = await endOne();
    await (await start({ fast: startFastTime() })).idle();
    expect(receiver.types().at(-1)).toBe('deployment.succeeded');
    expect(await reportsOf(id)).toMatchObject([
      {
        settled: true,
        sent: 'deployment.succeeded',
        problem: expect.stringMatching(/^deployment.started was tried 19 times/),
      },
    ]);
  });

  it('is not affected by another target whose event cannot be made', async () => {
    await deployments.deploy({ callbackUrl: other.url });
    await deployments.finish(await deployments.begin());
    let tries = 0;
    const events = await start({
      fast: startFastTime(),
      runUrl(id) {
        tries += 1;
        if (tries === 1) throw new Error('no link');
        return `https://runner.example/runs/${id}`;
      },
    });
    await events.idle();
    expect(receiver.types()).toEqual(['deployment.started', 'deployment.succeeded']);
    expect(other.types()).toEqual(receiver.types());
  });

  it('that answers 410 gets no more events of this deployment', async () => {
    receiver.script.push(answer(410));
    const id = await endOne();
    await (await start()).idle();
    expect(receiver.types()).toEqual(['deployment.started']);
    expect(await reportsOf(id)).toMatchObject([{ settled: true, problem: expect.stringContaining('410') }]);
    await endOne();
    await webhooks?.idle();
    expect(receiver.types()).toHaveLength(3);
  });

  it('F14: cannot redirect us', async () => {
    receiver.script.push(answer(302, { location: other.url }), answer(308, { location: other.url }));
    await endOne();
    await (await start({ fast: startFastTime() })).idle();
    expect(receiver.types()).toHaveLength(4);
    expect(other.connections).toBe(0);
  });

  it('gets no event for as long as it asks', async () => {
    receiver.script.push(answer(429, { 'retry-after': '7200' }));
    await endOne();
    await endOne();
    await (await start({ fast: startFastTime() })).idle();
    const [first = 0, second = 0, last = 0] = [0, 1, 4].map((index) => receiver.seen[index]?.at);
    expect(second - first).toBeGreaterThanOrEqual(2 * HOUR);
    expect(last - second).toBeLessThan(HOUR);
  });

  it('by giving no answer holds up no other', async () => {
    receiver.always = () => undefined;
    for (let index = 0; index < 3; index += 1) {
      await deployments.deploy({ callbackUrl: other.url });
      await deployments.finish(await deployments.begin());
    }
    await start({ client: { timeoutMs: 15_000 } });
    await expect.poll(() => other.types().length).toBe(6);
    expect(receiver.seen).toHaveLength(1);
  });

  it('that never ends its answer has taken the event', async () => {
    receiver.script.push(
      (response) => void response.writeHead(200).write('x'.repeat(100)),
      (response) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write('x'.repeat(64 * 1024)), 1);
        response.on('close', () => clearInterval(timer));
      },
    );
    await endOne();
    await (await start({ client: { timeoutMs: 500 } })).idle();
    expect(receiver.types()).toEqual(['deployment.started', 'deployment.succeeded']);
  });
});

describe('An event that is under way when the server stops', () => {
  it('is sent again with the same id', async () => {
    receiver.script.push(() => undefined);
    const id = await endOne();
    await start();
    await expect.poll(() => receiver.seen.length).toBe(1);
    await webhooks?.stop();
    expect(await reportsOf(id)).toEqual([]);
    await (await start()).idle();
    expect(receiver.types()).toEqual(['deployment.started', 'deployment.started', 'deployment.succeeded']);
    const [first, second] = receiver.seen.map(({ headers }) => headers['webhook-id']);
    expect(first).toBe(second);
  });

  it('is not sent again and again while the store cannot record that it was taken', async () => {
    let isFull = true;
    const { store } = deployments;
    const full: Deployments['store'] = {
      ...store,
      saveReport: (report) =>
        isFull ? Promise.reject(new StoreUnavailableError('The disk is full.')) : store.saveReport(report),
    };
    await endOne();
    const fast = startFastTime();
    const begin = fast.clock();
    const { idle } = await start({ store: full, fast });
    await expect.poll(() => fast.clock() - begin).toBeGreaterThan(HOUR);
    expect(receiver.types()).toEqual(['deployment.started']);
    isFull = false;
    await idle();
    expect(receiver.types()).toEqual(['deployment.started', 'deployment.succeeded']);
  });
});

describe('F14: the address of a deployment', () => {
  const PUBLIC = { protocols: ['https', 'http'], hosts: [] };

  async function sendTo(callbackUrl: string, client: Partial<EventWebhookOptions>): Promise<string> {
    const id = await deployments.deploy({ callbackUrl });
    await deployments.finish(await deployments.begin());
    await (await start({ url: null, client })).idle();
    const [report] = await reportsOf(id);
    return report?.settled ? (report.problem ?? 'sent') : 'owed';
  }

  it.each([
    ['this machine', () => receiver.url],
    ['this machine in other words', () => receiver.url.replace('127.0.0.1', '2130706433')],
    ['the metadata of a cloud', () => 'http://169.254.169.254/latest/meta-data'],
    ['a file', () => 'file:///etc/passwd'],
  ])('gets no event if it is %s', async (_what, url) => {
    expect(await sendTo(url(), { rules: PUBLIC })).toMatch(/callback_url (names|must)/);
    expect(receiver.connections).toBe(0);
  });

  it('gets no event if its name now leads to a private address', async () => {
    const url = receiver.url.replace('127.0.0.1', 'hooks.example.com');
    const addresses = ['93.184.215.14', '127.0.0.1'].map((address) => [{ address, family: 4 }]);
    const mixed = addresses.flat();
    expect(await sendTo(url, { rules: PUBLIC, resolve: async () => mixed })).toContain('is not public');
    const rebound = await sendTo(url, { rules: PUBLIC, resolve: async () => addresses[1] ?? [] });
    expect(rebound).toBe('hooks.example.com leads to an address that is not public.');
    expect(receiver.connections).toBe(0);
  });

  it('may be a private one that the operator lists, and then no other', async () => {
    expect(await sendTo(receiver.url, { rules: { ...PUBLIC, hosts: [receiver.host] } })).toBe('sent');
    expect(await sendTo(receiver.url, { rules: { ...PUBLIC, hosts: [other.host] } })).toContain('allowed');
    expect(receiver.types()).toHaveLength(2);
  });

  it('gets an event over http only if that is allowed', async () => {
    const rules = { protocols: ['https', 'ssh'], hosts: ['127.0.0.1'] };
    expect(await sendTo(receiver.url, { rules })).toContain('https://');
    expect(receiver.connections).toBe(0);
  });
});
