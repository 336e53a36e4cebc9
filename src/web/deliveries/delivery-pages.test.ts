import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { NewDelivery } from '../../runs/delivery.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { pushRequest } from '../../stores/run-store-contract.ts';
import { readDeliveries, readDelivery } from '../../stores/sql/reads.ts';
import { recordDelivery } from '../../stores/sql/writes/deliveries.ts';
import { enqueue } from '../../stores/sql/writes/enqueue.ts';
import { replayDelivery } from '../../triggers/replay.ts';
import { createTestAccess, createTestGate } from '../access/access.fixture.ts';
import { createLoginRoutes } from '../access/login-pages.ts';
import { loadAssets } from '../frame/assets.ts';
import { AS_OPERATOR, AS_VIEWER, BROWSER, signIn, WANTS_JSON } from '../pages.fixtures.ts';
import { createTestRuns, START_AT } from '../runs.fixtures.ts';
import { createDeliveryRoutes, type DeliveryRoutesOptions } from './delivery-pages.ts';

const TOKENS = [
  { name: 'vera', role: 'viewer', token: 'viewer-token' },
  { name: 'oscar', role: 'operator', token: 'operator-token' },
] as const;

const ListBody = z.object({
  deliveries: z.array(z.looseObject({ number: z.number() })),
  next: z.string().nullable(),
});

function createPages(count: number) {
  const runs = createTestRuns();
  function store(delivery: NewDelivery): void {
    runs.write((transaction) => recordDelivery(transaction, delivery));
    runs.write((transaction) => transaction.run('UPDATE deliveries SET received_at = ?', START_AT));
  }
  for (let number = 1; number <= count; number += 1) store(aDelivery(number));
  const reader: DeliveryRoutesOptions['store'] & Pick<RunStore, 'enqueue'> = {
    ...runs,
    delivery: (number) => runs.read((database) => readDelivery(database, number)),
    deliveries: (filter) => runs.read((database) => readDeliveries(database, filter)),
    enqueue: (request, beside) =>
      new Promise((resolve) => {
        runs.write(async (transaction) => resolve((await enqueue(transaction, request, beside)).result));
      }),
  };
  const gate = createTestGate();
  const access = createTestAccess({ tokens: TOKENS, store: runs, gate, clock: () => START_AT });
  const assets = loadAssets();
  const app = new Hono();
  app.route('/', createLoginRoutes({ access, gate, assets, publicUrl: null }));
  app.route(
    '/',
    createDeliveryRoutes({
      store: reader,
      access,
      assets,
      replay: (number, actor) => replayDelivery(reader, number, actor),
      clock: () => START_AT,
      runUrl: (runId) => `https://runner.example/runs/${runId}`,
      publicUrl: null,
    }),
  );
  return { app, store, runs, enqueued: () => runs.runs({ limit: 10 }) };
}

/** Odd ones are pushes, even ones pings. */
function aDelivery(number: number): NewDelivery {
  const deliveryId = `d-${number}`;
  if (number % 2 === 0) {
    const detail = 'Event ping';
    return { deliveryId, event: 'ping', decision: 'ignored', detail, runId: null, request: null };
  }
  const request = pushRequest({ dedupeKey: `delivery:d-${number}` });
  return {
    deliveryId,
    event: 'push',
    decision: 'accepted',
    detail: 'Push of aaaaaaaa',
    runId: 'r1',
    request,
  };
}

describe('GET /deliveries', () => {
  it('lists them newest first as JSON, in pages that lead to the older ones', async () => {
    const { app } = createPages(120);
    const seen: number[] = [];
    for (let next: string | null = '/deliveries'; next !== null; ) {
      const response: Response = await app.request(next, { headers: { ...AS_VIEWER, ...WANTS_JSON } });
      const body = ListBody.parse(await response.json());
      expect(body.deliveries.length).toBeLessThanOrEqual(50);
      seen.push(...body.deliveries.map(({ number }) => number));
      next = body.next;
    }
    expect(seen).toEqual(Array.from({ length: 120 }, (_, index) => 120 - index));
  });

  it('shows the event, the decision and its reason for each', async () => {
    const { app } = createPages(2);
    const headers = { ...AS_VIEWER, ...WANTS_JSON };
    const body = ListBody.parse(await (await app.request('/deliveries', { headers })).json());
    const received_at = new Date(START_AT).toISOString();
    expect(body.deliveries).toEqual([
      {
        number: 2,
        received_at,
        event: 'ping',
        decision: 'ignored',
        detail: 'Event ping',
        delivery_id: 'd-2',
        run_id: null,
        url: null,
        replayable: false,
      },
      {
        number: 1,
        received_at,
        event: 'push',
        decision: 'accepted',
        detail: 'Push of aaaaaaaa',
        delivery_id: 'd-1',
        run_id: 'r1',
        url: 'https://runner.example/runs/r1',
        replayable: true,
      },
    ]);
    expect(await (await app.request('/deliveries/1', { headers })).json()).toEqual(body.deliveries[1]);
  });

  it('filters by decision, also over pages, and lists the decisions when the filter is unknown', async () => {
    const { app } = createPages(120);
    const headers = { ...AS_VIEWER, ...WANTS_JSON };
    const first = ListBody.parse(
      await (await app.request('/deliveries?decision=ignored', { headers })).json(),
    );
    expect(first.deliveries.every(({ number }) => number % 2 === 0)).toBe(true);
    expect(first.next).toBe('/deliveries?decision=ignored&before=22');
    const unknown = await app.request('/deliveries?decision=lost', { headers });
    expect(unknown.status).toBe(400);
    expect(await unknown.json()).toEqual({
      error: 'Decision must be one of accepted, duplicate, no_changes, ignored, refused, missed.',
      code: 'invalid_request',
    });
    expect((await app.request('/deliveries?before=x', { headers })).status).toBe(400);
  });

  it('is a page with a button for operators, where there is something to replay', async () => {
    const { app } = createPages(2);
    const page = async (headers: Record<string, string>) =>
      (await app.request('/deliveries', { headers: { ...BROWSER, ...headers } })).text();
    const forOperator = await page(AS_OPERATOR);
    expect(forOperator).toContain('data-decision="accepted"');
    expect(forOperator).toContain('href="/runs/r1"');
    expect(forOperator.match(/action="[^"]*replay"/g)).toEqual(['action="/deliveries/1/replay"']);
    expect(await page(AS_VIEWER)).not.toContain('/replay');
  });

  it('shows the subject, who pushed, every run of a pull request with its state, and what to do', async () => {
    const { app, store, runs } = createPages(0);
    const request = pushRequest({ subject: 'Give redis more memory' });
    request.trigger.actor = 'mona';
    store({ ...aDelivery(1), request });
    runs.add('first');
    runs.add('second', { dedupeKey: 'delivery:d-3:plan' });
    store({ ...aDelivery(3), event: 'pull_request', runId: 'first', request: null });
    store({ ...aDelivery(2), decision: 'refused', detail: 'The signature is wrong' });
    const page = await (await app.request('/deliveries', { headers: { ...AS_VIEWER, ...BROWSER } })).text();
    expect(page).toContain('<bdi>Give redis more memory</bdi>');
    expect(page).toContain('by <bdi>mona</bdi>');
    expect(page).toMatch(/href="\/runs\/first".*data-state="queued"/);
    expect(page).toMatch(/href="\/runs\/second".*data-state="queued"/);
    expect(page).toContain('<span class="run-title" data-whole><bdi>The signature is wrong</bdi>');
    expect(page).toContain('enter the value of WEBHOOK_SECRET');
  });

  it('F48: shows the texts of strangers as text only', async () => {
    const { app, store } = createPages(0);
    const hostile = '<img src=x onerror=alert(1)>\u202e\u001b[2J';
    store({ ...aDelivery(1), detail: hostile, event: hostile, deliveryId: hostile });
    const response = await app.request('/deliveries', { headers: { ...AS_VIEWER, ...BROWSER } });
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    const page = await response.text();
    expect(page).not.toContain('<img src=x');
    expect(page).not.toContain('\u202e');
    expect(page).not.toContain('\u001b');
  });

  it('needs credentials', async () => {
    const { app } = createPages(1);
    expect((await app.request('/deliveries', { headers: WANTS_JSON })).status).toBe(401);
    expect((await app.request('/deliveries/1', { headers: WANTS_JSON })).status).toBe(401);
    expect((await app.request('/deliveries', { headers: BROWSER })).status).toBe(303);
  });
});

describe('POST /deliveries/:number/replay', () => {
  const post = (headers: Record<string, string>) => ({
    method: 'POST',
    headers: { ...WANTS_JSON, ...headers },
  });

  it('enqueues the request again, under the name of the caller', async () => {
    const { app, enqueued } = createPages(1);
    const response = await app.request('/deliveries/1/replay', post(AS_OPERATOR));
    const [run, ...others] = await enqueued();
    expect(await response.json()).toEqual({
      status: 'accepted',
      run_id: run?.id,
      url: `https://runner.example/runs/${run?.id}`,
    });
    const trigger = { source: 'replay', actor: 'oscar', deliveryId: null, retryOf: null };
    expect(run).toMatchObject({ ...pushRequest(), dedupeKey: null, trigger });
    expect(others).toEqual([]);
  });

  it('leads browsers to the new run, and back to the list when they have to sign in first', async () => {
    const { app, enqueued } = createPages(1);
    const cookie = await signIn(app, 'operator-token');
    const headers = { ...BROWSER, ...cookie, 'Sec-Fetch-Site': 'same-origin' };
    const response = await app.request('/deliveries/1/replay', { method: 'POST', headers });
    expect([response.status, response.headers.get('location')]).toEqual([
      303,
      `/runs/${(await enqueued())[0]?.id}`,
    ]);
    const stranger = await app.request('/deliveries/1/replay', { method: 'POST', headers: BROWSER });
    expect(stranger.headers.get('location')).toBe('/login?next=%2Fdeliveries%2F1');
    const after = await app.request('/deliveries/1', { headers: { ...BROWSER, ...cookie } });
    expect(after.headers.get('location')).toBe('/deliveries?before=2');
  });

  it.each([
    ['2', 409, 'conflict', 'There is nothing to replay, because the delivery requested nothing: Event ping.'],
    ['3', 404, 'not_found', 'Delivery not found.'],
  ])('refuses number %s with %i and the reason', async (number, status, code, error) => {
    const { app, enqueued } = createPages(2);
    const response = await app.request(`/deliveries/${number}/replay`, post(AS_OPERATOR));
    expect([response.status, await response.json()]).toEqual([status, { error, code }]);
    expect(await enqueued()).toEqual([]);
  });

  it('says how to get a missed delivery', async () => {
    const { app, store } = createPages(0);
    store({ ...aDelivery(2), decision: 'missed' });
    const response = await app.request('/deliveries/1/replay', post(AS_OPERATOR));
    expect(response.status).toBe(409);
    expect(await response.text()).toContain('press Redeliver on GitHub');
  });

  it('F13: is for operators, by POST, and by cookie from our own pages only', async () => {
    const { app, enqueued } = createPages(1);
    const cookie = await signIn(app, 'operator-token');
    const cross = { ...cookie, Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' };
    expect((await app.request('/deliveries/1/replay', post({}))).status).toBe(401);
    expect((await app.request('/deliveries/1/replay', post(AS_VIEWER))).status).toBe(403);
    expect((await app.request('/deliveries/1/replay', post(cross))).status).toBe(403);
    expect((await app.request('/deliveries/1/replay', post(cookie))).status).toBe(403);
    expect((await app.request('/deliveries/1/replay', { headers: AS_OPERATOR })).status).toBe(404);
    expect(await enqueued()).toEqual([]);
  });
});
