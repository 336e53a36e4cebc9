/** The facts at the head of a run's page: its target, its trigger, its times. */

import { html } from 'hono/html';
import type { Fact } from '../../runs/kinds/kind.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import { type Run, requestedPriority } from '../../runs/run.ts';
import type { PageOptions } from '../access/guards.ts';
import { isToolRun } from '../deployments/tool-details.ts';
import { plainLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';
import { branchOf, duration, moment, runCommitLink, runLink, triggerWords } from './run-words.ts';

export interface FactsContext {
  /** `?key=…` of the signed link that opened the page, or ''. */
  linkQuery: string;
  now: number;
  commitUrl: PageOptions['commitUrl'];
}

const MAX_NAMES = 5;

export function factsView(run: Run, { linkQuery, now, commitUrl }: FactsContext): Html {
  const commit = runCommitLink(run, commitUrl);
  const branch = branchOf(run);
  const { facts, refLabel = 'Branch', options } = kindOf(run);
  const asked = options?.(run.input) ?? [];
  const { retryOf } = run.trigger;
  const retry = retryOf === null ? '' : html` of ${runReference(retryOf, linkQuery)}`;
  return html`<dl class="facts">
${facts?.(run.input).map((one) => one && targetFact(one))}
${branch !== null && fact(refLabel, text(branch))}
${commit && fact('Commit', html`${commit}${isToolRun(run) && run.subject && html` <bdi>${plainLine(run.subject)}</bdi>`}`)}
${!isToolRun(run) && 'pullRequest' in run.input && fact('Pull request', `#${run.input.pullRequest}`)}
${fact('Trigger', html`${triggerWords(run)}${retry}`)}
${asked.length > 0 && fact('Options', text(someOf(asked)))}
${requestedPriority(run) !== 0 && fact('Priority', String(requestedPriority(run)))}
${run.labels.length > 0 && fact('Labels', text(someOf(run.labels)))}
${fact('Created', moment(run.createdAt, now))}
${run.startedAt !== null && fact('Duration', duration(run, now))}
${run.attempt > 1 && fact('Attempt', String(run.attempt))}
${fact('Run', html`<code>${run.id}</code>`)}
</dl>`;
}

/** A signed link opens one run only, so for its holder other runs are named but not linked. */
export function runReference(runId: string, linkQuery: string): Html {
  const name = html`<code>${plainLine(runId)}</code>`;
  return linkQuery === '' ? runLink(runId, name) : name;
}

function targetFact({ name, values, isCode, link, note }: Fact): Html {
  const words = someOf(values);
  if (isCode) return fact(name, html`<code>${text(words)}</code>`);
  return fact(name, html`${link ? html`<a href="${link}">${plainLine(words)}</a>` : text(words)}${note}`);
}

function someOf(names: readonly string[]): string {
  const rest = names.length - MAX_NAMES;
  return names.slice(0, MAX_NAMES).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

function fact(name: string, value: Html | string | null): Html {
  return html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
}

function text(words: string): Html {
  return html`<bdi>${plainLine(words)}</bdi>`;
}
