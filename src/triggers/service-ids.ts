/** Checks the services that a request names. */

import { RequestError } from '../errors.ts';
import { quoted, SHOWN_PROBLEMS } from './request-problems.ts';

export interface ServiceIds {
  runnable: readonly string[];
  excluded: readonly string[];
  /** For each id that several folders claim, a sentence that names the folders. */
  ambiguous: ReadonlyMap<string, string>;
}

/** Throws RequestError 400 with the names that cannot run. */
export function requireRunnable(named: readonly string[], ids: ServiceIds): void {
  const known = new Set(ids.runnable);
  const refused = named.filter((name) => !known.has(name));
  if (refused.length > 0) throw new RequestError(400, refusal(refused, ids));
}

function refusal(names: string[], { excluded, ambiguous }: ServiceIds): string {
  const shown = names.slice(0, SHOWN_PROBLEMS);
  const isExcluded = new Set(excluded);
  const kind = (name: string) => (isExcluded.has(name) ? 'Excluded' : 'Unknown');
  const parts = shown
    .filter((name) => !ambiguous.has(name))
    .map((name) => `${kind(name)} service ${quoted(name)}`);
  if (names.length > shown.length) parts.push(`and ${names.length - shown.length} more`);
  const sentences = shown.flatMap((name) => ambiguous.get(name) ?? []);
  return [...(parts.length > 0 ? [parts.join(', ')] : []), ...sentences].join('; ');
}
