/** When the steps of a run ran: a row for each wave, with a link to each of its steps. */

import { html } from 'hono/html';
import type { Step } from '../../runs/run.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatDuration } from '../frame/format.ts';
import type { Html } from '../frame/layout.ts';
import { stateWord } from './run-words.ts';

/** The width of the picture. It has no other unit, and is as wide as there is room. */
const WIDTH = 1_000;
/** So that a short wave can be seen. */
const MIN_WIDTH = 8;

interface Span {
  from: number;
  to: number;
}

/** Empty for fewer than two steps, which need no picture. */
export function timeline(steps: readonly Step[], now: number): Html {
  const whole = spanOf(steps, now);
  if (steps.length < 2 || whole === null) return html``;
  const waves = [...Map.groupBy(steps, ({ wave }) => wave)].toSorted(([one], [other]) => one - other);
  return html`<h2 id="timeline-title">Timeline</h2>
<ol class="timeline">${waves.map(([wave, ofWave]) => waveView(wave, ofWave, { whole, now }))}</ol>`;
}

function waveView(wave: number, steps: readonly Step[], { whole, now }: { whole: Span; now: number }): Html {
  const span = spanOf(steps, now);
  return html`<li><span class="quiet">${wave > 0 ? `wave ${wave}` : 'before'}</span>
<span class="chips">${steps.map((step) => chip(step, now))}</span>
${span && bar(span, whole)}</li>`;
}

function chip(step: Step, now: number): Html {
  const { position, id, state, startedAt, finishedAt } = step;
  const took = startedAt === null ? stateWord(state) : formatDuration((finishedAt ?? now) - startedAt);
  return html`<a class="chip" data-state="${state}" href="#step-${position}"><bdi>${plainLine(id)}</bdi> <span class="quiet">${took}</span></a>`;
}

function bar({ from, to }: Span, whole: Span): Html {
  const scale = WIDTH / Math.max(1, whole.to - whole.from);
  const width = Math.max(MIN_WIDTH, (to - from) * scale);
  const x = Math.min(WIDTH - width, (from - whole.from) * scale);
  const words = `From ${formatDuration(from - whole.from)} to ${formatDuration(to - whole.from)} of the run`;
  return html`<svg viewBox="0 0 ${WIDTH} 8" preserveAspectRatio="none" role="img" aria-label="${words}"><rect x="${x.toFixed(1)}" y="0" width="${width.toFixed(1)}" height="8"></rect></svg>`;
}

/** Null if none of the steps has started. */
function spanOf(steps: readonly Step[], now: number): Span | null {
  const started = steps.flatMap(({ startedAt, finishedAt }) =>
    startedAt === null ? [] : [{ from: startedAt, to: finishedAt ?? now }],
  );
  if (started.length === 0) return null;
  return {
    from: Math.min(...started.map(({ from }) => from)),
    to: Math.max(...started.map(({ to }) => to)),
  };
}
