/** The routes of the inbox: every delivery with the decision about it, and the replay of one. */

import { type Context, Hono } from 'hono';
import { DELIVERY_DECISIONS, type Delivery, planDedupeKey } from '../../runs/delivery.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { ReplayResult } from '../../triggers/replay.ts';
import type { RunPageEnv } from '../access/access.ts';
import { callerOf, createGuards, type PageOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { rfc3339 } from '../frame/format.ts';
import { isBrowser, pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { answerAccepted } from '../runs/run-pages.ts';
import { deliveriesPath, deliveryListPage, type ListedDelivery } from './delivery-list-page.ts';

export interface DeliveryRoutesOptions extends Omit<PageOptions, 'commitUrl'> {
  store: Pick<RunStore, 'deliveries' | 'delivery' | 'run' | 'runs'>;
  /** `actor` is the name of the API token behind the request. */
  replay(number: number, actor: string): Promise<ReplayResult>;
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
  const { decision: asked = '', before } = c.req.query();
  const decision = DELIVERY_DECISIONS.find((known) => known === asked) ?? null;
  if (asked !== '' && decision === null) {
    return refuse(c, assets, 400, `Decision must be one of ${DELIVERY_DECISIONS.join(', ')}.`);
  }
  if (before !== undefined && !/^\d{1,15}$/.test(before)) {
    return refuse(c, assets, 400, 'Before must be the number of a delivery.');
  }
  const found = await store.deliveries({
    limit: DELIVERIES_PER_PAGE + 1,
    ...(decision !== null && { decision }),
    ...(before !== undefined && { before: Number(before) }),
  });
  const deliveries = found.slice(0, DELIVERIES_PER_PAGE);
  const older =
    found.length > DELIVERIES_PER_PAGE ? deliveriesPath(decision, deliveries.at(-1)?.number) : null;
  c.header('Vary', 'Accept');
  if (prefersJson(c)) {
    return c.json({ deliveries: deliveries.map((delivery) => deliveryJson(delivery, runUrl)), next: older });
  }
  const newest = before === undefined ? null : deliveriesPath(decision);
  const frame = { identity: c.var.identity, assets };
  const listed = await Promise.all(deliveries.map((delivery) => withRuns(store, delivery)));
  return c.html(deliveryListPage({ frame, deliveries: listed, decision, newest, older, now: clock() }));
}

/** A pull request may have made two runs. The delivery only names the first one. */
async function withRuns(store: DeliveryRoutesOptions['store'], delivery: Delivery): Promise<ListedDelivery> {
  const { deliveryId, event, runId } = delivery;
  const run = runId === null ? null : await store.run(runId);
  const hasPlan = event === 'pull_request' && deliveryId !== null && runId !== null;
  const plans = hasPlan ? await store.runs({ dedupeKey: planDedupeKey(deliveryId), limit: 1 }) : [];
  return { delivery, runs: [...(run ? [run] : []), ...plans.filter(({ id }) => id !== runId)] };
}

/** A delivery has no page of its own, so browsers are led to the list that begins with it. */
async function showDelivery(c: DeliveryContext, { store, assets, runUrl }: DeliveryRoutesOptions) {
  const number = Number(c.req.param('number'));
  const delivery = await store.delivery(number);
  if (!delivery) return refuse(c, assets, 404, 'Delivery not found.');
  if (isBrowser(c)) return c.redirect(deliveriesPath(null, number + 1), 303);
  return c.json(deliveryJson(delivery, runUrl));
}

async function replay(c: DeliveryContext, { assets, runUrl, replay }: DeliveryRoutesOptions) {
  const result = await replay(Number(c.req.param('number')), callerOf(c).name);
  if (result.status === 'unknown') return refuse(c, assets, 404, 'Delivery not found.');
  if (result.status === 'refused') return refuse(c, assets, 409, result.reason);
  return answerAccepted(c, result.run.id, runUrl);
}

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
