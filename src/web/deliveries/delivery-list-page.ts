/** The page of deliveries: what each one said, what was decided about it, and what came of it. */

import { html } from 'hono/html';
import { DELIVERY_DECISIONS, type Delivery, type DeliveryDecision } from '../../runs/delivery.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { Run } from '../../runs/run.ts';
import { hasRole } from '../access/access.ts';
import { plainLine } from '../frame/ansi.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import { filterBar, pager, pathWith } from '../frame/list-parts.ts';
import { moment, runLink, runPath, runTitle, stateBadge } from '../runs/run-words.ts';
import { adviceFor } from './delivery-advice.ts';

/** A delivery with the runs that it made and that are still kept. */
export interface ListedDelivery {
  delivery: Delivery;
  runs: Run[];
}

export interface DeliveryListView {
  frame: Omit<PageFrame, 'title'>;
  deliveries: ListedDelivery[];
  decision: DeliveryDecision | null;
  /** The address of the newest page, or null if this is it. */
  newest: string | null;
  /** The address of the next older page, or null. */
  older: string | null;
  now: number;
}

export function deliveryListPage(view: DeliveryListView): Html {
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
    : html`<ol class="runs" reversed>${deliveries.map((listed) => deliveryRow(listed, view))}</ol>`
}
${pager(newest, older)}`,
  );
}

export function deliveriesPath(decision: DeliveryDecision | null, before?: number): string {
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

function deliveryRow(
  { delivery, runs }: ListedDelivery,
  { frame, now }: Pick<DeliveryListView, 'frame' | 'now'>,
): Html {
  const { number, decision, event, detail, deliveryId, receivedAt, request } = delivery;
  const [first] = runs;
  const actor = request?.trigger.actor ?? first?.trigger.actor ?? null;
  const subject = request?.subject ?? first?.subject ?? null;
  const advice = adviceFor(delivery);
  return html`<li class="run-row">
<span class="state" data-decision="${decision}">${words(decision)}</span>
<div class="run-what">
<span class="run-title"${subject === null && html` data-whole`}><bdi>${plainLine(subject ?? detail)}</bdi></span>
<span class="run-message">${subject !== null && html`<bdi>${plainLine(detail)}</bdi> · `}#${number} ${plainLine(event) || 'no event'}</span>
${advice !== null && html`<span class="delivery-advice">${advice}</span>`}
</div>
<div class="run-where">
${outcome(delivery, runs)}
<span class="quiet">${actor !== null && html`by <bdi>${plainLine(actor)}</bdi> `}<code title="${plainLine(deliveryId ?? '')}">${plainLine(deliveryId ?? '')}</code></span>
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

/** The state of each run of the delivery, with a link to its page. */
function outcome({ number, runId }: Delivery, runs: readonly Run[]): Html | '' | null {
  if (runs.length === 0) {
    return (
      runId &&
      html`<span>${runLink(runId, html`Run <span class="unseen">of delivery ${number}</span>`)}</span>`
    );
  }
  return html`${runs.map(
    (run) =>
      html`<span><a href="${runPath(run.id)}">${kindOf(run).name}<span class="unseen">: ${runTitle(run)}</span></a> ${stateBadge(run.state)}</span>`,
  )}`;
}
