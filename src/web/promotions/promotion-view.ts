/** What a promotion would change, or has changed: services, and the commits that the environment gets. */

import { html } from 'hono/html';
import type { Run } from '../../runs/run.ts';
import type { Promotion } from '../../runs/sync/sync-input.ts';
import type { PageOptions } from '../access/guards.ts';
import { plainLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';
import { commitLink } from '../runs/run-words.ts';

const MAX_SHOWN = 100;

/** Empty for a run that promotes nothing. */
export function promotionSection(run: Run, commitUrl: PageOptions['commitUrl']): Html {
  const promotion = 'promotion' in run.input ? run.input.promotion : undefined;
  if (promotion === undefined || !('environment' in run.input)) return html``;
  const { environment = '', repository, revision } = run.input;
  return html`<section aria-labelledby="promotion-title">
<h2 id="promotion-title">Promotion from <bdi>${plainLine(promotion.from)}</bdi> to <bdi>${plainLine(environment)}</bdi></h2>
${changesView(promotion, { revision: revision ?? '', repository, commitUrl })}
</section>`;
}

interface ChangesContext {
  revision: string;
  repository: string | undefined;
  commitUrl: PageOptions['commitUrl'];
}

export function changesView(
  { services, commits }: Pick<Promotion, 'services' | 'commits'>,
  { revision, repository, commitUrl }: ChangesContext,
): Html {
  const link = (sha: string) => commitLink(sha, commitUrl, repository);
  if (services.length === 0) return html`<p class="empty">It changes no service.</p>`;
  const rest = services.length - MAX_SHOWN;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Services"><table class="rows">
<thead><tr><th scope="col">Service</th><th scope="col">Has</th><th scope="col">Gets</th></tr></thead>
<tbody>${services.slice(0, MAX_SHOWN).map(
    ({ service, from }) => html`<tr>
<th scope="row"><bdi>${plainLine(service)}</bdi></th>
<td>${from === null ? html`<span class="quiet">never synced</span>` : link(from)}</td>
<td>${link(revision)}</td>
</tr>`,
  )}</tbody>
</table></div>
${rest > 0 && html`<p class="quiet">and ${rest} more services, in the JSON.</p>`}
<h3>Commits</h3>
${
  commits.length === 0
    ? html`<p class="empty">No commit is new there.</p>`
    : html`<ul class="notes">${commits.map(({ id, subject }) => html`<li>${link(id)} <bdi>${plainLine(subject)}</bdi></li>`)}</ul>`
}`;
}
