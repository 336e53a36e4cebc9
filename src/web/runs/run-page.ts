/** The page of one run: its outcome, its steps with their logs, and why it did what it did or what it planned. */

import { html } from 'hono/html';
import { kindOf, nextActionOf } from '../../runs/kinds/kinds.ts';
import { endedBadly, isFinal, type Run, type Step } from '../../runs/run.ts';
import type { Explanation } from '../../runs/run-events.ts';
import type { Report } from '../../runs/run-store.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { hasRole } from '../access/access.ts';
import { approvalView, decisionForms } from '../deployments/approval-view.ts';
import { outputsView } from '../deployments/outputs-view.ts';
import { plansView } from '../deployments/plan-view.ts';
import { targetHistory } from '../deployments/target-history.ts';
import { isToolRun, type ToolDetails, type ToolRun } from '../deployments/tool-details.ts';
import { plainLine } from '../frame/ansi.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import { explanationView } from './explanation-view.ts';
import { type FactsContext, factsView, runReference } from './run-facts.ts';
import type { Notice, RunHistory } from './run-log.ts';
import { runTitle, stateBadge, stateWord } from './run-words.ts';
import { stepView } from './step-view.ts';

export interface RunView extends FactsContext {
  frame: Omit<PageFrame, 'title'>;
  run: Run;
  steps: Step[];
  explanation: Explanation | null;
  /** Of a deployment or a plan, else null. */
  details: ToolDetails | null;
  /** The latest runs of the same target; empty for whoever may see this run only. */
  sameTarget: Run[];
  /** Null when only the state is asked for, as the script of an open page does. */
  history: RunHistory | null;
  /** Why no machine takes it, or null. */
  waitsFor: string | null;
  /** What GitHub or another receiver was to be told and was not. */
  undelivered: Report[];
}

/** Elements marked `data-live` are exchanged by the script when the run changes; logs grow line by line. */
export function runPage(view: RunView): Html {
  const { frame, run, history, linkQuery } = view;
  const path = `/runs/${encodeURIComponent(run.id)}`;
  const events = `${path}/events${linkQuery}`;
  return page(
    { ...frame, title: `${stateWord(run.state)}: ${runTitle(run)}`, live: true },
    html`<article class="run" ${!isFinal(run.state) && html`data-events="${events}" data-after="${history?.through ?? 0}"`}>
<header class="run-head">
<div id="outcome" data-live role="status">${stateBadge(run.state)} <span class="message">${plainLine(run.message)}</span></div>
<h1 id="title" data-live><bdi>${runTitle(run)}</bdi></h1>
<div id="facts" data-live>${factsView(run, view)}</div>
<div id="advice" data-live>${advice(view)}${view.undelivered.map(undeliveredView)}</div>
<div id="actions" data-live>${actions(view, path)}</div>
</header>
<div id="notices">${history?.notices.map(noticeView)}</div>
${isToolRun(run) ? toolSections(view, run, path) : syncSections(view, path)}
<p class="quiet foot"><a href="${path}?${jsonQuery(linkQuery)}" type="application/json">This run as JSON</a></p>
</article>`,
  );
}

function jsonQuery(linkQuery: string): string {
  const query = new URLSearchParams(linkQuery);
  query.set('format', 'json');
  return query.toString();
}

function syncSections(view: RunView, path: string): Html {
  return html`${kindOf(view.run).hasWaves && stepsSection(view, path)}
<section aria-labelledby="why-title">
<h2 id="why-title">Why</h2>
<div id="why" data-live>${explanationView(view.explanation)}</div>
</section>`;
}

/** The buttons are apart from the clock beside them: exchanging them would take the focus away. */
function toolSections(view: RunView, run: ToolRun, path: string): Html {
  const { frame, details, sameTarget, linkQuery, now } = view;
  const approval = details?.approval ?? null;
  const isAsked = run.state === 'awaiting_approval';
  return html`<section class="approval" aria-label="Approval">
<div id="approval" data-live>${approval && approvalView(run, approval, now)}</div>
<div id="decision" data-live>${decisionForms(run, frame.identity, path)}</div>
</section>
<div id="plans" data-live>${plansView(details?.roots ?? [], { runPath: path, linkQuery, isAsked })}</div>
<div id="outputs" data-live>${
    details?.outputs &&
    html`<section aria-labelledby="outputs-title"><h2 id="outputs-title">Outputs</h2>${outputsView(details.outputs)}</section>`
  }</div>
${stepsSection(view, path)}
${
  sameTarget.length > 1 &&
  html`<section aria-labelledby="history-title">
<h2 id="history-title">${kindOf(run).tool?.history}</h2>
<div id="history" data-live>${targetHistory(sameTarget, run.id, now)}</div>
</section>`
}`;
}

function stepsSection(view: RunView, path: string): Html {
  const { run, steps, linkQuery } = view;
  return html`<section aria-labelledby="steps-title">
<h2 id="steps-title">Steps</h2>
<div id="step-list">${steps.map((step) => stepView(step, { ...view, hasWaves: kindOf(run).hasWaves === true }, path))}</div>
<p class="quiet" id="steps-note" data-live>${
    steps.length === 0 ? noStepsWords(run) : html`<a href="${path}/log${linkQuery}">Whole log as text</a>`
  }</p>
</section>`;
}

function undeliveredView(report: Report): Html {
  const outlook = report.settled ? 'It was given up.' : 'It is tried again.';
  return html`<p class="advice" data-bad="true">The ${reportWords(report)} was not delivered: ${plainLine(report.problem ?? '')} ${outlook}</p>`;
}

function reportWords({ reporter, target }: Report): string {
  switch (reporter) {
    case 'commit-status':
      return `commit status of ${shortCommit(plainLine(target))}`;
    case 'pull-request-comment':
      return `pull request comment of ${plainLine(target)}`;
    case 'plan-comment':
      return 'comment with the plan';
    case 'event-webhook':
      return `event for ${target === 'operator' ? "the operator's address" : 'the callback_url of the request'}`;
  }
}

function noStepsWords(run: Run): string {
  return isFinal(run.state) ? 'Nothing was run.' : 'The steps are shown here once they are known.';
}

/** What to do now, and whose outcome counts for a superseded run. */
function advice({ run, linkQuery, waitsFor }: RunView): Html {
  const action = nextActionOf(run);
  return html`
${waitsFor !== null && html`<p class="advice" data-bad="true">${plainLine(waitsFor)} It begins as soon as there is one.</p>`}
${run.coveredBy !== null && html`<p class="advice">Covered by ${runReference(run.coveredBy, linkQuery)}.</p>`}
${action !== null && html`<p class="advice" data-bad="${String(endedBadly(run.state) && run.state !== 'cancelled')}">${action}</p>`}
${
  run.cancelRequestedBy !== null &&
  html`<p class="advice">Cancel requested by <bdi>${plainLine(run.cancelRequestedBy)}</bdi>.</p>`
}`;
}

function actions({ run, frame }: RunView, path: string): Html {
  if (!hasRole(frame.identity, 'operator')) return html``;
  // The credentials of a deployment or a plan went with its end: it is asked for anew, not retried.
  if (endedBadly(run.state)) return isToolRun(run) ? html`` : actionForm(`${path}/retry`, 'Retry');
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
