/** One step on the page of its run: a line that shows its state, and its log beneath. */

import { html, raw } from 'hono/html';
import type { Step, StepState } from '../../runs/run.ts';
import { plainLine, styledLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';
import type { LogLine, RunHistory } from '../logs/run-log.ts';
import { duration, stateBadge } from './run-words.ts';

/** States in which the reader wants to see the log. */
const OPEN_STATES: ReadonlySet<StepState> = new Set(['running', 'failed', 'timed_out']);

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
  const { lines, firstNumber } = history?.tails.get(step.id) ?? { lines: [], firstNumber: 1 };
  const cut = firstNumber === 1 ? '' : `Lines before ${firstNumber} are in the raw log.`;
  const id = `step-${step.position}`;
  const query = new URLSearchParams(linkQuery);
  query.set('step', step.id);
  return html`<details class="step" id="${id}" data-step="${step.id}"${OPEN_STATES.has(step.state) && html` open`}>
<summary id="${id}-head" data-live>${stepHead(step, now, hasWaves)}</summary>
<div class="log-box" tabindex="0" role="region" aria-label="Log of ${plainLine(step.id)}">
<p class="log-note quiet"><span class="cut">${cut}</span><a href="${runPath}/log?${query}">Raw log</a></p>
<ol class="log" start="${firstNumber}">${raw(lines.map(logLine).join(''))}</ol>
</div>
</details>`;
}

function stepHead(step: Step, now: number, hasWaves: boolean): Html {
  const exit = step.exitCode !== null && step.exitCode !== 0 && html` · exit ${step.exitCode}`;
  return html`${stateBadge(step.state)}
<bdi class="step-name">${plainLine(step.id)}</bdi>
<span class="step-message">${plainLine(step.message)}${exit}</span>
<span class="step-wave quiet">${hasWaves && `wave ${step.wave}`}</span>
<span class="step-duration">${duration(step, now)}</span>`;
}

function logLine({ stream, text }: LogLine): string {
  const spans = styledLine(text).map((span) =>
    span.classes === undefined ? html`${span.text}` : html`<span class="${span.classes}">${span.text}</span>`,
  );
  return html`<li class="${stream}">${spans}</li>`.toString();
}
