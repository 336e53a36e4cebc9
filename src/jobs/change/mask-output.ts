/** Keeps a user's token out of everything that is shown of a job. */

import { createRedactor } from '../../process/output/redact.ts';
import { maskToken } from '../../runs/job.ts';

const MIN_PART_LENGTH = 6;
const CUT_MARK = / \[line cut after \d+ bytes\]$/;

/** Masks one text: the token as it is, in the encodings in which tools print it, and the start of one that was cut. */
export function createTokenMask(token: string): (text: string) => string {
  const encoded = createRedactor([token]);
  const shown = maskToken(token);
  return (text) => {
    const plain = withoutCutToken(text, token).replaceAll(token, () => shown);
    // The mask itself would be found again when a token is as short as it.
    return encoded(plain);
  };
}

/** A line that was too long ends anywhere, so also inside of the token. */
function withoutCutToken(text: string, token: string): string {
  const mark = CUT_MARK.exec(text);
  if (mark === null) return text;
  const line = text.slice(0, mark.index);
  for (let length = token.length - 1; length >= MIN_PART_LENGTH; length -= 1) {
    if (line.endsWith(token.slice(0, length))) return `${line.slice(0, -length)}****${mark[0]}`;
  }
  return text;
}
