/** Sets, lists and releases holds in the name of somebody. */

import type { Logger } from 'pino';
import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type Hold, MAX_HOLDS, type NewHold } from '../../runs/sync/hold.ts';
import { placesNamed } from '../place.ts';
import type { PromotePlace } from '../promote/promote-place.ts';
import { type MaskReason, reasonSchema } from '../reason.ts';
import { describeIssues } from '../request-problems.ts';
import { requireRunnable } from '../service-ids.ts';

const MAX_SERVICES = 1_000;

export interface HoldApiOptions {
  store: Pick<RunStore, 'holds' | 'saveHold' | 'endHold'>;
  places: readonly Pick<PromotePlace, 'place' | 'services'>[];
  now(): number;
  log: Pick<Logger, 'info'>;
  mask: MaskReason;
}

export interface HoldApi {
  /** The holds that stand, the oldest first. */
  list(): Promise<Hold[]>;
  /** Throws RequestError with what is wrong with the body. */
  set(body: unknown, by: string): Promise<Hold>;
  /** Resolves to false if no such hold stands. */
  release(id: string, by: string): Promise<boolean>;
}

const holdSchema = z.strictObject({
  reason: reasonSchema,
  environment: z.string().optional(),
  repository: z.string().optional(),
  services: z.array(z.string()).min(1, 'must name a service, or be left out').max(MAX_SERVICES).optional(),
  until: z.iso
    .datetime({ offset: true, error: 'must be a time of RFC 3339, such as 2026-12-24T18:00:00Z' })
    .optional(),
});

export function createHoldApi({ store, places, now, log, mask }: HoldApiOptions): HoldApi {
  async function set(body: unknown, by: string): Promise<Hold> {
    const hold = parseHold(body, by, now());
    const { environment, repository } = hold;
    const held = placesNamed(
      { environment: environment ?? undefined, repository: repository ?? undefined },
      places,
    );
    if (hold.services !== null) await requireServices(hold.services, held);
    const saved = await store.saveHold({ ...hold, reason: mask(hold.reason) });
    if (!saved) throw new RequestError(409, `${MAX_HOLDS} holds stand already: release some of them`);
    log.info({ hold: saved.id, actor: by, services: saved.services, until: saved.until }, 'hold set');
    return saved;
  }
  return {
    list: store.holds,
    set,
    async release(id, by) {
      const hold = await store.endHold(id);
      if (hold) log.info({ hold: id, actor: by, set_by: hold.by }, 'hold released');
      return hold !== null;
    },
  };
}

/** A service has to exist in one of the places. Throws RequestError 400. */
async function requireServices(
  named: readonly string[],
  places: readonly Pick<PromotePlace, 'services'>[],
): Promise<void> {
  const found = await Promise.all(places.map(({ services }) => services(named)));
  const runnable = [...new Set(found.flatMap((ids) => ids.runnable))];
  const all = [...new Set(found.flatMap((ids) => ids.excluded))];
  const excluded = all.filter((id) => !runnable.includes(id));
  requireRunnable(named, { runnable, excluded, ambiguous: found[0]?.ambiguous ?? new Map() });
}

/** Throws RequestError 400. */
function parseHold(body: unknown, by: string, now: number): NewHold {
  const parsed = holdSchema.safeParse(body);
  if (!parsed.success) throw new RequestError(400, describeIssues(parsed.error.issues));
  const { environment = null, repository = null, services, until: end, reason: why } = parsed.data;
  const until = end === undefined ? null : Date.parse(end);
  if (until !== null && until <= now) throw new RequestError(400, 'until: must be in the future');
  const named = services ? [...new Set(services)].sort() : null;
  return { environment, repository, services: named, reason: why, by, until };
}
