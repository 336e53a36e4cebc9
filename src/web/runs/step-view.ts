/** One step on the page of its run: a line that shows its state, and its log beneath. */

import { html, raw } from 'hono/html';
import type { Step, StepState } from '../../runs/run.ts';
import { plainLine, styledLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';
import type { LogLine, RunHistory } from '../logs/run-log.ts';
import { duration, stateBadge } from './run-words.ts';

/** States in which the reader wants to see the log. */
const OPEN_STATES: ReadonlySet<StepState> = new Set(['running', 'failed', 'timed_out']);

const NO_LOG = { lines: [], firstNumber: 1, total: 0 };

export interface StepContext {
  history: RunHistory | null;
  linkQuery: string;
  now: number;
  /** False if the steps run one after the other. */
  hasWaves: boolean;
}

export function stepView(
  step: Step,
  { history, linkQuery, now, hasWaves }: StepContext,
  runPath: string,
): Html {
  const { lines, firstNumber, total } = history?.tails.get(step.id) ?? NO_LOG;
  const cut = firstNumber > 1 && html`<noscript>Lines before ${firstNumber} are in the raw log. </noscript>`;
  const id = `step-${step.position}`;
  const query = new URLSearchParams(linkQuery);
  query.set('step', step.id);
  return html`<details class="step" id="${id}" data-step="${step.id}" data-state="${step.state}" data-lines="${total}"${OPEN_STATES.has(step.state) && html` open`}>
<summary id="${id}-head" data-live>${stepHead(step, now, hasWaves)}</summary>
<div class="log-note quiet">${cut}<a href="${runPath}/log.txt?${query}">Raw log</a></div>
<div class="log-box" tabindex="0" role="region" aria-label="Log of ${plainLine(step.id)}">
<ol class="log" start="${firstNumber}">${raw(lines.map(logLine).join(''))}</ol>
</div>
</details>`;
}

function stepHead(step: Step, now: number, hasWaves: boolean): Html {
  const isSaid = !step.exitCode || step.message.includes(`xit code ${step.exitCode}`);
  const exit = !isSaid && html` · exit ${step.exitCode}`;
  return html`${stateBadge(step.state)}
<bdi class="step-name">${plainLine(step.id)}</bdi>
<span class="step-message">${plainLine(step.message)}${exit}</span>
<span class="step-wave quiet">${hasWaves && step.wave > 0 && `wave ${step.wave}`}</span>
<span class="step-duration">${duration(step, now)}</span>`;
}

function logLine({ stream, text }: LogLine): string {
  const spans = styledLine(text).map((span) =>
    span.classes === undefined ? html`${span.text}` : html`<span class="${span.classes}">${span.text}</span>`,
  );
  return html`<li class="${stream}">${spans}</li>`.toString();
}
