/** The parts of a run's page that only runs of Terraform or OpenTofu have: approval, plans, outputs, history. */

import { html } from 'hono/html';
import type { DeployOutput } from '../../runs/deployments/deployment.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { Run } from '../../runs/run.ts';
import { plainLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';
import { type ApprovalContext, approvalSection } from '../runs/approval-view.ts';
import { branchOf, moment, runCommitLink, runLink, stateBadge, triggerWords } from '../runs/run-words.ts';
import { plansView } from './plan-view.ts';
import type { ToolDetails } from './tool-details.ts';

export interface ToolSectionsContext extends ApprovalContext {
  linkQuery: string;
  /** The latest runs of the same target; empty for callers who may see this run only. */
  sameTarget: Run[];
}

/** How many runs the history shows. */
export const HISTORY_LENGTH = 20;
const MAX_OUTPUTS = 200;
const MAX_CHARACTERS = 4_000;

/** `steps` is the section of the steps, which stands between the outputs and the history. */
export function toolSections(
  { run, roots, approval, outputs }: ToolDetails,
  steps: Html,
  context: ToolSectionsContext,
): Html {
  const { runPath, linkQuery, now, sameTarget } = context;
  const isAsked = run.state === 'awaiting_approval';
  return html`${approvalSection(run, approval, context)}
<div id="plans" data-live>${plansView(roots, { runPath, linkQuery, isAsked })}</div>
<div id="outputs" data-live>${
    outputs &&
    html`<section aria-labelledby="outputs-title"><h2 id="outputs-title">Outputs</h2>${outputsView(outputs)}</section>`
  }</div>
${steps}
${
  sameTarget.length > 1 &&
  html`<section aria-labelledby="history-title">
<h2 id="history-title">${kindOf(run).tool?.history}</h2>
<div id="history" data-live>${historyView(sameTarget, run.id, now)}</div>
</section>`
}`;
}

/** A table of the outputs, without the values of sensitive ones. */
function outputsView(outputs: Record<string, DeployOutput>): Html {
  const all = Object.entries(outputs);
  if (all.length === 0) return html`<p class="empty">It has no outputs.</p>`;
  const rest = all.length - MAX_OUTPUTS;
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of outputs"><table class="rows outputs">
<thead><tr><th scope="col">Name</th><th scope="col">Value</th></tr></thead>
<tbody>${all.slice(0, MAX_OUTPUTS).map(
    ([name, output]) => html`<tr>
<th scope="row"><bdi>${plainLine(name)}</bdi></th>
<td>${output.sensitive ? html`<span class="quiet">(sensitive)</span>` : valueView(output.value)}</td>
</tr>`,
  )}</tbody>
</table></div>
${rest > 0 && html`<p class="quiet">and ${rest} more</p>`}`;
}

function valueView(value: unknown): Html {
  const text = typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? '');
  const shown = text.slice(0, MAX_CHARACTERS).split('\n').map(plainLine).join('\n');
  return html`<code class="value">${shown}</code>${text.length > MAX_CHARACTERS && html` <span class="quiet">and more</span>`}`;
}

function historyView(runs: readonly Run[], currentId: string, now: number): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="History"><table class="rows history">
<thead><tr><th scope="col">State</th><th scope="col">Outcome</th><th scope="col">Ref</th><th scope="col">Trigger</th><th scope="col">When</th></tr></thead>
<tbody>${runs.map((run) => historyRow(run, run.id === currentId, now))}</tbody>
</table></div>`;
}

function historyRow(run: Run, isCurrent: boolean, now: number): Html {
  const message = plainLine(run.message) || 'Run';
  return html`<tr${isCurrent && html` aria-current="true"`}>
<td>${stateBadge(run.state)}</td>
<td>${isCurrent ? html`${message} <span class="quiet">(this run)</span>` : runLink(run.id, message)}</td>
<td>${runCommitLink(run, () => null)} <bdi>${plainLine(branchOf(run) ?? '')}</bdi></td>
<td>${triggerWords(run)}</td>
<td class="nowrap">${moment(run.createdAt, now)}</td>
</tr>`;
}
