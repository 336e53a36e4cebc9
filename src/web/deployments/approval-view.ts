/** Who is asked to approve what until when, and what was decided; the buttons for those who may. */

import { html } from 'hono/html';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { ApprovalDecision } from '../../runs/run-events.ts';
import { hasRole, type Identity } from '../access/access.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatDuration, formatTime } from '../frame/format.ts';
import type { Html } from '../frame/layout.ts';
import { moment } from '../runs/run-words.ts';
import type { Approval, ToolRun } from './tool-details.ts';

const DECISIONS: Record<ApprovalDecision, string> = {
  approved: 'Approved by',
  rejected: 'Rejected by',
  expired: 'Expired:',
};

export function approvalView(run: ToolRun, { subject, expiresAt, decided }: Approval, now: number): Html {
  const { tool } = kindOf(run);
  const bound =
    subject !== null &&
    html`<p class="quiet">For the ${tool?.approvedThing} <code class="digest">${plainLine(subject)}</code> and no other.</p>`;
  if (decided) {
    const { decision, by, at } = decided;
    const who = decision === 'expired' ? 'nobody approved in time' : html`<bdi>${plainLine(by)}</bdi>`;
    return html`<p data-decision="${decision}"><strong>${DECISIONS[decision]} ${who}</strong>, ${moment(at, now)}</p>${bound}`;
  }
  // It ended without a decision: cancelled, or in the place of a newer one.
  if (expiresAt === null)
    return html`<p data-decision="none"><strong>Nobody decided</strong> before it ended.</p>${bound}`;
  return html`<p><strong>Waits for an approval</strong> until <time datetime="${iso(expiresAt)}">${formatTime(expiresAt)}</time>,
<span class="nowrap" data-until="${iso(expiresAt)}">${remaining(expiresAt, now)}</span>. Whoever has the role admin may approve or reject it; the first decision holds.</p>
${tool?.approvalNote && html`<p>${tool.approvalNote}</p>`}${bound}`;
}

/** In words that the script of the page keeps up to date. */
function remaining(expiresAt: number, now: number): string {
  return expiresAt > now ? `${formatDuration(expiresAt - now)} left` : 'the time is up';
}

/** Empty for those who may not decide, and once it is decided. */
export function decisionForms(run: ToolRun, identity: Identity | null, path: string): Html {
  if (run.state !== 'awaiting_approval' || !hasRole(identity, 'admin')) return html``;
  return html`<form method="post" action="${path}/approve"><button class="primary" type="submit">Approve</button></form>
<form method="post" action="${path}/reject"><button type="submit">Reject</button></form>`;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
