/** The list of runs: newest first, one line each, filtered by kind and state, older ones a page away. */

import { html } from 'hono/html';
import { kindOf, RUN_KINDS } from '../../runs/kinds/kinds.ts';
import { RUN_STATES, type Run, type RunKind, type RunState } from '../../runs/run.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatDuration } from '../frame/format.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import {
  branchOf,
  moment,
  runCommitLink,
  runTitle,
  stateBadge,
  stateWord,
  triggerWords,
} from './run-words.ts';

/** What the list is narrowed to; null for all. */
export interface RunListFilter {
  kind: RunKind | null;
  state: RunState | null;
}

export interface RunListView {
  frame: Omit<PageFrame, 'title'>;
  runs: Run[];
  filter: RunListFilter;
  /** True when this is not the newest page. */
  paged: boolean;
  /** Address of the next older page, or null. */
  older: string | null;
  now: number;
  commitUrl: (sha: string) => string | null;
}

export function runListPage(view: RunListView): Html {
  const { frame, runs, filter, paged, older } = view;
  return page(
    { ...frame, title: 'Runs' },
    html`<h1>Runs</h1>
${kindFilter(filter)}
${stateFilter(filter)}
${
  runs.length === 0
    ? html`<p class="empty">${emptyWords(filter, paged)}</p>`
    : html`<ol class="runs" reversed>${runs.map((run) => runRow(run, view))}</ol>`
}
${
  (paged || older) &&
  html`<nav class="pager" aria-label="Pages">
${paged && html`<a href="${listPath(filter)}">Newest</a>`}
${older && html`<a href="${older}" rel="next">Older</a>`}
</nav>`
}`,
  );
}

export function listPath({ kind, state }: RunListFilter, before?: string): string {
  const query = new URLSearchParams();
  if (kind) query.set('kind', kind);
  if (state) query.set('state', state);
  if (before !== undefined) query.set('before', before);
  return query.size === 0 ? '/runs' : `/runs?${query}`;
}

function kindFilter(filter: RunListFilter): Html {
  const link = (kind: RunKind | null) =>
    filterLink(
      { ...filter, kind },
      kind === null ? 'all kinds' : kindOf({ kind }).plural,
      kind === filter.kind,
    );
  return html`<nav aria-label="Filter by kind"><ul class="filter">${[null, ...RUN_KINDS].map(link)}</ul></nav>`;
}

function stateFilter(filter: RunListFilter): Html {
  const link = (state: RunState | null) =>
    filterLink({ ...filter, state }, state === null ? 'all' : stateWord(state), state === filter.state);
  return html`<nav aria-label="Filter by state"><ul class="filter">${[null, ...RUN_STATES].map(link)}</ul></nav>`;
}

function filterLink(to: RunListFilter, word: string, isCurrent: boolean): Html {
  return html`<li><a href="${listPath(to)}"${isCurrent && html` aria-current="page"`}>${word}</a></li>`;
}

function emptyWords({ kind, state }: RunListFilter, paged: boolean): string {
  const { name, plural } = kind === null ? { name: 'run', plural: 'runs' } : kindOf({ kind });
  if (paged) return `No older ${plural}.`;
  if (state !== null) return `No ${name} is ${stateWord(state)}.`;
  return kind === null ? 'No runs yet. A push to the branch makes the first.' : `No ${plural} yet.`;
}

function runRow(run: Run, { now, commitUrl }: RunListView): Html {
  const duration = run.startedAt === null ? null : formatDuration((run.finishedAt ?? now) - run.startedAt);
  return html`<li class="run-row">
${stateBadge(run.state)}
<div class="run-what">
<a class="run-title" href="/runs/${encodeURIComponent(run.id)}"><bdi>${runTitle(run)}</bdi></a>
<span class="run-message">${plainLine(run.message)}</span>
</div>
<div class="run-where">
<span>${runCommitLink(run, commitUrl)} <span class="quiet"><bdi>${plainLine(branchOf(run) ?? '')}</bdi></span></span>
<span class="quiet">${triggerWords(run)}</span>
</div>
<div class="run-when">
<span>${moment(run.createdAt, now)}</span>
<span class="quiet">${duration}</span>
</div>
</li>`;
}
