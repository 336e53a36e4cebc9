/** The part of a run's page about its approval: what it is for, until when it waits, who decided, and the buttons. */

import { html } from 'hono/html';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { Run } from '../../runs/run.ts';
import type { ApprovalDecision, RunEvent } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatDuration, formatTime } from '../frame/format.ts';
import type { Html } from '../frame/layout.ts';
import { moment } from './run-words.ts';

export interface Approval {
  /** The approval is bound to the SHA-256 of a plan, to a commit, or to a digest. Null for runs of older versions. */
  subject: string | null;
  /** Null when the approval is decided. */
  expiresAt: number | null;
  decided: Pick<Extract<RunEvent, { type: 'run.decided' }>, 'decision' | 'by' | 'at'> | null;
}

export interface ApprovalContext {
  /** The path of the run's page. */
  runPath: string;
  /** Says who may decide, as the subject of a sentence. */
  deciders: string;
  /** True if the reader of the page may decide. */
  mayDecide: boolean;
  now: number;
}

/** Resolves to null if nobody was asked. */
export async function readApproval(store: Pick<RunStore, 'latestEvent'>, run: Run): Promise<Approval | null> {
  const [awaiting, decided] = await Promise.all([
    store.latestEvent(run.id, 'run.awaiting_approval'),
    store.latestEvent(run.id, 'run.decided'),
  ]);
  if (!awaiting && !decided) return null;
  return { subject: (decided ?? awaiting)?.subject ?? null, expiresAt: run.approvalExpiresAt, decided };
}

/** The buttons are apart from the clock beside them, because exchanging them would take the focus away. */
export function approvalSection(run: Run, approval: Approval | null, context: ApprovalContext): Html {
  return html`<section class="approval" aria-label="Approval">
<div id="approval" data-live>${approval && approvalView(run, approval, context)}</div>
<div id="decision" data-live>${decisionForms(run, context)}</div>
</section>`;
}

const DECISIONS: Record<ApprovalDecision, string> = {
  approved: 'Approved by',
  rejected: 'Rejected by',
  expired: 'Expired:',
};

function approvalView(
  run: Run,
  { subject, expiresAt, decided }: Approval,
  { now, deciders }: ApprovalContext,
): Html {
  const { approval } = kindOf(run);
  const bound =
    subject !== null &&
    html`<p class="quiet">The approval is for the ${approval?.thing} <code class="digest">${plainLine(subject)}</code> and no other.</p>`;
  if (decided) {
    const { decision, by, at } = decided;
    const who = decision === 'expired' ? 'nobody approved in time' : html`<bdi>${plainLine(by)}</bdi>`;
    return html`<p data-decision="${decision}"><strong>${DECISIONS[decision]} ${who}</strong>, ${moment(at, now)}</p>${bound}`;
  }
  // It was cancelled, or a newer run took its place.
  if (expiresAt === null)
    return html`<p data-decision="none"><strong>Nobody decided</strong> before it ended.</p>${bound}`;
  const end = new Date(expiresAt).toISOString();
  // The script of the page keeps these words up to date.
  const left = expiresAt > now ? `${formatDuration(expiresAt - now)} left` : 'the time is up';
  return html`<p><strong>Waits for an approval</strong> until <time datetime="${end}">${formatTime(expiresAt)}</time>,
<span class="nowrap" data-until="${end}">${left}</span>. ${plainLine(deciders)} may approve or reject it; the first decision counts.</p>
${approval?.note && html`<p>${approval.note}</p>`}${bound}`;
}

/** Empty for callers who may not decide, and once it is decided. */
function decisionForms(run: Run, { mayDecide, runPath }: ApprovalContext): Html {
  if (run.state !== 'awaiting_approval' || !mayDecide) return html``;
  const confirmed = kindOf(run).approval?.confirmed?.(run.input) ?? null;
  return html`${confirmed === null ? html`<form method="post" action="${runPath}/approve"><button class="primary" type="submit">Approve</button></form>` : confirmForm(runPath, confirmed)}
<form method="post" action="${runPath}/reject"><button type="submit">Reject</button></form>`;
}

function confirmForm(runPath: string, confirmed: string): Html {
  return html`<form class="confirm" method="post" action="${runPath}/approve">
<p data-bad="true"><strong>This destroys everything</strong> that the plan lists, and cannot be undone.</p>
<label for="confirm">Type <code>${plainLine(confirmed)}</code> to destroy it</label>
<input id="confirm" name="confirm" required autocomplete="off" spellcheck="false">
<button class="danger" type="submit">Approve and destroy</button>
</form>`;
}
