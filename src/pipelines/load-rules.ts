/** Which rules hold at a commit: its own, or the last good ones of the branch when its own are broken. */

import type { Mirror } from '../git/mirror.ts';
import { describeProblem, parseRulesFile } from './rules-file.ts';
import { DEFAULT_RULES, RULES_FILE, type Rules } from './service-rules.ts';

export interface LoadedRules {
  rules: Rules;
  /** The text the rules were read from, to be kept as the last good one; null for the built-in rules. */
  text: string | null;
  /** What is wrong with the commit's own file, one sentence each; then `rules` are the last good ones. */
  problems: string[];
}

/** `lastGood` is the text of the branch's last file that could be read, or null. */
export async function loadRules(
  mirror: Mirror,
  revision: string,
  lastGood: string | null,
): Promise<LoadedRules> {
  const entry = (await mirror.listTree(revision, [RULES_FILE])).find(({ path }) => path === RULES_FILE);
  if (!entry) return { rules: DEFAULT_RULES, text: null, problems: [] };
  if (entry.mode !== '100644' && entry.mode !== '100755') {
    return { ...fallback(lastGood), problems: [`${RULES_FILE}: it is not a regular file`] };
  }
  const text = (await mirror.blobs([entry.id])).get(entry.id)?.toString('utf8') ?? '';
  const parsed = parseRulesFile(text);
  if (parsed.ok) return { rules: parsed.rules, text, problems: [] };
  return {
    ...fallback(lastGood),
    problems: parsed.problems.map((problem) => describeProblem(RULES_FILE, problem)),
  };
}

function fallback(lastGood: string | null): Omit<LoadedRules, 'problems'> {
  const parsed = lastGood === null ? null : parseRulesFile(lastGood);
  return parsed?.ok ? { rules: parsed.rules, text: lastGood } : { rules: DEFAULT_RULES, text: null };
}
