/** Reads from the help of a subcommand what a shell can complete. */

import type { Subcommand } from '../subcommand.ts';

export interface DescribedOption {
  /** Such as `--url` or `-C`. */
  name: string;
  /** The word for its value in the help, such as `URL`. Null for an option without a value. */
  value: string | null;
  explanation: string;
  isRepeatable: boolean;
}

export interface DescribedSubcommand {
  name: string;
  summary: string;
  options: DescribedOption[];
  /** The words of which one is expected after the name. */
  words: string[];
  /** True if it takes the name of a file or a folder. */
  takesFiles: boolean;
}

const OPTION = /^ {2}(--?[A-Za-z][a-z-]*)(?: ([A-Z]+))? +(\S.*)$/;
/** A text that does not fit into the line of its option goes on below it. */
const CONTINUATION = /^ {6,}(\S.*)$/;
const HELP: DescribedOption = {
  name: '--help',
  value: null,
  explanation: 'print the options',
  isRepeatable: false,
};

export function describedSubcommand(name: string, { summary, help }: Subcommand): DescribedSubcommand {
  const usage = help.slice(0, help.indexOf('\n\n'));
  const words = /\(([a-z]+(?: \| [a-z]+)+)\)/.exec(usage)?.[1]?.split(' | ') ?? [];
  return {
    name,
    summary,
    options: [...optionsIn(help), HELP],
    words,
    takesFiles: /(?<!-[\w-]+ )\b(?:FILE|FOLDER)\b/.test(usage),
  };
}

/** True if the value of the option is the name of a file or a folder. */
export function isFile({ value }: DescribedOption): boolean {
  return value === 'FILE' || value === 'FOLDER';
}

function optionsIn(help: string): DescribedOption[] {
  const found: { name: string; value: string | null; text: string }[] = [];
  let isOpen = false;
  for (const line of help.split('\n')) {
    const [, name, value = null, text = ''] = OPTION.exec(line) ?? [];
    const [, more] = CONTINUATION.exec(line) ?? [];
    const last = found.at(-1);
    if (name !== undefined) found.push({ name, value, text });
    else if (isOpen && last && more !== undefined) last.text += ` ${more}`;
    isOpen = name !== undefined || (isOpen && more !== undefined);
  }
  return found.map(({ text, ...option }) => ({
    ...option,
    explanation: text.split(/; | \(/)[0] ?? '',
    isRepeatable: text.includes('may be repeated'),
  }));
}
