/** Lets /sync and rollbacks repeat in an environment that promotes only what it has, or what the other one holds. */

import type { ApprovalRequest } from '../../runs/run.ts';
import type { Ledger } from '../../runs/run-store.ts';
import { boundTo } from '../../runs/sync/promotion.ts';
import { environmentName } from '../place.ts';
import { approvalOf, notPromotable } from './promote-api.ts';
import type { PromotePlace, Promoting } from './promote-place.ts';

interface Asked {
  /** Null: what the environment has. */
  revision: string | null;
  /** Null: all services. */
  services: readonly string[] | null;
  dryRun: boolean;
}

/**
 * Returns the commit, what the run is meant to do, and the approval that it needs. A commit that the environment had goes
 * back without an approval, as a rollback does. Throws RequestError 409.
 */
export async function requireRepeatable(
  { place, promoting }: PromotePlace & { promoting: Promoting },
  { revision: asked, services, dryRun }: Asked,
  now: number,
): Promise<{ revision: string; intent: 'exact' | 'back'; approval?: ApprovalRequest }> {
  if (asked !== null && services !== null && (await hadAll(promoting, services, asked))) {
    return { revision: asked, intent: 'back' };
  }
  const ledger = await promoting.taken();
  const revision = asked ?? commitOf(ledger, services);
  const to = environmentName(place);
  if (revision === null)
    throw notPromotable(`${to} has no commit yet; promote one that ${promoting.from} holds`);
  if (!hasAlready(ledger, revision, services)) {
    const { unheld } = await promoting.propose(revision, services);
    const because = unheld.map((one) => `${one.service} (${one.because})`).join(', ');
    if (unheld.length > 0) throw notPromotable(`${promoting.from} does not hold ${revision} of ${because}`);
  }
  const intent = 'exact';
  if (promoting.approval === 'none' || dryRun) return { revision, intent };
  const bound = (services ?? []).map((service) => ({ service, from: null }));
  const text = boundTo(revision, { from: promoting.from, services: bound });
  return { revision, intent, approval: approvalOf(promoting, text, now) };
}

async function hadAll(
  { hadBefore }: Promoting,
  services: readonly string[],
  revision: string,
): Promise<boolean> {
  for (const service of services) if (!(await hadBefore(service, revision))) return false;
  return services.length > 0;
}

/** The commit that the environment has: of one service its own, of several the last that was promoted completely. */
function commitOf({ entries, examined }: Ledger, services: readonly string[] | null): string | null {
  const [only, ...others] = services ?? [];
  const own = only !== undefined && others.length === 0 ? entries.get(only)?.synced?.commit : undefined;
  return own ?? examined?.commit ?? null;
}

function hasAlready(
  { entries, examined }: Ledger,
  revision: string,
  services: readonly string[] | null,
): boolean {
  if (services === null) return examined?.commit === revision;
  return services.every((service) => {
    const synced = entries.get(service)?.synced?.commit;
    return synced === revision || (synced === undefined && examined?.commit === revision);
  });
}

/** A rollback goes to a commit that the environment had. Throws RequestError 409 for any other. */
export async function requireHadBefore(
  { place, promoting }: PromotePlace,
  service: string,
  revision: string,
): Promise<void> {
  if (promoting === null || (await promoting.hadBefore(service, revision))) return;
  throw notPromotable(`${environmentName(place)} never had ${service} at ${revision}; promote it`);
}
