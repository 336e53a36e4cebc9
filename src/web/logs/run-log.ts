/** Reads what the page of a run shows of its log at first: the newest lines of each step, and the notices. */

import { type OutputStream, type RunEvent, sequenceWidth } from '../../runs/run-events.ts';
import { type LogReader, readChunks } from './log-lines.ts';

/** How many events are in memory at once. */
export const EVENTS_PER_READ = 500;

/** The script of the page reads the other lines. Without scripts, they are in the log as text. */
const MAX_LINES_PER_STEP = 200;
const MAX_LINES_PER_PAGE = 2_000;
const MIN_LINES_PER_STEP = 20;
const MAX_CHARACTERS_PER_PAGE = 1_000_000;

export interface LogLine {
  /** A `mark` is a line of our own: the step was started again here. */
  stream: OutputStream | 'mark';
  text: string;
}

/** The newest lines of a step. `firstNumber` counts from 1 within the step. */
interface LogTail {
  lines: LogLine[];
  firstNumber: number;
  /** The number of lines of the step. */
  total: number;
}

export type Notice = Extract<RunEvent, { type: 'run.notice' }>;

/** The part of a run's events that its page shows as they are. */
export interface RunHistory {
  tails: Map<string, LogTail>;
  notices: Notice[];
  /** The sequence number of the last event that is included. */
  through: number;
}

export function lastSequence(event: RunEvent): number {
  return event.seq + sequenceWidth(event) - 1;
}

/** Reads the newest lines of each step, so few that the page does not grow too large. */
export async function readHistory(store: LogReader, runId: string): Promise<RunHistory> {
  const { totals, through } = await store.logTotals(runId);
  const starts = await store.eventsOf(runId, 'step.started');
  const tails = new Map<string, LogTail>();
  for (const [step, total] of totals) {
    const own = starts.filter((start) => start.step === step).map(({ seq }) => seq);
    tails.set(step, await readTail(store, { runId, step, total, steps: totals.size }, own));
  }
  const notices = (await store.eventsOf(runId, 'run.notice')).filter(({ seq }) => seq <= through);
  return { tails, notices, through };
}

interface TailAsked {
  runId: string;
  step: string;
  total: number;
  /** The number of steps that share the page. */
  steps: number;
}

async function readTail(
  store: Pick<LogReader, 'logChunks'>,
  { runId, step, total, steps }: TailAsked,
  starts: readonly number[],
): Promise<LogTail> {
  const share = (whole: number) => Math.floor(whole / steps);
  const maxLines = Math.max(MIN_LINES_PER_STEP, Math.min(MAX_LINES_PER_STEP, share(MAX_LINES_PER_PAGE)));
  const lines: LogLine[] = [];
  const range = { runId, step, from: Math.max(1, total - maxLines + 1), to: total };
  for await (const { stream, seq, previousSeq, lines: texts } of readChunks(store, range)) {
    if (previousSeq !== null && starts.some((start) => start > previousSeq && start < seq)) {
      lines.push({ stream: 'mark', text: 'Started again' });
    }
    for (const text of texts) lines.push({ stream, text });
  }
  const kept = lastWithin(lines, share(MAX_CHARACTERS_PER_PAGE));
  const numbered = kept.filter(({ stream }) => stream !== 'mark').length;
  return { lines: kept, firstNumber: total - numbered + 1, total };
}

/** Returns the last lines with at most so many characters, but at least one line. */
function lastWithin(lines: readonly LogLine[], maxCharacters: number): LogLine[] {
  let characters = 0;
  const first = lines.findLastIndex(({ text }) => {
    characters += text.length;
    return characters > maxCharacters;
  });
  return lines.slice(Math.min(first + 1, Math.max(0, lines.length - 1)));
}
