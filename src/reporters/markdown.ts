/** Text of others in GitHub's Markdown: shown as it is, linking to nobody and nothing, breaking no structure. Pure. */

const MAX_CODE = 300;

/**
 * A code span: in it mentions, references, HTML and addresses are inert (https://github.github.com/gfm/#code-spans).
 * Its fence is longer than any in the text; line breaks, controls and marks of direction become U+FFFD.
 */
export function code(text: string): string {
  const clean = text
    .toWellFormed()
    .replace(/[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
  const shown = clean.length > MAX_CODE ? `${clean.slice(0, MAX_CODE).toWellFormed()}…` : clean;
  const longest = Math.max(0, ...[...shown.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  const isEdgy = /^[` ]|[` ]$/.test(shown) || shown === '';
  return isEdgy ? `${fence} ${shown} ${fence}` : `${fence}${shown}${fence}`;
}

/** A sentence of ours with words of others in it: every word that is not plain letters becomes a code span. */
export function prose(text: string): string {
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => {
      const [, core = '', tail = ''] = /^(.*?)([.,;:)]*)$/su.exec(word) ?? [];
      if (core === '') return code(word);
      // A number before a full stop would begin a list.
      const isPlain = /^\p{L}[\p{L}'’-]*(\(s)?$/u.test(core) || (/^\d+$/.test(core) && !/[.)]/.test(tail));
      return (isPlain ? core : code(core)) + tail;
    })
    .join(' ');
}
