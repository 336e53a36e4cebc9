/** The page of one run: its outcome, its steps with their logs, and its explanation or its plans. */

import { html } from 'hono/html';
import { kindOf, nextActionOf } from '../../runs/kinds/kinds.ts';
import type { Report } from '../../runs/report.ts';
import { endedBadly, isFinal, type Run, type Step } from '../../runs/run.ts';
import type { Explanation } from '../../runs/run-events.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { mayRetry } from '../../triggers/run-actions.ts';
import { hasRole } from '../access/access.ts';
import type { ToolDetails } from '../deployments/tool-details.ts';
import { toolSections } from '../deployments/tool-sections.ts';
import { plainLine } from '../frame/ansi.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import type { Notice, RunHistory } from '../logs/run-log.ts';
import { promotionSection } from '../promotions/promotion-view.ts';
import { type Approval, approvalSection } from './approval-view.ts';
import type { FailedLine } from './error-line.ts';
import { explanationView } from './explanation-view.ts';
import { type FactsContext, factsView, runReference } from './run-facts.ts';
import { messageWords, runPath, runTitle, stateBadge, stateWord } from './run-words.ts';
import { stepView } from './step-view.ts';
import { timeline } from './timeline.ts';

export interface RunView extends FactsContext {
  frame: Omit<PageFrame, 'title'>;
  run: Run;
  steps: Step[];
  explanation: Explanation | null;
  /** For a deployment or a plan, else null. */
  tool: ToolDetails | null;
  /** Null when nobody was asked. */
  approval: Approval | null;
  /** Says who may decide, as the subject of a sentence. */
  deciders: string;
  /** True if the reader may decide. */
  mayDecide: boolean;
  /** The latest runs of the same target; empty for callers who may see this run only. */
  sameTarget: Run[];
  /** Null when only the state is asked for, as the script of an open page does. */
  history: RunHistory | null;
  /** What most likely went wrong, or null. */
  failedLine: FailedLine | null;
  /** Why no machine takes it, or null. */
  waitsFor: string | null;
  /** Reports to GitHub or to another receiver that could not be delivered. */
  undelivered: Report[];
}

const MOST_UNDELIVERED = 5;

/** Elements marked `data-live` are exchanged by the script when the run changes; logs grow line by line. */
export function runPage(view: RunView): Html {
  const { frame, run, tool, history, linkQuery } = view;
  const path = runPath(run.id);
  const events = `${path}/events${linkQuery}`;
  const query = new URLSearchParams(linkQuery);
  query.set('format', 'json');
  return page(
    { ...frame, title: `${stateWord(run.state)}: ${runTitle(run)}`, live: true },
    html`<article class="run" data-log="${path}/log${linkQuery}" ${!isFinal(run.state) && html`data-events="${events}" data-after="${history?.through ?? 0}"`}>
<header class="run-head">
<div id="outcome" data-live role="status">${stateBadge(run.state)} <span class="message">${messageWords(run.message)}</span></div>
<h1 id="title" data-live><bdi>${runTitle(run)}</bdi></h1>
<div id="facts" data-live>${factsView(run, view)}</div>
<div id="advice" data-live>${advice(view)}${undeliveredViews(view.undelivered)}</div>
<div id="actions" data-live>${actions(view, path)}</div>
</header>
<div id="notices">${history?.notices.map(noticeView)}</div>
${tool ? toolSections(tool, stepsSection(view, path), { ...view, runPath: path }) : plainSections(view, path)}
<p class="quiet foot"><a href="${path}?${query}" type="application/json">This run as JSON</a></p>
</article>`,
  );
}

function plainSections(view: RunView, path: string): Html {
  const { run, approval, commitUrl } = view;
  return html`${approval && approvalSection(run, approval, { ...view, runPath: path })}
${promotionSection(run, commitUrl)}
${
  kindOf(run).hasWaves &&
  html`<section id="timeline" data-live>${timeline(view.steps, view.now)}</section>
${stepsSection(view, path)}`
}${whySection(view)}`;
}

function whySection({ explanation }: RunView): Html {
  return html`<section aria-labelledby="why-title">
<h2 id="why-title">Why</h2>
<div id="why" data-live>${explanationView(explanation)}</div>
</section>`;
}

function stepsSection(view: RunView, path: string): Html {
  const { run, steps, linkQuery } = view;
  const hasWaves = kindOf(run).hasWaves === true;
  const noSteps = isFinal(run.state) ? 'Nothing was run.' : 'The steps are shown here once they are known.';
  return html`<section aria-labelledby="steps-title">
<h2 id="steps-title">Steps</h2>
<div id="step-list">${steps.map((step) => stepView(step, { ...view, hasWaves }, path))}</div>
<p class="quiet" id="steps-note" data-live>${
    steps.length === 0 ? noSteps : html`<a href="${path}/log.txt${linkQuery}">Whole log as text</a>`
  }</p>
</section>`;
}

/** A problem with GitHub concerns the reports of many services at once. */
function undeliveredViews(reports: readonly Report[]): Html {
  const left = reports.length - MOST_UNDELIVERED;
  const rest =
    left > 0 && html`<p class="advice" data-bad="true">${left} more reports were not delivered.</p>`;
  return html`${reports.slice(0, MOST_UNDELIVERED).map(undeliveredView)}${rest}`;
}

function undeliveredView(report: Report): Html {
  const outlook = report.settled ? 'It was given up.' : 'It is tried again.';
  return html`<p class="advice" data-bad="true">The ${reportWords(report)} was not delivered: ${plainLine(report.problem ?? '')} ${outlook}</p>`;
}

function reportWords({ reporter, target }: Report): string {
  switch (reporter) {
    case 'commit-status':
      return `commit status of ${shortCommit(plainLine(target))}`;
    case 'service-status': {
      const [commit = '', service = ''] = plainLine(target).split(' ');
      return `commit status of ${service} at ${shortCommit(commit)}`;
    }
    case 'github-deployment':
      return `deployment of ${shortCommit(plainLine(target))} on GitHub`;
    case 'pull-request-comment':
      return `pull request comment of ${plainLine(target)}`;
    case 'plan-comment':
      return 'comment with the plan';
    case 'event-webhook':
      return `event for ${target === 'operator' ? "the operator's address" : 'the callback_url of the request'}`;
    case 'notification':
      return `notification to ${plainLine(target)}`;
  }
}

/** The next action, and the run that covers a superseded one. */
function advice({ run, linkQuery, waitsFor, failedLine }: RunView): Html {
  const action = nextActionOf(run);
  return html`
${
  failedLine !== null &&
  html`<p class="advice" data-bad="true"><a href="#step-${failedLine.step.position}"><bdi>${plainLine(failedLine.step.id)}</bdi></a>: <code>${failedLine.line}</code></p>`
}
${waitsFor !== null && html`<p class="advice" data-bad="true">${plainLine(waitsFor)} It starts as soon as there is one.</p>`}
${run.coveredBy !== null && html`<p class="advice">Covered by ${runReference(run.coveredBy, linkQuery)}.</p>`}
${action !== null && html`<p class="advice" data-bad="${String(endedBadly(run.state) && run.state !== 'cancelled')}">${action}</p>`}
${
  run.cancelRequestedBy !== null &&
  html`<p class="advice">Cancel requested by <bdi>${plainLine(run.cancelRequestedBy)}</bdi>.</p>`
}`;
}

function actions({ run, frame }: RunView, path: string): Html {
  if (!hasRole(frame.identity, 'operator')) return html``;
  if (mayRetry(run)) return actionForm(`${path}/retry`, 'Retry');
  const mayCancel = !isFinal(run.state) && run.cancelRequestedBy === null;
  return mayCancel ? actionForm(`${path}/cancel`, 'Cancel') : html``;
}

function actionForm(action: string, label: string): Html {
  return html`<form method="post" action="${action}"><button type="submit">${label}</button></form>`;
}

function noticeView({ level, message }: Notice): Html {
  return html`<p class="notice" data-level="${level}"><strong>${level}</strong> ${plainLine(message)}</p>`;
}
