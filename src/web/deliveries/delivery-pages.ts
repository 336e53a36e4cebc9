/** The routes of the inbox: every delivery with what was decided about it, and the replay of one. */

import { type Context, Hono } from 'hono';
import { DELIVERY_DECISIONS, type Delivery } from '../../runs/delivery.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { ReplayResult } from '../../triggers/replay.ts';
import type { Access } from '../access/access.ts';
import { createGuards, type RunPageEnv } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import type { Assets } from '../frame/assets.ts';
import { rfc3339 } from '../frame/format.ts';
import { isBrowser, pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { deliveriesPath, deliveryListPage } from './delivery-list-page.ts';

export interface DeliveryRoutesOptions {
  store: Pick<RunStore, 'deliveries' | 'delivery' | 'run'>;
  access: Access;
  assets: Assets;
  /** `actor` is the name of the API token behind the request. */
  replay(number: number, actor: string): Promise<ReplayResult>;
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** The address of a run's page for programs, without a key. */
  runUrl: (runId: string) => string;
  publicUrl: string | null;
}

type DeliveryContext = Context<RunPageEnv>;

const DELIVERIES_PER_PAGE = 50;

export function createDeliveryRoutes(options: DeliveryRoutesOptions): Hono<RunPageEnv> {
  const { signedIn, operator } = createGuards(options);
  const routes = new Hono<RunPageEnv>();
  routes.use('/deliveries/*', pageHeaders());
  routes.get('/deliveries', signedIn, (c) => listDeliveries(c, options));
  routes.get('/deliveries/:number{[0-9]{1,15}}', signedIn, (c) => showDelivery(c, options));
  routes.post('/deliveries/:number{[0-9]{1,15}}/replay', operator, (c) => replay(c, options));
  return routes;
}

async function listDeliveries(c: DeliveryContext, { store, assets, clock, runUrl }: DeliveryRoutesOptions) {
  const { identity } = c.var;
  const asked = c.req.query('decision') ?? '';
  const decision = DELIVERY_DECISIONS.find((known) => known === asked) ?? null;
  if (asked !== '' && decision === null) {
    const error = `Decision must be one of ${DELIVERY_DECISIONS.join(', ')}.`;
    return refuse(c, { assets, identity }, { status: 400, error });
  }
  const before = c.req.query('before');
  if (before !== undefined && !/^\d{1,15}$/.test(before)) {
    return refuse(
      c,
      { assets, identity },
      { status: 400, error: 'Before must be the number of a delivery.' },
    );
  }
  const found = await store.deliveries({
    limit: DELIVERIES_PER_PAGE + 1,
    ...(decision !== null && { decision }),
    ...(before !== undefined && { before: Number(before) }),
  });
  const deliveries = found.slice(0, DELIVERIES_PER_PAGE);
  const last = found.length > DELIVERIES_PER_PAGE ? deliveries.at(-1) : undefined;
  const older = last ? deliveriesPath(decision, last.number) : null;
  c.header('Vary', 'Accept');
  if (prefersJson(c)) {
    return c.json({ deliveries: deliveries.map((delivery) => deliveryJson(delivery, runUrl)), next: older });
  }
  const paged = before !== undefined;
  const frame = { identity, assets };
  return c.html(deliveryListPage({ frame, deliveries, decision, paged, older, now: clock() }));
}

/** For browsers a delivery has no page of its own: the list that begins with it. */
async function showDelivery(c: DeliveryContext, { store, assets, runUrl }: DeliveryRoutesOptions) {
  const number = Number(c.req.param('number'));
  const delivery = await store.delivery(number);
  if (!delivery) return refuse(c, { assets, identity: c.var.identity }, NOT_FOUND);
  if (isBrowser(c)) return c.redirect(deliveriesPath(null, number + 1), 303);
  return c.json(deliveryJson(delivery, runUrl));
}

/** Forms are led to the new run's page; programs get JSON. */
async function replay(c: DeliveryContext, { assets, runUrl, replay }: DeliveryRoutesOptions) {
  const { identity } = c.var;
  if (!identity) throw new Error('A replay came without its guard.');
  const result = await replay(Number(c.req.param('number')), identity.name);
  if (result.status === 'unknown') return refuse(c, { assets, identity }, NOT_FOUND);
  if (result.status === 'refused') {
    return refuse(c, { assets, identity }, { status: 409, error: result.reason });
  }
  const { id } = result.run;
  if (isBrowser(c)) return c.redirect(`/runs/${encodeURIComponent(id)}`, 303);
  return c.json({ status: 'accepted', run_id: id, url: runUrl(id) });
}

const NOT_FOUND = { status: 404, error: 'Delivery not found.' } as const;

function deliveryJson(delivery: Delivery, runUrl: (runId: string) => string) {
  return {
    number: delivery.number,
    received_at: rfc3339(delivery.receivedAt),
    event: delivery.event,
    decision: delivery.decision,
    detail: delivery.detail,
    delivery_id: delivery.deliveryId,
    run_id: delivery.runId,
    url: delivery.runId === null ? null : runUrl(delivery.runId),
    replayable: delivery.request !== null,
  };
}
