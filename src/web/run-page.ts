/** The page of one run: its outcome, its steps with their logs, and why it did what it did. */

import { html } from 'hono/html';
import { endedBadly, isFinal, type Run, type Step, type SyncInput } from '../runs/run.ts';
import type { Explanation } from '../runs/run-events.ts';
import type { Report } from '../runs/run-store.ts';
import { hasRole } from './access.ts';
import { plainLine } from './ansi.ts';
import { explanationView } from './explanation-view.ts';
import { formatDuration, formatTime } from './format.ts';
import { type Html, type PageFrame, page } from './layout.ts';
import { nextAction } from './run-json.ts';
import type { Notice, RunHistory } from './run-log.ts';
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
import { stepView } from './step-view.ts';

export interface RunView {
  frame: Omit<PageFrame, 'title'>;
  run: Run;
  steps: Step[];
  explanation: Explanation | null;
  /** Null when only the state is asked for, as the script of an open page does. */
  history: RunHistory | null;
  /** What GitHub was to be told and was not. */
  undelivered: Report[];
  /** `?key=…` of the signed link the page was opened with, or ''. */
  linkQuery: string;
  now: number;
  commitUrl: (sha: string) => string | null;
}

/** Elements marked `data-live` are exchanged by the script when the run changes; logs grow line by line. */
export function runPage(view: RunView): Html {
  const { frame, run, explanation, history, linkQuery } = view;
  const path = `/runs/${encodeURIComponent(run.id)}`;
  const events = `${path}/events${linkQuery}`;
  return page(
    { ...frame, title: `${stateWord(run.state)}: ${runTitle(run)}`, live: true },
    html`<article class="run" ${!isFinal(run.state) && html`data-events="${events}" data-after="${history?.through ?? 0}"`}>
<header class="run-head">
<div id="outcome" data-live role="status">${stateBadge(run.state)} <span class="message">${plainLine(run.message)}</span></div>
<h1 id="title" data-live><bdi>${runTitle(run)}</bdi></h1>
<div id="facts" data-live>${facts(view)}</div>
<div id="advice" data-live>${advice(run, linkQuery)}${view.undelivered.map(undeliveredView)}</div>
<div id="actions" data-live>${actions(view, path)}</div>
</header>
<div id="notices">${history?.notices.map(noticeView)}</div>
${run.kind === 'sync' && stepsSection(view, path)}
<section aria-labelledby="why-title">
<h2 id="why-title">Why</h2>
<div id="why" data-live>${explanationView(explanation)}</div>
</section>
</article>`,
  );
}

function stepsSection(view: RunView, path: string): Html {
  const { run, steps, linkQuery } = view;
  return html`<section aria-labelledby="steps-title">
<h2 id="steps-title">Steps</h2>
<div id="step-list">${steps.map((step) => stepView(step, view, path))}</div>
<p class="quiet" id="steps-note" data-live>${
    steps.length === 0 ? noStepsWords(run) : html`<a href="${path}/log${linkQuery}">Whole log as text</a>`
  }</p>
</section>`;
}

function undeliveredView({ reporter, target, problem, settled }: Report): Html {
  const what = `${reporter.replaceAll('-', ' ')} of ${target.slice(0, 8)}`;
  const outlook = settled ? 'It was given up.' : 'It is tried again.';
  return html`<p class="advice" data-bad="true">The ${what} was not delivered: ${plainLine(problem ?? '')} ${outlook}</p>`;
}

function noStepsWords(run: Run): string {
  return isFinal(run.state) ? 'Nothing was run.' : 'The steps are shown here once they are known.';
}

function facts({ run, now, commitUrl, linkQuery }: RunView): Html {
  const commit = runCommit(run);
  const branch = branchOf(run);
  const options = run.kind === 'sync' ? optionWords(run.input) : '';
  return html`<dl class="facts">
${commit && fact('Commit', commitLink(commit, commitUrl))}
${branch !== null && fact(run.kind === 'deploy' ? 'Ref' : 'Branch', html`<bdi>${plainLine(branch)}</bdi>`)}
${'pullRequest' in run.input && fact('Pull request', `#${run.input.pullRequest}`)}
${fact('Trigger', triggerFact(run, linkQuery))}
${options !== '' && fact('Options', options)}
${fact('Created', moment(run.createdAt, now))}
${run.startedAt !== null && fact('Duration', runDuration(run, run.startedAt, now))}
${run.attempt > 1 && fact('Attempt', String(run.attempt))}
${fact('Run', html`<code>${run.id}</code>`)}
</dl>`;
}

function optionWords({ force, dryRun }: SyncInput): string {
  return [force && 'force', dryRun && 'dry run'].filter((word) => word !== false).join(', ');
}

function fact(name: string, value: Html | string): Html {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

function triggerFact(run: Run, linkQuery: string): Html | string {
  const { retryOf } = run.trigger;
  if (retryOf === null) return triggerWords(run);
  return html`${triggerWords(run)} of ${runReference(retryOf, linkQuery)}`;
}

/** A signed link opens one run only, so for its holder other runs are named but not linked. */
function runReference(runId: string, linkQuery: string): Html {
  const name = html`<code>${plainLine(runId)}</code>`;
  return linkQuery === '' ? html`<a href="/runs/${encodeURIComponent(runId)}">${name}</a>` : name;
}

function runDuration({ finishedAt }: Run, startedAt: number, now: number): Html {
  const since = finishedAt === null && html` data-since="${new Date(startedAt).toISOString()}"`;
  const title = `Started ${formatTime(startedAt)}`;
  return html`<span title="${title}"${since}>${formatDuration((finishedAt ?? now) - startedAt)}</span>`;
}

/** What to do now, and whose outcome counts for a superseded run. */
function advice(run: Run, linkQuery: string): Html {
  const action = nextAction(run);
  return html`
${run.coveredBy !== null && html`<p class="advice">Covered by ${runReference(run.coveredBy, linkQuery)}.</p>`}
${action !== null && html`<p class="advice" data-bad="${String(endedBadly(run.state) && run.state !== 'cancelled')}">${action}</p>`}
${
  run.cancelRequestedBy !== null &&
  html`<p class="advice">Cancel requested by <bdi>${plainLine(run.cancelRequestedBy)}</bdi>.</p>`
}`;
}

function actions({ run, frame }: RunView, path: string): Html {
  if (!hasRole(frame.identity, 'operator')) return html``;
  if (endedBadly(run.state)) return actionForm(`${path}/retry`, 'Retry');
  return isFinal(run.state) || run.cancelRequestedBy !== null
    ? html``
    : actionForm(`${path}/cancel`, 'Cancel');
}

function actionForm(action: string, label: string): Html {
  return html`<form method="post" action="${action}"><button type="submit">${label}</button></form>`;
}

function noticeView({ level, message }: Notice): Html {
  return html`<p class="notice" data-level="${level}"><strong>${level}</strong> ${plainLine(message)}</p>`;
}
