/** Notifications about syncs, from a real store to real addresses. */

import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { NotifyRule } from '../../config/notify.ts';
import type { SyncRun } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import { aRun, createFastTime, createStoredRuns, type StoredRuns } from '../stored-runs.fixture.ts';
import { answer, type EventReceiver, startEventReceiver } from './event-receiver.fixture.ts';
import { startEventSender } from './event-sender.ts';
import { createChatWebhook, createEventWebhook } from './event-webhook-client.ts';
import { createNotificationSource } from './notification-source.ts';

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const RULES = { protocols: ['http'], hosts: ['127.0.0.1'] };

let runs: StoredRuns;
let receiver: EventReceiver;
let sender: ReturnType<typeof startEventSender> | null = null;

beforeEach(async () => {
  [runs, receiver] = await Promise.all([createStoredRuns(), startEventReceiver()]);
});

afterEach(async () => {
  await sender?.stop();
  sender = null;
  await Promise.all([runs.close(), receiver.close()]);
});

const EVERYTHING: Omit<NotifyRule, 'url'> = {
  format: 'standard-webhooks',
  secret: SECRET,
  events: ['failed', 'recovered', 'approval_needed', 'held', 'drift'],
  environments: null,
  services: null,
};

async function start(...rules: Partial<NotifyRule>[]): Promise<void> {
  await sender?.stop();
  sender = startEventSender({
    store: runs.store,
    source: createNotificationSource({
      store: runs.store,
      rules: rules.map((rule) => ({ ...EVERYTHING, url: receiver.url, ...rule })),
      repository: 'acme/platform',
      sendBy: ({ secret }) =>
        secret === null
          ? createChatWebhook({ version: '1' })
          : createEventWebhook({ secret, rules: RULES, version: '1' }),
      runUrl: (id) => `https://runner.example/runs/${id}`,
    }),
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    random: () => 0,
    ...createFastTime(60),
  });
}

function steps(outcomes: Record<string, 'succeeded' | 'failed'>): RunEventBody[] {
  return Object.entries(outcomes).flatMap(([step, state], position): RunEventBody[] => [
    { type: 'step.planned', step, position, wave: 1, message: '' },
    { type: 'step.started', step, command: [], ledger: null },
    { type: 'step.finished', step, state, message: `It ${state}`, exitCode: null, ledger: null },
  ]);
}

let count = 0;

/** Plays a whole sync, whose services end like this. An empty record and a state: it fails as a whole. */
async function sync(
  outcomes: Record<string, 'succeeded' | 'failed'>,
  { state, ...changes }: Partial<SyncRun> = {},
  input: Partial<SyncRun['input']> = {},
): Promise<string> {
  count += 1;
  const name = `run-${count}`;
  await runs.put(aRun({ id: name, state: 'running', ...changes }, input));
  await runs.tell(name, ...steps(outcomes));
  const failed = Object.values(outcomes).includes('failed');
  await runs.change(name, { state: state ?? (failed ? 'failed' : 'succeeded'), message: 'The end' });
  await sender?.idle();
  return runs.idOf(name);
}

const told = () => receiver.seen.map(({ body }) => [body.type, namesIn(body)]);

function namesIn({ data }: EventReceiver['seen'][number]['body']): string[] {
  const services = Array.isArray(data.services) ? data.services : [];
  return services.map(({ service }: { service: string }) => service);
}

it('A failure is told once, until the service recovers', async () => {
  await start({});
  await sync({ redis: 'succeeded', app: 'succeeded' });
  expect(told()).toEqual([]);
  const failing = await sync({ redis: 'failed', app: 'succeeded' });
  await sync({ redis: 'failed' });
  await sync({ redis: 'failed', app: 'failed' });
  await sync({ redis: 'succeeded' });
  await sync({ redis: 'succeeded', app: 'succeeded' });
  await sync({ redis: 'failed' });
  expect(told()).toEqual([
    ['sync.failed', ['redis']],
    ['sync.failed', ['app']],
    ['sync.recovered', ['redis']],
    ['sync.recovered', ['app']],
    ['sync.failed', ['redis']],
  ]);
  const [first] = receiver.seen;
  expect(first?.body.data).toMatchObject({
    event: 'failed',
    kind: 'sync',
    message: 'acme/platform: redis failed: It failed',
    repository: 'acme/platform',
    environment: 'default',
    services: [{ service: 'redis', message: 'It failed' }],
    run_id: failing,
    run_url: `https://runner.example/runs/${failing}`,
    actor: 'ada',
  });
  const headers = Object.fromEntries(
    Object.entries(first?.headers ?? {}).map(([name, value]) => [name, String(value)]),
  );
  expect(new Webhook(SECRET).verify(first?.text ?? '', headers)).toEqual(first?.body);
  expect(await runs.store.unreported('notification', 10)).toEqual([]);
});

it('A run that fails as a whole is told once, until one of its place succeeds', async () => {
  await start({});
  await sync({}, { state: 'errored' });
  await sync({}, { state: 'errored' });
  await sync({}, { state: 'cancelled' });
  await sync({}, { state: 'errored', concurrencyGroup: 'sync:other' });
  await sync({}, { state: 'succeeded' });
  await sync({}, { state: 'succeeded' });
  expect(told()).toEqual([
    ['sync.failed', []],
    ['sync.failed', []],
    ['sync.recovered', []],
  ]);
});

it('Each rule gets its own events, environments and services', async () => {
  const staging = { repository: 'acme/platform', environment: 'staging' };
  const other = await startEventReceiver();
  await start(
    { events: ['failed'], environments: ['staging'] },
    { url: other.url, events: ['succeeded', 'failed'], services: ['app'] },
  );
  const group = { concurrencyGroup: 'sync:acme/platform:staging' };
  await sync({ redis: 'failed' });
  await sync({ redis: 'failed', app: 'succeeded' }, group, staging);
  await sync({ app: 'failed' }, group, staging);
  expect(told()).toEqual([
    ['sync.failed', ['redis']],
    ['sync.failed', ['app']],
  ]);
  expect(receiver.seen[0]?.body.data.environment).toBe('staging');
  const toOther = other.seen.map(({ body }) => [body.type, namesIn(body)]);
  await other.close();
  // A run that failed has no success to tell, not even of one service.
  expect(toOther).toEqual([['sync.failed', ['app']]]);
});

it('A success is told only if something ran', async () => {
  await start({ events: ['succeeded'] });
  await sync({});
  await sync({ app: 'succeeded' });
  await sync({ app: 'succeeded' }, {}, { dryRun: true });
  expect(told()).toEqual([['sync.succeeded', ['app']]]);
});

it('A chat gets a text, in which nothing of ours looks like its markup', async () => {
  await start({ format: 'slack', secret: null });
  const id = await sync({ 'a<b>&c': 'failed', app: 'failed' }, { subject: 'Fix <!channel>' });
  expect(receiver.seen.map(({ body, headers }) => [body, headers['webhook-signature']])).toEqual([
    [
      {
        text: `*acme/platform: 2 services failed.*
• a&lt;b&gt;&amp;c: It failed
• app: It failed
<https://runner.example/runs/${id}|Open the run> – Fix &lt;!channel&gt;`,
      },
      undefined,
    ],
  ]);
});

it('Who may approve is told, and nobody is told any more once somebody has decided', async () => {
  await start({});
  const promotion = {
    from: 'staging',
    services: [{ service: 'app', from: null }],
    commits: [],
    breakGlass: false,
  };
  const approval = { subject: 'digest', expiresAt: Date.now() + 60_000, message: 'Waiting' };
  const input = {
    promotion,
    intent: 'promote' as const,
    environment: 'production',
    repository: 'acme/platform',
  };
  await runs.put(aRun({ id: 'asked', approval }, input));
  await sender?.idle();
  await expect.poll(told).toEqual([['sync.approval_needed', ['app']]]);
  expect(receiver.seen[0]?.body.data).toMatchObject({
    message: 'acme/platform production: app waits for an approval: Asked for by ada.',
    expires_at: new Date(approval.expiresAt).toISOString(),
  });
  await sender?.stop();
  await runs.put(aRun({ id: 'late', approval, concurrencyGroup: 'other' }, input));
  await runs.store.decide(runs.idOf('late'), 'rejected', 'grace');
  await start({});
  await sender?.idle();
  expect(told()).toHaveLength(1);
});

it('A promotion that passes the rules is told to everybody of its environment', async () => {
  await start({ events: ['drift'] }, { events: ['succeeded'], environments: ['staging'] });
  const promotion = { from: 'staging', services: [], commits: [], breakGlass: true };
  await sync(
    {},
    {},
    { promotion, environment: 'production', repository: 'acme/platform', note: 'The shop is down.' },
  );
  expect(told()).toEqual([['sync.break_glass', []]]);
  expect(receiver.seen[0]?.body.data.message).toBe(
    'acme/platform production: A promotion passes the rules: By ada: The shop is down.',
  );
});

it('A hold is told when it first stops something, and not for each push that it stops', async () => {
  await start({ events: ['held'] });
  const hold = await runs.store.saveHold({
    repository: null,
    environment: null,
    services: null,
    reason: 'Freeze',
    by: 'grace',
    until: null,
  });
  const holds = [hold?.id ?? ''];
  for (const name of ['first', 'second']) {
    await runs.put(aRun({ id: name, state: 'running', concurrencyGroup: 'g' }));
    await runs.tell(name, { type: 'run.held', holds, services: ['app'] });
    await runs.change(name, { state: 'succeeded' });
    await sender?.idle();
  }
  expect(told()).toEqual([['sync.held', ['app']]]);
  expect(receiver.seen[0]?.body.data.message).toBe('acme/platform: app is held: Held by grace: Freeze');
});

it('What happens while the address is away arrives later, in order', async () => {
  receiver.always = answer(503);
  await sync({ app: 'failed' });
  await sync({ app: 'succeeded' });
  await start({});
  await expect.poll(() => receiver.seen.length).toBeGreaterThan(3);
  expect(told().every(([type]) => type === 'sync.failed')).toBe(true);
  receiver.always = null;
  await sender?.idle();
  expect(told().slice(-2)).toEqual([
    ['sync.failed', ['app']],
    ['sync.recovered', ['app']],
  ]);
  expect(await runs.store.unreported('notification', 10)).toEqual([]);
});

it('Without a rule every run is settled at once, so that a later rule is not about it', async () => {
  await start();
  await sync({ app: 'failed' });
  expect(await runs.store.unreported('notification', 10)).toEqual([]);
  await start({});
  await sender?.idle();
  expect(told()).toEqual([]);
});
