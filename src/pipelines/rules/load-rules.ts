/** Loads the rules of a commit: its own, or the last good ones of the branch if its own are broken. */

import type { TreeEntry } from '../../git/own/mirror.ts';
import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import { MEBIBYTE } from '../../units.ts';
import { createCommitMemory } from './commit-memory.ts';
import { readRules } from './read-rules.ts';
import type { ParsedRules } from './rules-file.ts';
import { DEFAULT_RULES, RULES_FILE, type Rules } from './service-rules.ts';

export interface LoadedRules {
  rules: Rules;
  /** The text of the rules, which is stored as the last good one. Null for the built-in rules. */
  text: string | null;
  /** The problems of the commit's own file, one sentence each. If there are any, `rules` are the last good ones. */
  problems: string[];
}

/** This is enough to see that a file is too large. */
const MAX_READ_BYTES = 2 * MEBIBYTE;

/** Keyed by commit. Null stands for a commit without a rules file. */
const entries = createCommitMemory<TreeEntry | null>();
/** Keyed by blob. Equal texts give the same object of rules, because other caches use the object as their key. */
const files = createCommitMemory<{ text: string; parsed: ParsedRules }>();

/** Rules → environment → the same rules for it, because other caches use the object as their key. */
const ofEnvironments = new WeakMap<Rules, Map<string, Rules>>();

/**
 * `lastGood` is the text of the branch's last good rules file, or null. The rules are those for the environment; null is
 * the unnamed one.
 */
export async function loadRules(
  repository: RepositoryReader,
  revision: string,
  lastGood: string | null,
  environment: string | null = null,
): Promise<LoadedRules> {
  const loaded = await loadForAll(repository, revision, lastGood);
  return environment === null ? loaded : { ...loaded, rules: forEnvironment(loaded.rules, environment) };
}

function forEnvironment(rules: Rules, environment: string): Rules {
  const known = ofEnvironments.get(rules) ?? new Map<string, Rules>();
  ofEnvironments.set(rules, known);
  const found = known.get(environment) ?? { ...rules, environment };
  known.set(environment, found);
  return found;
}

async function loadForAll(
  repository: RepositoryReader,
  revision: string,
  lastGood: string | null,
): Promise<LoadedRules> {
  const entry = await entries(repository, revision, async () => {
    const listed = await repository.listTree(revision, [RULES_FILE]);
    return listed.find(({ path }) => path === RULES_FILE) ?? null;
  });
  if (!entry) return { rules: DEFAULT_RULES, text: null, problems: [] };
  if (entry.mode !== '100644' && entry.mode !== '100755') {
    return { ...(await fallback(lastGood)), problems: [`${RULES_FILE}: it is not a regular file`] };
  }
  const { text, parsed } = await files(repository, entry.id, async () => {
    const content = (await repository.blobs([entry.id])).get(entry.id);
    const text = content?.toString('utf8', 0, MAX_READ_BYTES) ?? '';
    return { text, parsed: await readRules(text) };
  });
  if (parsed.ok) return { rules: parsed.rules, text, problems: [] };
  const { describeProblem } = await import('../../yaml-file.ts');
  return {
    ...(await fallback(lastGood)),
    problems: parsed.problems.map((problem) => describeProblem(RULES_FILE, problem)),
  };
}

async function fallback(lastGood: string | null): Promise<Omit<LoadedRules, 'problems'>> {
  const parsed = lastGood === null ? null : await readRules(lastGood);
  return parsed?.ok ? { rules: parsed.rules, text: lastGood } : { rules: DEFAULT_RULES, text: null };
}
