/** The text of a plan: as lines with a class for each kind of change, and as plain text. */

import { html, raw } from 'hono/html';
import { plainLine } from '../frame/ansi.ts';
import type { Html } from '../frame/layout.ts';
import type { PlannedRoot } from './tool-details.ts';

/** The part of a plan that a page shows. */
export interface ShownPlan {
  lines: string[];
  /** True when there is more than is shown. */
  isCut: boolean;
}

/** No line that people read is this long. */
const MAX_LINE = 4_000;
const LINES_PER_PART = 2_000;

/** The markers at the start of a line, which the tools explain above each plan. */
const CLASSES: readonly [marker: RegExp, className: string][] = [
  [/^ *(?:-\/\+|\+\/-) /, 'plan-replace'],
  [/^ *\+ /, 'plan-add'],
  [/^ *- /, 'plan-remove'],
  [/^ *~ /, 'plan-change'],
  [/^ *<= /, 'plan-read'],
  [/^ *# \(/, 'plan-note'],
  [/^ *# |^Plan: |^No changes\.|^Changes to Outputs:/, 'plan-head'],
];

/** The first lines of a plan, within limits for their number and for all characters. */
export function shownPlan(text: string, limit: { lines: number; characters: number }): ShownPlan {
  const lines = text.slice(0, limit.characters).split('\n', limit.lines);
  const shown = lines.reduce((length, line) => length + line.length + 1, -1);
  const isCut = shown < text.length || lines.some((line) => line.length > MAX_LINE);
  return { lines: lines.map((line) => line.slice(0, MAX_LINE)), isCut };
}

export function countLines(text: string): number {
  let count = 1;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count += 1;
  return count;
}

export function planLines(lines: readonly string[]): Html {
  return html`${raw(lines.map(planLine).join('\n'))}`;
}

function planLine(line: string): string {
  const shown = plainLine(line);
  const className = CLASSES.find(([marker]) => marker.test(shown))?.[1];
  return (
    className === undefined ? html`${shown}` : html`<span class="${className}">${shown}</span>`
  ).toString();
}

/** All plans, one after the other, as text without controls. If there are several, each has a heading as in a log. */
export async function* planTexts(roots: readonly PlannedRoot[]): AsyncGenerator<string, void> {
  for (const { step, plan } of roots) {
    if (!plan) continue;
    if (roots.length > 1) yield `==> ${plainLine(step)} <==\n`;
    for (const part of partsOf(plan.text)) yield part;
  }
}

/** The text in parts, so that a plan of megabytes does not hold up other requests. */
function* partsOf(text: string): Generator<string> {
  let part = '';
  let lines = 0;
  for (let start = 0; start <= text.length; ) {
    const found = text.indexOf('\n', start);
    const end = found === -1 ? text.length : found;
    part += `${plainLine(text.slice(start, end))}\n`;
    start = end + 1;
    lines += 1;
    if (lines % LINES_PER_PART === 0) {
      yield part;
      part = '';
    }
  }
  if (part !== '') yield part;
}
