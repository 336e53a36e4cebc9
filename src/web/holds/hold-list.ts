/** The holds as a part of pages: who holds what, why and until when, with the ways to hold and to release. */

import { html } from 'hono/html';
import type { Hold } from '../../runs/sync/hold.ts';
import { hasRole, type Identity } from '../access/access.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatTime, rfc3339 } from '../frame/format.ts';
import type { Html } from '../frame/layout.ts';
import { moment } from '../runs/run-words.ts';

export interface HoldListView {
  holds: readonly Hold[];
  identity: Identity | null;
  now: number;
}

export function holdList({ holds, identity, now }: HoldListView): Html {
  if (holds.length === 0) return html`<p class="empty">Nothing is held.</p>`;
  const mayRelease = hasRole(identity, 'operator');
  return html`<ul class="runs">${holds.map(
    (hold) => html`<li class="run-row" data-hold="${hold.id}">
<span class="state" data-state="held">held</span>
<div class="run-what">
<strong><bdi>${plainLine(hold.reason)}</bdi></strong>
<span class="run-message">${whatIsHeld(hold)}</span>
</div>
<div class="run-where">
<span>by <bdi>${plainLine(hold.by)}</bdi></span>
<span class="quiet">${hold.until === null ? 'until released' : untilWords(hold.until)}</span>
</div>
<div class="run-when">
<span>${moment(hold.createdAt, now)}</span>
<span>${mayRelease && releaseForm(hold)}</span>
</div>
</li>`,
  )}</ul>`;
}

function untilWords(until: number): Html {
  return html`until <time datetime="${new Date(until).toISOString()}">${formatTime(until)}</time>`;
}

function releaseForm({ id, reason }: Hold): Html {
  const label = `Release the hold: ${plainLine(reason)}`;
  return html`<form method="post" action="/holds/${encodeURIComponent(id)}/release"><button class="plain" type="submit" aria-label="${label}">Release</button></form>`;
}

function whatIsHeld({ services, environment, repository }: Hold): string {
  const what = services === null ? 'every service' : services.map((service) => plainLine(service)).join(', ');
  const where = environment === null ? '' : ` in ${plainLine(environment)}`;
  const of = repository === null ? '' : ` of ${plainLine(repository)}`;
  return what + where + of;
}

/** The form that sets a hold, for callers who may. `services` is what it names at first. */
export function holdForm(identity: Identity | null, services = ''): Html {
  if (!hasRole(identity, 'operator')) return html``;
  return html`<section class="hold-form" aria-labelledby="hold-title">
<h2 id="hold-title">Hold</h2>
<form method="post" action="/holds">
<label for="hold-reason">Reason</label>
<input id="hold-reason" name="reason" required maxlength="500" autocomplete="off">
<label for="hold-services">Services, separated by spaces; none for every service</label>
<input id="hold-services" name="services" value="${services}" autocomplete="off" spellcheck="false">
<label for="hold-until">End, in UTC; none to release it by hand</label>
<input id="hold-until" name="until" type="datetime-local">
<button type="submit">Hold</button>
</form>
</section>`;
}

export function holdJson(hold: Hold) {
  return {
    id: hold.id,
    reason: hold.reason,
    by: hold.by,
    repository: hold.repository,
    environment: hold.environment,
    services: hold.services,
    created_at: rfc3339(hold.createdAt),
    until: rfc3339(hold.until),
  };
}
