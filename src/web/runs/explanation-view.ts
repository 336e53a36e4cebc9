/** The stored explanation of a run as tables: changed path → service → decision → because. */

import { html } from 'hono/html';
import type { Explanation, ServiceDecision } from '../../runs/run-events.ts';
import { plainLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';

const MAX_ROWS = 200;
const MAX_PATHS = 5;

const UNTOUCHED: ReadonlySet<ServiceDecision['decision']> = new Set(['not_chosen', 'excluded']);

export function explanationView(explanation: Explanation | null): Html {
  if (!explanation) return html`<p class="empty">The commit has not been examined yet.</p>`;
  const { notes, services, unmatched } = explanation;
  const touched = services.filter(({ decision }) => !UNTOUCHED.has(decision));
  const untouched = services.filter(({ decision }) => UNTOUCHED.has(decision));
  return html`
${notes.length > 0 && html`<ul class="notes">${notes.map((note) => html`<li>${plainLine(note)}</li>`)}</ul>`}
${touched.length > 0 ? decisionTable(touched) : html`<p class="empty">No service is affected.</p>`}
${
  untouched.length > 0 &&
  html`<details><summary>${untouched.length} ${untouched.length === 1 ? 'service' : 'services'} not chosen</summary>
${decisionTable(untouched)}</details>`
}
${
  unmatched.length > 0 &&
  html`<details><summary>${unmatched.length} changed ${unmatched.length === 1 ? 'path' : 'paths'} outside any service</summary>
<ul class="paths">${unmatched.map(pathItem)}</ul></details>`
}`;
}

function decisionTable(decisions: ServiceDecision[]): Html {
  const rest = decisions.length - MAX_ROWS;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Decisions"><table class="rows">
<thead><tr><th scope="col">Changed path</th><th scope="col">Service</th><th scope="col">Decision</th><th scope="col">Because</th></tr></thead>
<tbody>${decisions.slice(0, MAX_ROWS).map(decisionRow)}</tbody>
</table></div>
${rest > 0 && html`<p class="quiet">and ${rest} more, in the run's JSON.</p>`}`;
}

function decisionRow({ service, folder, decision, because, paths }: ServiceDecision): Html {
  const rest = paths.length - MAX_PATHS;
  return html`<tr>
<td>${
    paths.length === 0
      ? html`<span class="quiet">none</span>`
      : html`<ul class="paths">${paths.slice(0, MAX_PATHS).map(pathItem)}${rest > 0 && html`<li class="quiet">and ${rest} more</li>`}</ul>`
  }</td>
<th scope="row"><bdi title="${plainLine(folder)}">${plainLine(service)}</bdi></th>
<td><span class="decision" data-decision="${decision}">${decision.replaceAll('_', ' ')}</span></td>
<td>${plainLine(because)}</td>
</tr>`;
}

function pathItem(path: string): Html {
  return html`<li><code><bdi>${plainLine(path)}</bdi></code></li>`;
}
