/** Reads and changes one variable in an environment text, and leaves every other byte of it as it is. */

interface Line {
  /** The text of the line without its end. */
  text: string;
  /** `\n`, `\r\n`, `\r`, or '' for a last line without one. */
  end: string;
}

const QUOTES = ['"', "'", '`'];

/** Matches `[export] NAME =`, up to the value, which begins with no blank. */
const ASSIGNMENT = /^(\s*(?:export\s+)?([\w.-]+)[^\S\r\n]*=[^\S\r\n]*)(.*)$/s;

/**
 * Returns the variable's value without its quotes, or null if no line sets it. If several lines set it, the last one
 * counts.
 */
export function readVariable(text: string, name: string): string | null {
  const lines = splitLines(text);
  const [, , , value] = ASSIGNMENT.exec(lines[lastAssignment(lines, name)]?.text ?? '') ?? [];
  return value === undefined ? null : splitValue(value).value;
}

/**
 * Returns the text with the variable set. The function replaces the value in the last line that sets it, or adds a line
 * with the same line ends. It ignores lines inside a quoted value of another variable.
 */
export function setVariable(text: string, name: string, value: string): string {
  const lines = splitLines(text);
  const index = lastAssignment(lines, name);
  const line = lines[index];
  if (!line) return addLine(lines, `${name}=${value}`);
  const [, before = '', , old = ''] = ASSIGNMENT.exec(line.text) ?? [];
  lines[index] = { text: `${before}${value}${splitValue(old).comment}`, end: line.end };
  return join(lines);
}

function splitLines(text: string): Line[] {
  return [...text.matchAll(/([^\r\n]*)(\r\n|\n|\r|$)/g)]
    .map(([, line = '', end = '']) => ({ text: line, end }))
    .filter((line) => line.text !== '' || line.end !== '');
}

function join(lines: readonly Line[]): string {
  return lines.map(({ text, end }) => text + end).join('');
}

function addLine(lines: readonly Line[], text: string): string {
  const last = lines.at(-1);
  if (!last) return text;
  const end = lines[0]?.end || '\n';
  // The text still ends with a line end, or without one, as before.
  return last.end === '' ? `${join(lines)}${end}${text}` : `${join(lines)}${text}${end}`;
}

/** Returns the index of the last line that sets the variable, or -1. */
function lastAssignment(lines: readonly Line[], name: string): number {
  let found = -1;
  for (let index = 0; index < lines.length; index += 1) {
    const [, , assigned, value = ''] = ASSIGNMENT.exec(lines[index]?.text ?? '') ?? [];
    if (assigned === undefined) continue;
    if (assigned === name) found = index;
    // A value that spans lines is never a config hash, because a hash has no line ends.
    index = endOfValue(lines, index, value);
  }
  return found;
}

/**
 * Returns the line on which a value ends. A quote that is not closed on its own line continues to the line that closes
 * it. It is an ordinary character if no line does (https://github.com/motdotla/dotenv#multiline-values).
 */
function endOfValue(lines: readonly Line[], index: number, value: string): number {
  const quote = value.charAt(0);
  if (!QUOTES.includes(quote) || closes(value.slice(1), quote)) return index;
  for (let next = index + 1; next < lines.length; next += 1) {
    if (closes(lines[next]?.text ?? '', quote)) return next;
  }
  return index;
}

function closes(text: string, quote: string): boolean {
  return text.replaceAll(`\\${quote}`, '').includes(quote);
}

/** Returns the value without quotes, and the comment behind it with the blanks before. */
function splitValue(text: string): { value: string; comment: string } {
  const quote = text.charAt(0);
  const closing = QUOTES.includes(quote) ? text.indexOf(quote, 1) : -1;
  if (closing > 0) return { value: text.slice(1, closing), comment: commentIn(text.slice(closing + 1)) };
  const comment = commentIn(text);
  return { value: text.slice(0, text.length - comment.length).trim(), comment };
}

function commentIn(text: string): string {
  return /\s*#.*$|\s+$/s.exec(text)?.[0] ?? '';
}
