/** Makes the answers about the lines of a log: a page of numbered lines, and the numbers that a search finds. */

import type { LogTotals } from '../../runs/projections/log-lines.ts';
import { plainLine } from '../frame/ansi.ts';
import {
  isErrorLine,
  type LogReader,
  type PlainLogLine,
  plainLogLine,
  readChunks,
  type StyledLogLine,
  styledLogLine,
} from './log-lines.ts';

interface Asked {
  runId: string;
  /** Null if the run has no step. */
  step: string | null;
  from: number;
  /** Aborted when nobody waits for the answer any more. */
  signal: AbortSignal;
}

export interface LinesAsked extends Asked {
  limit: number;
  /** True if each line is asked for as styled parts, with its stream. */
  areStyled: boolean;
  /** True if only lines are asked for that are errors. */
  areErrors: boolean;
}

export interface LinePage {
  step: string | null;
  from: number;
  /** The number of lines that the step has now. */
  total: number;
  lines: (PlainLogLine | StyledLogLine)[];
  /** Only with errors: the number at which to go on, or null if there is no further line now. */
  next?: number | null;
}

export interface SearchAsked extends Asked {
  search: string;
}

export interface SearchResult {
  step: string | null;
  lines: number[];
  /** True if there are further lines with the text. */
  more: boolean;
}

/** An answer ends after about this much text, so that a page of long lines stays small. */
const CHARACTERS_PER_ANSWER = 512 * 1024;
const MOST_FOUND = 1_000;

export async function readLinePage(store: LogReader, asked: LinesAsked): Promise<LinePage> {
  const { runId, step, from, limit, areStyled, areErrors, signal } = asked;
  const total = totalOf(await store.logTotals(runId), step);
  const page: LinePage = { step, from, total, lines: [], ...(areErrors && { next: null }) };
  if (step === null || limit === 0) return page;
  const to = areErrors ? total : Math.min(total, from + limit - 1);
  const starts = areStyled ? await startsOf(store, runId, step) : [];
  let characters = 0;
  for await (const chunk of readChunks(store, { runId, step, from, to }, signal)) {
    for (const [index, line] of chunk.lines.entries()) {
      if (areErrors && !isErrorLine(chunk, index)) continue;
      if (page.lines.length === limit || characters >= CHARACTERS_PER_ANSWER) {
        return areErrors ? { ...page, next: chunk.firstLine + index } : page;
      }
      page.lines.push(areStyled ? styledLogLine(chunk, index, starts) : plainLogLine(chunk, index));
      characters += line.length;
    }
  }
  return page;
}

function totalOf({ totals }: LogTotals, step: string | null): number {
  return step === null ? 0 : (totals.get(step) ?? 0);
}

async function startsOf(store: Pick<LogReader, 'eventsOf'>, runId: string, step: string): Promise<number[]> {
  const starts = await store.eventsOf(runId, 'step.started');
  return starts.filter((start) => start.step === step).map(({ seq }) => seq);
}

/** Looks for the text as people see it, in small or capital letters. */
export async function searchLines(
  store: Pick<LogReader, 'logChunks'>,
  { runId, step, from, search, signal }: SearchAsked,
): Promise<SearchResult> {
  const found: number[] = [];
  if (step === null) return { step, lines: found, more: false };
  const wanted = search.toLowerCase();
  const range = { runId, step, from, to: Number.MAX_SAFE_INTEGER };
  for await (const { firstLine, lines } of readChunks(store, range, signal)) {
    for (const [index, line] of lines.entries()) {
      if (!plainLine(line).toLowerCase().includes(wanted)) continue;
      if (found.length === MOST_FOUND) return { step, lines: found, more: true };
      found.push(firstLine + index);
    }
  }
  return { step, lines: found, more: false };
}
