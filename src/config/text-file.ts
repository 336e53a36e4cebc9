/** Reads files that the configuration names, and says what is wrong with those that cannot be used. */

import { readFileSync, statSync } from 'node:fs';
import { errorCode } from '../errors.ts';
import { KIBIBYTE } from '../units.ts';

type FileText = { ok: true; text: string } | { ok: false; problem: string };

interface Limits {
  maxBytes: number;
  /** The text that the file should hold, with its article, such as `a secret`. */
  expected: string;
}

/** Never throws. `problem` goes on after "…, but ". */
export function readTextFile(path: string, { maxBytes, expected }: Limits): FileText {
  const tooLarge = {
    ok: false,
    problem: `it has more than ${maxBytes / KIBIBYTE} KiB. Give the path of ${expected}.`,
  } as const;
  try {
    const status = statSync(path);
    // A device or a pipe may never end.
    if (!status.isFile()) return { ok: false, problem: 'that is not a file. Give the path of a file.' };
    if (status.size > maxBytes) return tooLarge;
    const bytes = readFileSync(path);
    // Some file systems give no size.
    return bytes.length > maxBytes ? tooLarge : { ok: true, text: bytes.toString('utf8') };
  } catch (error) {
    return {
      ok: false,
      problem: `it cannot be read (${errorCode(error)}). Create it, and let the user of iac-runner read it.`,
    };
  }
}
