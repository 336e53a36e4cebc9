/** The facts about a run at the head of its page: what it works on, who asked for it, since when. */

import { html } from 'hono/html';
import { type DeployOperation, toolName } from '../runs/deployment.ts';
import { type Run, requestedPriority } from '../runs/run.ts';
import { plainLine } from './ansi.ts';
import { formatDuration, formatTime } from './format.ts';
import type { Html } from './layout.ts';
import { commitPage, pullRequestPage } from './repository-links.ts';
import { branchOf, commitLink, moment, runCommit, triggerWords } from './run-words.ts';
import { isToolRun } from './tool-details.ts';

export interface FactsContext {
  /** `?key=…` of the signed link the page was opened with, or ''. */
  linkQuery: string;
  now: number;
  commitUrl: (sha: string) => string | null;
}

const OPERATIONS: Record<DeployOperation, string> = {
  apply: 'apply',
  destroy: 'destroy',
  drift: 'drift check',
};
const MAX_NAMES = 5;

export function factsView(run: Run, { linkQuery, now, commitUrl }: FactsContext): Html {
  const commit = runCommit(run);
  const branch = branchOf(run);
  const options = optionWords(run);
  return html`<dl class="facts">
${targetFacts(run)}
${branch !== null && fact(run.kind === 'deploy' ? 'Ref' : 'Branch', text(branch))}
${commit && fact('Commit', html`${commitLink(commit, commitPage(run, commitUrl))}${isToolRun(run) && run.subject && html` <bdi>${plainLine(run.subject)}</bdi>`}`)}
${(run.kind === 'preview' || run.kind === 'command') && fact('Pull request', `#${run.input.pullRequest}`)}
${fact('Trigger', triggerFact(run, linkQuery))}
${options !== '' && fact('Options', text(options))}
${requestedPriority(run) !== 0 && fact('Priority', String(requestedPriority(run)))}
${run.labels.length > 0 && fact('Labels', text(someOf(run.labels)))}
${fact('Created', moment(run.createdAt, now))}
${run.startedAt !== null && fact('Duration', runDuration(run, run.startedAt, now))}
${run.attempt > 1 && fact('Attempt', String(run.attempt))}
${fact('Run', html`<code>${run.id}</code>`)}
</dl>`;
}

/** A signed link opens one run only, so for its holder other runs are named but not linked. */
export function runReference(runId: string, linkQuery: string): Html {
  const name = html`<code>${plainLine(runId)}</code>`;
  return linkQuery === '' ? html`<a href="/runs/${encodeURIComponent(runId)}">${name}</a>` : name;
}

/** What a deployment or a plan is about. */
function targetFacts(run: Run): Html | null {
  if (run.kind === 'deploy') {
    const { operation, gitUrl, path } = run.input;
    return html`${fact('Operation', OPERATIONS[operation])}
${fact('Tool', text(toolName(run.input)))}
${fact('Repository', text(gitUrl))}
${fact('Folder', html`<code>${text(path)}</code>`)}`;
  }
  if (run.kind !== 'plan') return null;
  const { repository, pullRequest, roots, fromFork } = run.input;
  const page = pullRequestPage(run);
  const number = `#${pullRequest}`;
  return html`${roots && fact('Tool', text(someOf([...new Set(roots.map(toolName))])))}
${fact('Repository', text(repository))}
${fact('Pull request', html`${page === null ? number : html`<a href="${page}">${number}</a>`}${fromFork && ' from a fork'}`)}
${roots && fact(roots.length === 1 ? 'Folder' : 'Folders', html`<code>${text(someOf(roots.map(({ directory }) => directory)))}</code>`)}`;
}

function optionWords(run: Run): string {
  if (run.kind === 'sync')
    return [run.input.force && 'force', run.input.dryRun && 'dry run'].filter(Boolean).join(', ');
  if (run.kind !== 'deploy') return '';
  const { autoApprove, tfvarsFiles } = run.input;
  return someOf([...(autoApprove ? ['applied without asking'] : []), ...tfvarsFiles]);
}

function someOf(names: readonly string[]): string {
  const rest = names.length - MAX_NAMES;
  return names.slice(0, MAX_NAMES).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

function fact(name: string, value: Html | string): Html {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

function text(words: string): Html {
  return html`<bdi>${plainLine(words)}</bdi>`;
}

function triggerFact(run: Run, linkQuery: string): Html | string {
  const { retryOf } = run.trigger;
  if (retryOf === null) return triggerWords(run);
  return html`${triggerWords(run)} of ${runReference(retryOf, linkQuery)}`;
}

function runDuration({ finishedAt }: Run, startedAt: number, now: number): Html {
  const since = finishedAt === null && html` data-since="${new Date(startedAt).toISOString()}"`;
  const title = `Started ${formatTime(startedAt)}`;
  return html`<span title="${title}"${since}>${formatDuration((finishedAt ?? now) - startedAt)}</span>`;
}
