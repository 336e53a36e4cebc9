/** Reads the text of a rules file without holding up the server, whoever wrote it. */

import { runInThread, ThreadLimitError } from '../../process/run-in-thread.ts';
import type { ParsedRules } from './rules-file.ts';

/** Up to this many characters the worst text takes a few milliseconds; a thread takes more. */
const SMALL = 2_048;
const TIMEOUT_MS = 10_000;
const KEPT = 4;

/** The last texts, because the same one is read at each commit; equal texts give one object. */
const known = new Map<string, Promise<ParsedRules>>();

/** What is wrong comes with line and field. */
export function readRules(text: string): Promise<ParsedRules> {
  const parsed = known.get(text) ?? parse(text);
  // In the order of their last use.
  known.delete(text);
  known.set(text, parsed);
  for (const oldest of known.keys()) if (known.size > KEPT) known.delete(oldest);
  // A failure of ours is not remembered.
  parsed.catch(() => known.delete(text));
  return parsed;
}

async function parse(text: string): Promise<ParsedRules> {
  // Most repositories have no such file and need no YAML.
  if (text.length <= SMALL) return (await import('./rules-file.ts')).parseRulesFile(text);
  const extension = import.meta.filename.endsWith('.ts') ? 'ts' : 'js';
  const module = new URL(`./rules-file.${extension}`, import.meta.url).href;
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
