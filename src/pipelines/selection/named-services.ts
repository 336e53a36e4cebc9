/** Finds the services that a rules file names and that do not exist. */

import type { DuplicateService } from '../rules/discover-services.ts';
import { RULES_FILE, type Rules, type Service } from '../rules/service-rules.ts';

const SHOWN = 10;

/** One sentence for all services that the rules name and that do not exist at the commit. */
export function missingServices(
  rules: Rules,
  { byId, duplicates }: { byId: ReadonlyMap<string, Service>; duplicates: readonly DuplicateService[] },
): string[] {
  const known = new Set([...byId.keys(), ...duplicates.map(({ id }) => id)]);
  const missing = [...namedBy(rules)].filter(([id]) => !known.has(id));
  if (missing.length === 0) return [];
  const shown = missing.slice(0, SHOWN).map(([id, field]) => `${id} (${field})`);
  if (missing.length > SHOWN) shown.push(`${missing.length - SHOWN} more`);
  return [`${RULES_FILE} names services that do not exist: ${shown.join(', ')}.`];
}

/** Each id with the field that names it first. */
function namedBy({ exclude, needs, timeoutsMs, shared }: Rules): Map<string, string> {
  const fields = new Map<string, string>();
  const add = (field: string, ids: readonly string[]) => {
    for (const id of ids) if (!fields.has(id)) fields.set(id, field);
  };
  for (const { services } of shared) add('shared', services ?? []);
  add('exclude', exclude);
  for (const [id, needed] of Object.entries(needs)) add('needs', [id, ...needed]);
  add('timeouts', Object.keys(timeoutsMs));
  return fields;
}
