/** Answers with parts of the log of a run: numbered lines, the numbers of the lines that a search finds, and text. */

import type { Context } from 'hono';
import type { Step } from '../../runs/run.ts';
import { linkOf, type RunPageEnv } from '../access/access.ts';
import type { PageOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import type { StreamSeats } from '../doors/stream-seats.ts';
import { plainLine, terminalLine } from '../frame/ansi.ts';
import { jsonError } from '../frame/error-answer.ts';
import { readLinePage, searchLines } from './log-answers.ts';
import type { LogReader } from './log-lines.ts';
import { readLogText } from './log-text.ts';
import { openText } from './text-streams.ts';

export interface LogRoutesOptions extends Pick<PageOptions, 'assets'> {
  store: LogReader;
  seats: StreamSeats;
}

type LogContext = Context<RunPageEnv>;

const LINES_PER_ANSWER = 500;
const MOST_LINES_PER_ANSWER = 10_000;
const LONGEST_SEARCH = 1_000;

/** `/runs/:id/log`: lines or the result of a search as JSON, if they are asked for, else the log as coloured text. */
export async function showLog(c: LogContext, options: LogRoutesOptions): Promise<Response> {
  const { from, lines, search, errors } = c.req.query();
  if ([from, lines, search, errors].some((value) => value !== undefined)) return showLines(c, options);
  return showText(c, options, terminalLine);
}

/** `/runs/:id/log.txt`: the log as text without colours. */
export function showPlainLog(c: LogContext, options: LogRoutesOptions): Promise<Response> {
  return showText(c, options, plainLine);
}

async function showText(
  c: LogContext,
  { store, seats, assets }: LogRoutesOptions,
  clean: (line: string) => string,
): Promise<Response> {
  const { run } = c.var;
  const step = c.req.query('step') ?? null;
  if (step !== null && !(await store.steps(run.id)).some(({ id }) => id === step)) {
    return refuse(c, assets, 404, 'The run has no such step.');
  }
  return sendText(c, seats, () => readLogText(store, { runId: run.id, step, clean }));
}

export function sendText(c: LogContext, seats: StreamSeats, read: () => AsyncGenerator<string, void>) {
  const headers = { 'Content-Type': 'text/plain; charset=utf-8' };
  // Nobody would read the text of a HEAD request to its end.
  if (c.req.method === 'HEAD') return c.body(null, 200, headers);
  const text = openText(c, seats, read());
  return text ? c.body(text, 200, headers) : jsonError(c, 503, 'Too many open texts.');
}

async function showLines(c: LogContext, { store, seats, assets }: LogRoutesOptions): Promise<Response> {
  const { search, errors, spans } = c.req.query();
  const from = wholeNumber(c.req.query('from'), 1);
  const lines = wholeNumber(c.req.query('lines'), LINES_PER_ANSWER);
  if (from === null || from < 1) return refuse(c, assets, 400, 'From must be a number of at least 1.');
  if (lines === null) return refuse(c, assets, 400, 'Lines must be a number.');
  if (search !== undefined && (search === '' || search.length > LONGEST_SEARCH)) {
    return refuse(c, assets, 400, `Search must be a text of 1 to ${LONGEST_SEARCH} characters.`);
  }
  const runId = c.var.run.id;
  const steps = await store.steps(runId);
  const asked = c.req.query('step');
  const step = asked === undefined ? mainStep(steps) : (steps.find(({ id }) => id === asked)?.id ?? null);
  if (step === null && asked !== undefined) return refuse(c, assets, 404, 'The run has no such step.');
  const free = seats.take(c, linkOf(c));
  if (free === null) return jsonError(c, 503, 'Too many logs are being read.');
  try {
    const { signal } = c.req.raw;
    if (search !== undefined) return c.json(await searchLines(store, { runId, step, from, search, signal }));
    const limit = Math.min(lines, MOST_LINES_PER_ANSWER);
    const form = { areStyled: spans === 'true', areErrors: errors === 'true' };
    return c.json(await readLinePage(store, { runId, step, from, limit, ...form, signal }));
  } finally {
    free();
  }
}

/** Returns null for a text that is no whole number. */
function wholeNumber(text: string | undefined, byDefault: number): number | null {
  if (text === undefined) return byDefault;
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** The step whose log a reader most likely wants: one that failed, else one that runs, else the first. */
function mainStep(steps: readonly Step[]): string | null {
  for (const states of [['failed', 'timed_out'], ['running']]) {
    const found = steps.find(({ state }) => states.includes(state));
    if (found) return found.id;
  }
  return steps[0]?.id ?? null;
}
