/** Finds the command in a comment, only where GitHub shows its line as plain text that the author wrote. */

import { COMMANDS, type Command } from '../../runs/command.ts';

/** GitHub accepts no longer comment. */
const MAX_CHARACTERS = 65_536;
/**
 * These characters can turn the next lines of a paragraph into code, a link, a footnote, a formula, a quotation or
 * struck text.
 */
const REACHES_ON = /[`[<>$~]/;
/** The second row of a table, whose rows go on to the next blank line. */
const TABLE = /^(?=[^-]*-)(?=[^|:]*[|:])[ \t|:-]+$/;
/** A line that turns the text above it into a heading, or into the head of a table. */
const UNDERLINE = /^[ \t]*[=|:-][ \t=|:-]*$/;
/** Raw HTML: a tag, a comment or a declaration. It can hide everything after it, or show it as code. */
const HTML = /<[A-Za-z/!?]/;
const FENCE = /^(`{3,})[^`]*$|^(~{3,})/;
/** A fence in a list or quotation, or text that only looks like one. */
const MAYBE_FENCE = /```|~~~/;

/**
 * Returns the first line that is a command and nothing else, or null. The rules are those of GitHub's Markdown
 * (https://github.github.com/gfm/), made stricter where they are hard to follow: the whole rest of a comment is ignored
 * after raw HTML, and after a code fence that does not begin its line. It takes time in proportion to the length, which
 * parsers of Markdown do not promise.
 */
export function commandIn(body: string): Command | null {
  if (body.length > MAX_CHARACTERS) return null;
  let fence: string | null = null;
  let isPlain = true;
  const lines = body.split(/\r\n?|\n/);
  for (const [index, line] of lines.entries()) {
    if (fence !== null) {
      if (closes(fence, line)) fence = null;
      isPlain = true;
      continue;
    }
    const found: Command | undefined = isPlain
      ? COMMANDS.find((command) => isCommand(line, command))
      : undefined;
    if (found !== undefined && !isUnderlined(lines, index)) return found;
    const [, backticks, tildes] = FENCE.exec(line) ?? [];
    fence = backticks ?? tildes ?? null;
    if (fence === null && (HTML.test(line) || MAYBE_FENCE.test(line))) return null;
    // A paragraph ends with a blank line.
    isPlain =
      isBlank(line) || (isPlain && found === undefined && !REACHES_ON.test(line) && !TABLE.test(line));
  }
  return null;
}

/** Returns whether a later line of the same paragraph makes this line part of a heading or table. */
function isUnderlined(lines: readonly string[], index: number): boolean {
  for (let below = index + 1; below < lines.length; below += 1) {
    const line = lines[below] ?? '';
    if (isBlank(line)) return false;
    if (UNDERLINE.test(line)) return true;
  }
  return false;
}

/** At most three blanks may stand before a command, because four blanks or a tab make a line code. */
function isCommand(line: string, command: Command): boolean {
  const text = line.replace(/^ {1,3}/, '');
  const wanted = `iac-runner ${command}`;
  return text.startsWith(wanted) && isBlank(text.slice(wanted.length));
}

function isBlank(text: string): boolean {
  return !/[^ \t]/.test(text);
}

function closes(fence: string, line: string): boolean {
  const text = line.replace(/^ {1,3}/, '');
  return text.startsWith(fence) && (fence.startsWith('`') ? /^`+[ \t]*$/ : /^~+[ \t]*$/).test(text);
}
