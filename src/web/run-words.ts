/** The words and small pieces that the list of runs and the page of a run share. */

import { html } from 'hono/html';
import type { DeployOperation } from '../runs/deployment.ts';
import { askedRevision, type DeployRun, type Run, type RunState, type StepState } from '../runs/run.ts';
import { plainLine } from './ansi.ts';
import { formatAge, formatTime, shortCommit } from './format.ts';
import type { Html } from './layout.ts';
import { repositoryName } from './repository-links.ts';

/** A state with its colour and its word; the colour alone says nothing. */
export function stateBadge(state: RunState | StepState): Html {
  return html`<span class="state" data-state="${state}">${stateWord(state)}</span>`;
}

export function stateWord(state: RunState | StepState): string {
  return state.replaceAll('_', ' ');
}

const VERBS: Record<DeployOperation, string> = {
  apply: 'Deploy',
  destroy: 'Destroy',
  drift: 'Drift check of',
};

/**
 * What to call a run: its commit's subject, or what was asked for while that is unknown; its target where many runs
 * are about the same commit.
 */
export function runTitle(run: Run): string {
  if (run.kind === 'deploy') return `${VERBS[run.input.operation]} ${targetOf(run)}`;
  if (run.kind === 'plan') return plainLine(`Plan of ${run.input.repository}#${run.input.pullRequest}`);
  if (run.kind === 'command') {
    const { command, repository, pullRequest } = run.input;
    return plainLine(`iac-runner ${command} on ${repository}#${pullRequest}`);
  }
  if (run.subject) return plainLine(run.subject);
  const asked = askedRevision(run);
  if (asked) return `Commit ${shortCommit(asked)}`;
  return `Head of ${plainLine(branchOf(run) ?? '')}`;
}

function targetOf({ input: { gitUrl, path } }: DeployRun): string {
  const repository = repositoryName(gitUrl);
  return plainLine(path === '.' ? repository : `${path} of ${repository}`);
}

/** The branch it is about, or null when that is not known. */
export function branchOf(run: Run): string | null {
  if (run.kind === 'deploy') return run.input.gitRef;
  return run.kind === 'plan' ? run.input.headRef : run.input.branch;
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

/** The commit that is worked on, else the one asked for, else null. */
export function runCommit(run: Run): string | null {
  return run.revision ?? askedRevision(run);
}

export function commitLink(sha: string, commitUrl: (sha: string) => string | null): Html {
  const url = commitUrl(sha);
  const short = html`<code>${shortCommit(sha)}</code>`;
  return url === null ? short : html`<a href="${url}" title="${sha}">${short}</a>`;
}

/** A moment as an age, with the full time at hand. */
export function moment(at: number, now: number): Html {
  const time = new Date(at).toISOString();
  return html`<time datetime="${time}" title="${formatTime(at)}">${formatAge(at, now)}</time>`;
}
