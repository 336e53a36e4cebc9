/** How the demo speaks: numbered acts, two quiet columns, and colours only for somebody who watches. */

import { styleText } from 'node:util';

export type Style = Parameters<typeof styleText>[0];

export interface Narrator {
  /** The heading of the next act. */
  act(title: string): void;
  /** A line: what it is about, and what there is to say. An empty `subject` continues the one above. */
  tell(subject: string, text: string): void;
  /** Several lines about one thing. */
  tellAll(subject: string, texts: readonly string[]): void;
  /** A sentence by itself. */
  say(text: string): void;
  /** `text` in a style, or as it is when there are no colours. */
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

  function tell(subject: string, text: string): void {
    say(`  ${paint('dim', subject.padEnd(SUBJECT_WIDTH))}${text}`);
  }

  return {
    say,
    paint,
    tell,
    tellAll(subject, texts) {
      for (const [index, text] of texts.entries()) tell(index === 0 ? subject : '', text);
    },
    act(title) {
      acts += 1;
      say(`\n${paint('bold', `${acts}. ${title}`)}\n`);
    },
  };
}
