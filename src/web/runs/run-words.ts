/** The words and small pieces that the list of runs and the page of a run share. */

import { html } from 'hono/html';
import { kindOf } from '../../runs/kinds/kinds.ts';
import { askedRevision, type Run, type RunState, type StepState } from '../../runs/run.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatAge, formatTime } from '../frame/format.ts';
import type { Html } from '../frame/layout.ts';

/** A state with its colour and its word; the colour alone says nothing. */
export function stateBadge(state: RunState | StepState): Html {
  return html`<span class="state" data-state="${state}">${stateWord(state)}</span>`;
}

export function stateWord(state: RunState | StepState): string {
  return state.replaceAll('_', ' ');
}

/**
 * What to call a run: its commit's subject, or what was asked for while that is unknown; its target where many runs
 * are about the same commit.
 */
export function runTitle(run: Run): string {
  const title = kindOf(run).title?.(run);
  if (title !== undefined) return plainLine(title);
  if (run.subject) return plainLine(run.subject);
  const asked = askedRevision(run);
  if (asked) return `Commit ${shortCommit(asked)}`;
  return `Head of ${plainLine(branchOf(run) ?? '')}`;
}

/** The branch it is about, or null when that is not known. */
export function branchOf(run: Run): string | null {
  return kindOf(run).ref(run.input);
}

/** Who or what asked for the run, in a few words. */
export function triggerWords({ trigger }: Run): string {
  const actor = trigger.actor === null ? '' : ` by ${plainLine(trigger.actor)}`;
  switch (trigger.source) {
    case 'webhook':
      return `Push${actor}`;
    case 'pull_request':
      return `Pull request${actor}`;
    case 'sync_api':
      return `Sync request${actor}`;
    case 'retry':
      return `Retry${actor}`;
    case 'replay':
      return `Replay${actor}`;
    case 'reconcile':
      return 'Reconciliation';
    case 'deploy_api':
      return `Deployment${actor}`;
    case 'drift_check':
      return 'Drift check';
    case 'pubsub':
      return 'Plan request';
    case 'comment':
      return `Comment${actor}`;
  }
}

export function commitLink(sha: string, commitUrl: (sha: string) => string | null): Html {
  const url = commitUrl(sha);
  const short = html`<code>${shortCommit(sha)}</code>`;
  return url === null ? short : html`<a href="${url}" title="${sha}">${short}</a>`;
}

/** The commit that is worked on, else the one asked for. `configured` knows the pages of the operator's own repository. */
export function runCommitLink(run: Run, configured: (sha: string) => string | null): Html | null {
  const sha = run.revision ?? askedRevision(run);
  const { repositoryPage } = kindOf(run);
  const base = repositoryPage?.(run.input) ?? null;
  const other = (commit: string) => (base === null ? null : `${base}/commit/${encodeURIComponent(commit)}`);
  return sha === null ? null : commitLink(sha, repositoryPage ? other : configured);
}

/** A moment as an age, with the full time at hand. */
export function moment(at: number, now: number): Html {
  const time = new Date(at).toISOString();
  return html`<time datetime="${time}" title="${formatTime(at)}">${formatAge(at, now)}</time>`;
}
