/** The latest runs of the same target, as a table on the page of each of them. */

import { html } from 'hono/html';

import type { Run } from '../../runs/run.ts';
import { plainLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';
import { branchOf, moment, runCommitLink, stateBadge, triggerWords } from '../runs/run-words.ts';

/** How many are shown. */
export const HISTORY_LENGTH = 20;

export function targetHistory(runs: readonly Run[], currentId: string, now: number): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="History"><table class="rows history">
<thead><tr><th scope="col">State</th><th scope="col">Outcome</th><th scope="col">Ref</th><th scope="col">Asked for</th><th scope="col">When</th></tr></thead>
<tbody>${runs.map((run) => historyRow(run, run.id === currentId, now))}</tbody>
</table></div>`;
}

function historyRow(run: Run, isCurrent: boolean, now: number): Html {
  const message = plainLine(run.message) || 'Run';
  return html`<tr${isCurrent && html` aria-current="true"`}>
<td>${stateBadge(run.state)}</td>
<td>${isCurrent ? html`${message} <span class="quiet">(this run)</span>` : html`<a href="/runs/${encodeURIComponent(run.id)}">${message}</a>`}</td>
<td>${runCommitLink(run, () => null)} <bdi>${plainLine(branchOf(run) ?? '')}</bdi></td>
<td>${triggerWords(run)}</td>
<td class="nowrap">${moment(run.createdAt, now)}</td>
</tr>`;
}
