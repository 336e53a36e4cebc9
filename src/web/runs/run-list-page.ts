/** The list of runs: newest first, one line each, with a filter bar, older ones a page away. */

import { html } from 'hono/html';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { Run } from '../../runs/run.ts';
import type { PageOptions } from '../access/guards.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatDuration } from '../frame/format.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import { pager } from '../frame/list-parts.ts';
import { listPath, type RunListFilter, runFilterBar } from './run-filter.ts';
import {
  branchOf,
  messageWords,
  moment,
  runCommitLink,
  runPath,
  runTitle,
  stateBadge,
  stateWord,
  triggerWords,
} from './run-words.ts';

export interface RunListView {
  frame: Omit<PageFrame, 'title'>;
  runs: Run[];
  filter: RunListFilter;
  /** True when this is not the newest page. */
  paged: boolean;
  /** The address of the next older page, or null. */
  older: string | null;
  now: number;
  commitUrl: PageOptions['commitUrl'];
}

export function runListPage(view: RunListView): Html {
  const { frame, runs, filter, paged, older } = view;
  return page(
    { ...frame, title: 'Runs', watches: true },
    html`<h1>Runs</h1>
${runFilterBar(filter)}
${
  runs.length === 0
    ? html`<p class="empty">${emptyWords(filter, paged)}</p>`
    : html`<ol class="runs" reversed>${runs.map((run) => runRow(run, view))}</ol>`
}
${pager(paged ? listPath(filter) : null, older)}`,
  );
}

function emptyWords({ kind, state, ...texts }: RunListFilter, paged: boolean): string {
  const { name, plural } = kind === null ? { name: 'run', plural: 'runs' } : kindOf({ kind });
  if (paged) return `No older ${plural}.`;
  if (Object.values(texts).some((text) => text !== null)) return `No ${name} matches the filter.`;
  if (state !== null) return `No ${name} is ${stateWord(state)}.`;
  return kind === null ? 'No runs yet. A push to the branch starts the first one.' : `No ${plural} yet.`;
}

function runRow(run: Run, { now, commitUrl }: RunListView): Html {
  const duration = run.startedAt === null ? null : formatDuration((run.finishedAt ?? now) - run.startedAt);
  return html`<li class="run-row">
${stateBadge(run.state)}
<div class="run-what">
<a class="run-title" href="${runPath(run.id)}"><bdi>${runTitle(run)}</bdi></a>
<span class="run-message">${messageWords(run.message)}</span>
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
