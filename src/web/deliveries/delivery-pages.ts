/** The pages of the inbox: every delivery with the decision about it, and the replay of one. */

import { type Context, Hono } from 'hono';
import { html } from 'hono/html';
import { DELIVERY_DECISIONS, type Delivery, type DeliveryDecision } from '../../runs/delivery.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { ReplayResult } from '../../triggers/replay.ts';
import { hasRole, type RunPageEnv } from '../access/access.ts';
import { callerOf, createGuards, type PageOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { plainLine } from '../frame/ansi.ts';
import { rfc3339 } from '../frame/format.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import { filterBar, pager, pathWith } from '../frame/list-parts.ts';
import { isBrowser, pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { answerAccepted } from '../runs/run-pages.ts';
import { moment, runLink } from '../runs/run-words.ts';

export interface DeliveryRoutesOptions extends Omit<PageOptions, 'commitUrl'> {
  store: Pick<RunStore, 'deliveries' | 'delivery' | 'run'>;
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
  return c.html(deliveryListPage({ frame, deliveries, decision, newest, older, now: clock() }));
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

interface DeliveryListView {
  frame: Omit<PageFrame, 'title'>;
  deliveries: Delivery[];
  decision: DeliveryDecision | null;
  /** The address of the newest page, or null if this is it. */
  newest: string | null;
  /** The address of the next older page, or null. */
  older: string | null;
  now: number;
}

function deliveryListPage(view: DeliveryListView): Html {
  const { frame, deliveries, decision, newest, older } = view;
  return page(
    { ...frame, title: 'Deliveries', watches: true },
    html`<h1>Deliveries</h1>
${filterBar('/deliveries', [
  {
    name: 'decision',
    label: 'Decision',
    all: 'all decisions',
    choices: DELIVERY_DECISIONS.map((one) => [one, words(one)] as const),
    value: decision,
  },
])}
${
  deliveries.length === 0
    ? html`<p class="empty">${emptyWords(decision, newest !== null)}</p>`
    : html`<ol class="runs" reversed>${deliveries.map((delivery) => deliveryRow(delivery, view))}</ol>`
}
${pager(newest, older)}`,
  );
}

function deliveriesPath(decision: DeliveryDecision | null, before?: number): string {
  return pathWith('/deliveries', { decision, before });
}

function words(decision: DeliveryDecision): string {
  return decision.replaceAll('_', ' ');
}

function emptyWords(decision: DeliveryDecision | null, paged: boolean): string {
  if (paged) return 'No older deliveries.';
  return decision === null
    ? 'No deliveries yet. GitHub sends the first when the webhook is saved there.'
    : `No delivery was ${decision === 'no_changes' ? 'without changes' : words(decision)}.`;
}

function deliveryRow(delivery: Delivery, { frame, now }: DeliveryListView): Html {
  const { number, decision, event, detail, deliveryId, runId, receivedAt, request } = delivery;
  return html`<li class="run-row">
<span class="state" data-decision="${decision}">${words(decision)}</span>
<div class="run-what">
<span class="run-title"><bdi>${plainLine(detail)}</bdi></span>
<span class="run-message">#${number} ${plainLine(event) || 'no event'}</span>
</div>
<div class="run-where">
${runId !== null && html`<span>${runLink(runId, html`Run <span class="unseen">of delivery ${number}</span>`)}</span>`}
<span class="quiet"><code title="${plainLine(deliveryId ?? '')}">${plainLine(deliveryId ?? '')}</code></span>
</div>
<div class="run-when">
<span>${moment(receivedAt, now)}</span>
<span>${
    request !== null &&
    hasRole(frame.identity, 'operator') &&
    html`<form method="post" action="/deliveries/${number}/replay"><button class="plain" type="submit" aria-label="Replay delivery ${number}">Replay</button></form>`
  }</span>
</div>
</li>`;
}
