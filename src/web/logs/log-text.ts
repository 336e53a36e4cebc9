/** Reads the log of a run as text: the lines of one step, or of all steps in the order in which they were printed. */

import { createPauses } from '../../event-loop.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import { terminalLine } from '../frame/ansi.ts';
import { type LogReader, readChunks } from './log-lines.ts';
import { lastSequence } from './run-log.ts';

export interface LogTextOptions {
  runId: string;
  /** Null for all steps. */
  step: string | null;
  /** Cleans a line: with its colours, or without them. */
  clean(line: string): string;
}

/** A row has up to 64 KiB, and a few of them are read without a pause. */
const EVENTS_AT_ONCE = 8;
const TURN_MS = 5;

export function readLogText(
  store: Pick<LogReader, 'events' | 'logChunks'>,
  options: LogTextOptions,
): AsyncGenerator<string, void> {
  const { step } = options;
  return step === null ? readAllSteps(store, options) : readOneStep(store, { ...options, step });
}

async function* readOneStep(
  store: Pick<LogReader, 'logChunks'>,
  { runId, step, clean }: LogTextOptions & { step: string },
): AsyncGenerator<string, void> {
  const all = { runId, step, from: 1, to: Number.MAX_SAFE_INTEGER };
  for await (const { lines } of readChunks(store, all)) yield asText(lines, clean);
}

/** `==> step <==` marks each change from one step to another, as tail(1) does for files. */
async function* readAllSteps(
  store: Pick<LogReader, 'events'>,
  { runId, clean }: LogTextOptions,
): AsyncGenerator<string, void> {
  const pause = createPauses(TURN_MS);
  let current: string | null = null;
  for (let after = 0; ; ) {
    const events: RunEvent[] = await store.events(runId, { after, limit: EVENTS_AT_ONCE });
    if (events.length === 0) return;
    for (const event of events) {
      after = lastSequence(event);
      if (event.type !== 'step.log') continue;
      const heading: string = event.step === current ? '' : `==> ${terminalLine(event.step)} <==\n`;
      current = event.step;
      yield heading + asText(event.lines, clean);
      await pause();
    }
  }
}

function asText(lines: readonly string[], clean: LogTextOptions['clean']): string {
  let text = '';
  for (const line of lines) text += `${clean(line)}\n`;
  return text;
}
