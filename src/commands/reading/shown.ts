/** The words, columns and colours of commands that show what a server knows. */

import { stripVTControlCharacters, styleText } from 'node:util';
import { z } from 'zod';
import { printable } from '../client/ask-as-caller.ts';

export const serviceSchema = z.looseObject({
  id: z.string(),
  state: z.string(),
  commit: z.string().nullable(),
  behind_by: z.number().nullable(),
  last_run: z.string().nullable(),
  message: z.string(),
});

export const runSchema = z.looseObject({
  run_id: z.string(),
  kind: z.string(),
  state: z.string(),
  message: z.string(),
  subject: z.string().nullable(),
  revision: z.string().nullable(),
  created_at: z.string(),
  url: z.string(),
});

const COLOURS: Readonly<Record<string, 'green' | 'red' | 'yellow' | 'blue'>> = {
  up_to_date: 'green',
  succeeded: 'green',
  failed: 'red',
  errored: 'red',
  timed_out: 'red',
  blocked: 'yellow',
  held: 'yellow',
  pinned: 'yellow',
  awaiting_approval: 'yellow',
  running: 'blue',
  syncing: 'blue',
  behind: 'blue',
};

/** A state in words, with its colour if a terminal reads it and NO_COLOR is not set. */
export function coloured(state: string): string {
  const words = printable(state.replaceAll('_', ' '));
  const colour = COLOURS[state];
  return colour === undefined ? words : styleText(colour, words, { stream: process.stdout });
}

/** Lines with columns of equal width. Texts of other people must be printable. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => width(row[column] ?? ''))));
  return rows.map((row) =>
    row
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - width(cell))))
      .join('  ')
      .trimEnd(),
  );
}

/** Colours take no room. */
function width(cell: string): number {
  return stripVTControlCharacters(cell).length;
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
