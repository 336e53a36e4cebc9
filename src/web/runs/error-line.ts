/** Finds the line of a failed step's log that most likely says what went wrong. */

import type { Step } from '../../runs/run.ts';
import type { OutputStream } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { plainLine } from '../frame/ansi.ts';

/** Only the last lines are looked at, because a log may be long. Each line has a sequence number of its own. */
const LOOKED_AT = 200;
const MAX_LENGTH = 300;

const TELLING = /\b(error|fatal|failed|failure|exception|denied|refused|cannot|can't|not found|no such)\b/i;

interface Line {
  stream: OutputStream;
  text: string;
}

/** Resolves to null if the step did not end, or wrote nothing. */
export async function errorLine(
  store: Pick<RunStore, 'events' | 'eventsOf'>,
  runId: string,
  step: string,
): Promise<string | null> {
  const ends = await store.eventsOf(runId, 'step.finished');
  const end = ends.findLast((event) => event.step === step);
  if (!end) return null;
  const after = Math.max(0, end.seq - LOOKED_AT);
  const events = await store.events(runId, { after, limit: LOOKED_AT });
  const lines = events.flatMap((event) =>
    event.type === 'step.log' && event.step === step
      ? event.lines.map((text): Line => ({ stream: event.stream, text: plainLine(text).trim() }))
      : [],
  );
  return chooseLine(lines.filter(({ text }) => text !== ''));
}

/** The first step that failed, with the line of its log that says why. */
export interface FailedLine {
  step: Step;
  line: string;
}

/** Resolves to null if no step failed, or if it wrote nothing. */
export async function firstFailedLine(
  store: Pick<RunStore, 'events' | 'eventsOf'>,
  runId: string,
  steps: readonly Step[],
): Promise<FailedLine | null> {
  const step = steps.find(({ state }) => state === 'failed' || state === 'timed_out');
  const line = step ? await errorLine(store, runId, step.id) : null;
  return step && line !== null ? { step, line } : null;
}

/** The first line that names an error, else the last one that was written as an error, else the last one. */
export function chooseLine(lines: readonly Line[]): string | null {
  const errors = lines.filter(({ stream }) => stream === 'stderr');
  const isTelling = ({ text }: Line) => TELLING.test(text);
  const chosen = errors.find(isTelling) ?? errors.at(-1) ?? lines.find(isTelling) ?? lines.at(-1);
  return chosen ? chosen.text.slice(0, MAX_LENGTH) : null;
}
