/** The words and small pieces that the list of runs and the page of a run share. */

import { html } from 'hono/html';
import { kindOf } from '../../runs/kinds/kinds.ts';
import { askedRevision, type Run, type RunState, type StepState, type Trigger } from '../../runs/run.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import type { PageOptions } from '../access/guards.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatAge, formatDuration, formatTime } from '../frame/format.ts';
import type { Html } from '../frame/layout.ts';

/** A state with its colour and its word, because the colour alone says nothing. */
export function stateBadge(state: RunState | StepState): Html {
  return html`<span class="state" data-state="${state}">${stateWord(state)}</span>`;
}

export function stateWord(state: RunState | StepState): string {
  return state.replaceAll('_', ' ');
}

/** The title of a run: the subject of its commit, or the requested commit while the subject is unknown. */
export function runTitle(run: Run): string {
  const title = kindOf(run).title?.(run) ?? null;
  if (title !== null) return plainLine(title);
  if (run.subject) return plainLine(run.subject);
  const asked = askedRevision(run);
  if (asked) return `Commit ${shortCommit(asked)}`;
  return `Head of ${plainLine(branchOf(run) ?? '')}`;
}

/** The branch that a run is about, or null when that is not known. */
export function branchOf(run: Run): string | null {
  return kindOf(run).ref(run.input);
}

/** The message of a run as people read it. Clients and commit statuses have the message itself. */
export function messageWords(message: string): string {
  return plainLine(message)
    .replace(/^(\d+)\/(\d+) service\(s\) failed to sync/, '$1 of $2 service(s) failed')
    .replace(/\b1 service\(s\)/g, '1 service')
    .replaceAll('service(s)', 'services');
}

const TRIGGERS: Record<Trigger['source'], string> = {
  webhook: 'Push',
  pull_request: 'Pull request',
  sync_api: 'Sync request',
  retry: 'Retry',
  replay: 'Replay',
  reconcile: 'Reconciliation',
  deploy_api: 'Deployment',
  drift_check: 'Drift check',
  pubsub: 'Plan request',
  comment: 'Comment',
  promote_api: 'Promotion',
  automatic_promotion: 'Automatic promotion',
};
/** Runs from these sources were requested by no person. */
const WITHOUT_ACTOR: ReadonlySet<Trigger['source']> = new Set([
  'reconcile',
  'drift_check',
  'pubsub',
  'automatic_promotion',
]);

/** Who or what requested the run, in a few words. */
export function triggerWords({ trigger: { source, actor } }: Run): string {
  const hasActor = actor !== null && !WITHOUT_ACTOR.has(source);
  return hasActor ? `${TRIGGERS[source]} by ${plainLine(actor)}` : TRIGGERS[source];
}

export function commitLink(sha: string, commitUrl: PageOptions['commitUrl'], repository?: string): Html {
  const url = commitUrl(sha, repository);
  const short = html`<code>${shortCommit(sha)}</code>`;
  return url === null ? short : html`<a href="${url}" title="${sha}">${short}</a>`;
}

/**
 * The commit of a run, else the one that was requested. `configured` knows the site of the operator's own repository.
 */
export function runCommitLink(run: Run, configured: PageOptions['commitUrl']): Html | null {
  const sha = run.revision ?? askedRevision(run);
  const { repositoryPage } = kindOf(run);
  const base = repositoryPage?.(run.input) ?? null;
  const other = (commit: string) => (base === null ? null : `${base}/commit/${encodeURIComponent(commit)}`);
  if (sha === null) return null;
  const repository = 'repository' in run.input ? run.input.repository : undefined;
  return commitLink(sha, repositoryPage ? other : configured, repository);
}

/** The path of the page of a run. */
export function runPath(runId: string): string {
  return `/runs/${encodeURIComponent(runId)}`;
}

/** A link to the page of a run, with the name of the run or with other words. */
export function runLink(runId: string, words: string | Html = plainLine(runId)): Html {
  return html`<a href="${runPath(runId)}">${words}</a>`;
}

/** A moment as an age, with the full time as its title. */
export function moment(at: number, now: number): Html {
  const time = new Date(at).toISOString();
  return html`<time datetime="${time}" title="${formatTime(at)}">${formatAge(at, now)}</time>`;
}

/** How long something took, or takes until now; the script of the page keeps the second up to date. */
export function duration(
  { startedAt, finishedAt }: { startedAt: number | null; finishedAt: number | null },
  now: number,
): Html | null {
  if (startedAt === null) return null;
  const since = finishedAt === null && html` data-since="${new Date(startedAt).toISOString()}"`;
  const title = `Started ${formatTime(startedAt)}`;
  return html`<span title="${title}"${since}>${formatDuration((finishedAt ?? now) - startedAt)}</span>`;
}
