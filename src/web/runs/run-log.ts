/** Reads the log of a run: the newest lines of each step for its page, and the whole of it as text. */

import type { OutputStream, RunEvent } from '../../runs/run-events.ts';
import { sequenceWidth } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { terminalLine } from '../frame/ansi.ts';

/** How many events are in memory at once. */
export const EVENTS_PER_READ = 500;

const MAX_LINES_PER_STEP = 2000;
const MAX_LINES_PER_PAGE = 20_000;
const MAX_CHARACTERS_PER_PAGE = 8_000_000;

export interface LogLine {
  /** A `mark` is a line of our own: the step was started again here. */
  stream: OutputStream | 'mark';
  text: string;
}

/** The newest lines of a step. `firstNumber` counts from 1 within the step. */
interface LogTail {
  lines: LogLine[];
  firstNumber: number;
}

export type Notice = Extract<RunEvent, { type: 'run.notice' }>;

/** The part of a run's events that its page shows as they are. */
export interface RunHistory {
  tails: Map<string, LogTail>;
  notices: Notice[];
  /** The sequence number of the last event that is included. */
  through: number;
}

type EventReader = Pick<RunStore, 'events'>;

/** Reads every event that is stored now, page by page. */
async function* readEvents(store: EventReader, runId: string): AsyncGenerator<RunEvent, void> {
  let after = 0;
  for (;;) {
    const events = await store.events(runId, { after, limit: EVENTS_PER_READ });
    yield* events;
    const last = events.at(-1);
    if (!last) return;
    after = lastSequence(last);
  }
}

export function lastSequence(event: RunEvent): number {
  return event.seq + sequenceWidth(event) - 1;
}

/** Reads the newest lines of each of about `steps` steps, so few that the page does not grow too large. */
export async function readHistory(store: EventReader, runId: string, steps: number): Promise<RunHistory> {
  const share = (total: number) => Math.floor(total / Math.max(1, steps));
  const maxLines = Math.max(20, Math.min(MAX_LINES_PER_STEP, share(MAX_LINES_PER_PAGE)));
  const maxCharacters = share(MAX_CHARACTERS_PER_PAGE);
  const history: RunHistory = { tails: new Map(), notices: [], through: 0 };
  for await (const event of readEvents(store, runId)) {
    history.through = lastSequence(event);
    if (event.type === 'run.notice') history.notices.push(event);
    if (event.type !== 'step.log' && event.type !== 'step.started') continue;
    const tail = history.tails.get(event.step) ?? { lines: [], firstNumber: 1 };
    history.tails.set(event.step, tail);
    if (event.type === 'step.log') {
      for (const text of event.lines) tail.lines.push({ stream: event.stream, text });
    } else if (tail.lines.length > 0) tail.lines.push({ stream: 'mark', text: 'Started again' });
    // It costs less to cut many lines at once than to cut one at every line.
    if (tail.lines.length > 2 * maxLines) cutTail(tail, maxLines, maxCharacters);
  }
  for (const tail of history.tails.values()) cutTail(tail, maxLines, maxCharacters);
  return history;
}

function cutTail(tail: LogTail, maxLines: number, maxCharacters: number): void {
  let kept = 0;
  let characters = 0;
  for (const line of tail.lines.toReversed()) {
    characters += line.text.length;
    if (kept === maxLines || (kept > 0 && characters > maxCharacters)) break;
    kept += 1;
  }
  const cut = tail.lines.splice(0, tail.lines.length - kept);
  tail.firstNumber += cut.filter(({ stream }) => stream !== 'mark').length;
}

/**
 * Yields the stored log as text: the lines of one step, or of all steps. Among the lines of all steps, `==> step <==`
 * marks each change from one step to another, as tail(1) does for files.
 */
export async function* readLogText(
  store: EventReader,
  runId: string,
  step: string | null,
): AsyncGenerator<string, void> {
  let current = step;
  for await (const event of readEvents(store, runId)) {
    if (event.type !== 'step.log' || (step !== null && event.step !== step)) continue;
    let text = event.step === current ? '' : `==> ${terminalLine(event.step)} <==\n`;
    current = event.step;
    for (const line of event.lines) text += `${terminalLine(line)}\n`;
    yield text;
  }
}
