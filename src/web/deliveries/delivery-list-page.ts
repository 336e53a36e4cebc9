/** The list of deliveries: newest first, one line each, filtered by decision, older ones a page away. */

import { html } from 'hono/html';
import { DELIVERY_DECISIONS, type Delivery, type DeliveryDecision } from '../../runs/delivery.ts';
import { hasRole } from '../access/access.ts';
import { plainLine } from '../frame/ansi.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import { moment } from '../runs/run-words.ts';

export interface DeliveryListView {
  frame: Omit<PageFrame, 'title'>;
  deliveries: Delivery[];
  decision: DeliveryDecision | null;
  /** True when this is not the newest page. */
  paged: boolean;
  /** Address of the next older page, or null. */
  older: string | null;
  now: number;
}

export function deliveryListPage(view: DeliveryListView): Html {
  const { frame, deliveries, decision, paged, older } = view;
  return page(
    { ...frame, title: 'Deliveries' },
    html`<h1>Deliveries</h1>
${decisionFilter(decision)}
${
  deliveries.length === 0
    ? html`<p class="empty">${emptyWords(decision, paged)}</p>`
    : html`<ol class="runs" reversed>${deliveries.map((delivery) => deliveryRow(delivery, view))}</ol>`
}
${
  (paged || older) &&
  html`<nav class="pager" aria-label="Pages">
${paged && html`<a href="${deliveriesPath(decision)}">Newest</a>`}
${older && html`<a href="${older}" rel="next">Older</a>`}
</nav>`
}`,
  );
}

export function deliveriesPath(decision: DeliveryDecision | null, before?: number): string {
  const query = new URLSearchParams();
  if (decision) query.set('decision', decision);
  if (before !== undefined) query.set('before', String(before));
  return query.size === 0 ? '/deliveries' : `/deliveries?${query}`;
}

function decisionFilter(current: DeliveryDecision | null): Html {
  const link = (decision: DeliveryDecision | null) =>
    html`<li><a href="${deliveriesPath(decision)}"${
      decision === current && html` aria-current="page"`
    }>${decision === null ? 'all' : words(decision)}</a></li>`;
  return html`<nav aria-label="Filter by decision"><ul class="filter">${[null, ...DELIVERY_DECISIONS].map(link)}</ul></nav>`;
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
${runId !== null && html`<span><a href="/runs/${encodeURIComponent(runId)}">Run</a></span>`}
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
