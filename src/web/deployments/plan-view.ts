/** The plans of a run on its page: a summary of each, the resources that would change, and its text. */

import { html } from 'hono/html';
import { summaryWords } from '../../pipelines/terraform/plan-summary.ts';
import { type PlanSummary, stateChanges } from '../../runs/deployments/deployment.ts';
import { plainLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';
import { countLines, planLines, shownPlan } from './plan-text.ts';
import type { PlannedRoot } from './tool-details.ts';

export interface PlanContext {
  runPath: string;
  linkQuery: string;
  /** True while somebody has to read it to decide. */
  isAsked: boolean;
}

/** The limits of one page, over all its plans. */
const LINES_PER_PAGE = 6_000;
const CHARACTERS_PER_PAGE = 600_000;
const LINES_PER_PLAN = 2_000;
const CHARACTERS_PER_PLAN = 300_000;
/** Longer plans and lists stay folded until somebody opens them. */
const OPEN_LINES = 400;
const OPEN_RESOURCES = 30;
const MAX_OUTPUTS = 50;

export function plansView(roots: readonly PlannedRoot[], context: PlanContext): Html {
  const plans = roots.length;
  if (plans === 0) return html``;
  const limit = {
    lines: Math.max(50, Math.min(LINES_PER_PLAN, Math.floor(LINES_PER_PAGE / plans))),
    characters: Math.max(5_000, Math.min(CHARACTERS_PER_PLAN, Math.floor(CHARACTERS_PER_PAGE / plans))),
  };
  return html`<section aria-labelledby="plans-title">
<h2 id="plans-title">${plans === 1 ? 'Plan' : 'Plans'}</h2>
${roots.map(
  (root) => html`<div class="plan">
${plans > 1 && html`<h3><bdi>${plainLine(root.directory ?? root.step)}</bdi></h3>`}
${root.plan ? planView(root, context, limit, plans > 1) : problemView(root.problem)}
</div>`,
)}
</section>`;
}

function planView(
  { step, directory, plan: { summary, text } }: PlannedRoot & { problem: null },
  { runPath, linkQuery, isAsked }: PlanContext,
  limit: { lines: number; characters: number },
  isOneOfMany: boolean,
): Html {
  const total = countLines(text);
  const { lines, isCut } = shownPlan(text, limit);
  const query = new URLSearchParams(linkQuery);
  if (isOneOfMany) query.set('step', step);
  const address = `${runPath}/plan${query.size === 0 ? '' : `?${query}`}`;
  const name = directory === null ? 'Plan' : `Plan of ${plainLine(directory)}`;
  return html`<p class="plan-summary">${summaryView(summary)}</p>
${summary && changesView(summary, isAsked)}
<details class="fold"${isAsked && total <= OPEN_LINES && html` open`}>
<summary>Plan as text, ${count(total, 'line')}</summary>
<div class="plan-box" tabindex="0" role="region" aria-label="${name}"><pre class="plan-text">${planLines(lines)}</pre></div>
</details>
<p class="quiet plan-foot">${isCut && `Only the first ${lines.length.toLocaleString('en')} lines are shown here, and long lines are cut. `}<a href="${address}">Whole plan as text</a></p>`;
}

function count(number: number, noun: string): string {
  return `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
}

function summaryView(summary: PlanSummary | null): Html {
  if (summary === null) return html`<strong>A plan that could not be summed up</strong>`;
  const { add, change, destroy, replace } = summary;
  if (add + change + destroy === 0) {
    const words = summaryWords(summary);
    return html`<strong>${words.charAt(0).toUpperCase()}${words.slice(1)}</strong>`;
  }
  return html`<strong><span class="${add > 0 && 'plan-add'}">${add} to add</span>, <span class="${change > 0 && 'plan-change'}">${change} to change</span>, <span class="${destroy > 0 && 'plan-remove'}">${destroy} to destroy</span></strong>${
    replace > 0 && html` <span class="quiet">(${replace} replaced)</span>`
  }${stateChanges(summary).map((words) => html`, <strong>${words}</strong>`)}`;
}

/** The names of the resources and outputs that change. */
function changesView({ resources, omitted, outputs }: PlanSummary, isAsked: boolean): Html {
  const total = resources.length + omitted;
  return html`${
    total > 0 &&
    html`<details class="fold"${isAsked && total <= OPEN_RESOURCES && html` open`}>
<summary>${count(total, 'resource')}</summary>
<ul class="resources" tabindex="0" aria-label="Resources that change">${resources.map(
      ({ address, action }) =>
        html`<li><span class="action plan-${ACTION_CLASSES[action]}">${action}</span> <code><bdi>${plainLine(address)}</bdi></code></li>`,
    )}${omitted > 0 && html`<li class="quiet">and ${omitted.toLocaleString('en')} more, in the plan's text</li>`}</ul>
</details>`
  }${
    outputs.length > 0 &&
    html`<p class="plan-foot">Outputs that change: ${outputs
      .slice(0, MAX_OUTPUTS)
      .map((name, index) => html`${index > 0 && ', '}<code><bdi>${plainLine(name)}</bdi></code>`)}${
      outputs.length > MAX_OUTPUTS && ` and ${outputs.length - MAX_OUTPUTS} more`
    }</p>`
  }`;
}

const ACTION_CLASSES: Record<PlanSummary['resources'][number]['action'], string> = {
  create: 'add',
  import: 'add',
  read: 'read',
  replace: 'replace',
  update: 'change',
  move: 'change',
  delete: 'remove',
  forget: 'remove',
};

function problemView({ problem, nextAction, lines }: NonNullable<PlannedRoot['problem']>): Html {
  return html`<p class="advice" data-bad="true"><strong>${plainLine(problem.replace(/\.$/, ''))}.</strong> ${plainLine(nextAction)}</p>
${
  lines.length > 0 &&
  html`<details class="fold"><summary>Last lines of the log</summary>
<div class="plan-box" tabindex="0" role="region" aria-label="Last lines of the log"><pre class="plan-text">${lines
    .map(plainLine)
    .join('\n')}</pre></div></details>`
}`;
}
