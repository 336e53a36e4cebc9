/** Prints the demo: numbered acts and two columns. It uses colours only in a terminal. */

import { styleText } from 'node:util';

export type Style = Parameters<typeof styleText>[0];

export interface Narrator {
  /** The heading of the next act. */
  act(title: string): void;
  /** Prints a line with a subject and a text. An empty `subject` continues the line above. */
  line(subject: string, text: string): void;
  /** Prints several lines with one subject. */
  lines(subject: string, texts: readonly string[]): void;
  /** Prints a text without a subject. */
  say(text: string): void;
  /** Returns `text` in a style, or as it is if there are no colours. */
  paint(style: Style, text: string): string;
}

/** Wide enough for the longest service id. */
const SUBJECT_WIDTH = 24;

export function createNarrator(): Narrator {
  const { NO_COLOR = '' } = process.env;
  // https://no-color.org: an empty NO_COLOR counts as unset.
  const coloured = process.stdout.isTTY && NO_COLOR === '';
  let acts = 0;

  function say(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  function paint(style: Style, text: string): string {
    return coloured ? styleText(style, text, { validateStream: false }) : text;
  }

  function line(subject: string, text: string): void {
    say(`  ${paint('dim', subject.padEnd(SUBJECT_WIDTH))}${text}`);
  }

  return {
    say,
    paint,
    line,
    lines(subject, texts) {
      for (const [index, text] of texts.entries()) line(index === 0 ? subject : '', text);
    },
    act(title) {
      acts += 1;
      say(`\n${paint('bold', `${acts}. ${title}`)}\n`);
    },
  };
}
