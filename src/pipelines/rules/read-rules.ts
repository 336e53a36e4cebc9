/** Reads the text of a rules file, and does not block the server, even if a stranger wrote the text. */

import { forgetFirst } from '../../forget-first.ts';
import { runInThread, ThreadLimitError } from '../../process/run-in-thread.ts';
import { moduleUrl } from '../../program-files.ts';
import { SECOND } from '../../units.ts';
import type { ParsedRules } from './rules-file.ts';

/** Up to this length the worst text takes a few milliseconds, which is less than the start of a thread. */
const SMALL = 512;
const TIMEOUT_MS = 10 * SECOND;
const KEPT = 4;

/** The last texts, because most commits have the same text. Equal texts give the same object. */
const known = new Map<string, Promise<ParsedRules>>();

/** Each problem has a line and a field. */
export function readRules(text: string): Promise<ParsedRules> {
  const parsed = known.get(text) ?? parse(text);
  // The map is in the order of last use.
  known.delete(text);
  known.set(text, parsed);
  forgetFirst(known, KEPT);
  // Our own failures are not remembered.
  parsed.catch(() => known.delete(text));
  return parsed;
}

async function parse(text: string): Promise<ParsedRules> {
  // The import comes late, because most repositories have no rules file and need no YAML parser.
  if (text.length <= SMALL) return (await import('./rules-file.ts')).parseRulesFile(text);
  const module = moduleUrl('pipelines/rules/rules-file').href;
  try {
    return await runInThread<ParsedRules>(
      { module, function: 'parseRulesFile', arguments: [text] },
      { timeoutMs: TIMEOUT_MS },
    );
  } catch (error) {
    if (!(error instanceof ThreadLimitError)) throw error;
    known.delete(text);
    return { ok: false, problems: [{ line: 0, field: '', message: `it cannot be read: ${error.message}` }] };
  }
}
