/** The list of runs: newest first, one line each, filtered by state, older ones a page away. */

import { html } from 'hono/html';
import { RUN_STATES, type Run, type RunState } from '../runs/run.ts';
import { plainLine } from './ansi.ts';
import { formatDuration } from './format.ts';
import { type Html, type PageFrame, page } from './layout.ts';
import {
  branchOf,
  commitLink,
  moment,
  runCommit,
  runTitle,
  stateBadge,
  stateWord,
  triggerWords,
} from './run-words.ts';

export interface RunListView {
  frame: Omit<PageFrame, 'title'>;
  runs: Run[];
  state: RunState | null;
  /** True when this is not the newest page. */
  paged: boolean;
  /** Address of the next older page, or null. */
  older: string | null;
  now: number;
  commitUrl: (sha: string) => string | null;
}

export function runListPage(view: RunListView): Html {
  const { frame, runs, state, paged, older } = view;
  return page(
    { ...frame, title: 'Runs' },
    html`<h1>Runs</h1>
${stateFilter(state)}
${
  runs.length === 0
    ? html`<p class="empty">${emptyWords(state, paged)}</p>`
    : html`<ol class="runs" reversed>${runs.map((run) => runRow(run, view))}</ol>`
}
${
  (paged || older) &&
  html`<nav class="pager" aria-label="Pages">
${paged && html`<a href="${listPath(state)}">Newest</a>`}
${older && html`<a href="${older}" rel="next">Older</a>`}
</nav>`
}`,
  );
}

export function listPath(state: RunState | null, before?: string): string {
  const query = new URLSearchParams();
  if (state) query.set('state', state);
  if (before !== undefined) query.set('before', before);
  return query.size === 0 ? '/runs' : `/runs?${query}`;
}

function stateFilter(current: RunState | null): Html {
  const link = (state: RunState | null) =>
    html`<li><a href="${listPath(state)}"${
      state === current && html` aria-current="page"`
    }>${state === null ? 'all' : stateWord(state)}</a></li>`;
  return html`<nav aria-label="Filter by state"><ul class="filter">${[null, ...RUN_STATES].map(link)}</ul></nav>`;
}

function emptyWords(state: RunState | null, paged: boolean): string {
  if (paged) return 'No older runs.';
  return state === null
    ? 'No runs yet. A push to the branch makes the first.'
    : `No run is ${stateWord(state)}.`;
}

function runRow(run: Run, { now, commitUrl }: RunListView): Html {
  const commit = runCommit(run);
  const duration = run.startedAt === null ? null : formatDuration((run.finishedAt ?? now) - run.startedAt);
  return html`<li class="run-row">
${stateBadge(run.state)}
<div class="run-what">
<a class="run-title" href="/runs/${encodeURIComponent(run.id)}"><bdi>${runTitle(run)}</bdi></a>
<span class="run-message">${plainLine(run.message)}</span>
</div>
<div class="run-where">
<span>${commit && commitLink(commit, commitUrl)} <span class="quiet"><bdi>${plainLine(branchOf(run) ?? '')}</bdi></span></span>
<span class="quiet">${triggerWords(run)}</span>
</div>
<div class="run-when">
<span>${moment(run.createdAt, now)}</span>
<span class="quiet">${duration}</span>
</div>
</li>`;
}
