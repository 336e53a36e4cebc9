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
  /** True if the service gets what the others have. */
  unpin: boolean;
}

/**
 * Returns the commit, what the run is meant to do, and the approval that it needs. Services that go back to what the
 * environment had need none, as in a rollback. Throws RequestError 409.
 */
export async function requireRepeatable(
  { place, promoting }: PromotePlace & { promoting: Promoting },
  { revision: asked, services, dryRun, unpin }: Asked,
  now: number,
): Promise<{ revision: string; intent: 'exact' | 'back'; approval?: ApprovalRequest }> {
  const isRollback = asked !== null && services !== null && (await goBack(promoting, services, asked));
  if (isRollback) return { revision: asked, intent: 'back' };
  const revision = asked ?? commitOf(await promoting.taken(), unpin ? null : services);
  const to = environmentName(place);
  if (revision === null)
    throw notPromotable(`${to} has no commit yet; promote one that ${promoting.from} holds`);
  const unheld = await promoting.unproven(revision, services);
  const because = unheld.map((one) => `${one.service} (${one.because})`).join(', ');
  if (unheld.length > 0) throw notPromotable(`${promoting.from} does not hold ${revision} of ${because}`);
  const intent = 'exact';
  if (promoting.approval === 'none' || dryRun) return { revision, intent };
  const bound = (services ?? []).map((service) => ({ service, from: null }));
  const text = boundTo(revision, { from: promoting.from, services: bound });
  return { revision, intent, approval: approvalOf(promoting, text, now) };
}

async function goBack({ ageOf }: Promoting, services: readonly string[], revision: string): Promise<boolean> {
  for (const service of services) if ((await ageOf(service, revision)) !== 'older') return false;
  return services.length > 0;
}

/** The commit that the environment has: of a pinned service its own, else the last that was promoted completely. */
function commitOf({ entries, examined, pins }: Ledger, services: readonly string[] | null): string | null {
  const [only, ...others] = services ?? [];
  const one = others.length === 0 ? only : undefined;
  const own = one === undefined ? undefined : entries.get(one)?.synced?.commit;
  const pin = one === undefined ? undefined : pins.get(one);
  return pin ?? examined?.commit ?? own ?? null;
}

/** A rollback goes back to what the environment had. Throws RequestError 409 for any other commit. */
export async function requireHadBefore(
  { place, promoting }: PromotePlace,
  service: string,
  revision: string,
): Promise<void> {
  if (promoting === null || (await promoting.ageOf(service, revision)) !== 'other') return;
  throw notPromotable(
    `${revision} is no earlier commit at which ${environmentName(place)} had ${service}; promote it`,
  );
}
