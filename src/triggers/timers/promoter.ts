/** Promotes by itself what an environment holds, as soon as it holds it. */

import type { Logger } from 'pino';
import { StoreUnavailableError } from '../../errors.ts';
import { type Loop, startLoop } from '../../loop.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { scopeOf } from '../../runs/sync/place.ts';
import { MINUTE, SECOND } from '../../units.ts';
import { askFor } from '../promote/promote-api.ts';
import type { PromotePlace, Promoting } from '../promote/promote-place.ts';

/** A success is seen within this time, also if it was stored by another machine. */
const PAUSE_MS = 2 * SECOND;
const RETRY_MS = MINUTE;

export interface PromoterOptions {
  store: Pick<RunStore, 'enqueue' | 'runs' | 'active'>;
  open: PromotePlace & { promoting: Promoting };
  /** The scope of the environment that holds commits. */
  heldScope: string;
  now(): number;
  log: Logger;
  pauseMs?: number;
}

/**
 * Looks at the newest run of the other environment. Each commit is promoted once: after a failure a person decides, or a
 * newer commit comes.
 */
export function startPromoter(options: PromoterOptions): Loop {
  const { log, pauseMs = PAUSE_MS } = options;
  let lastSeen = '';
  let notBefore = 0;
  return startLoop({
    firstMs: 0,
    pauseMs,
    async work() {
      if (performance.now() < notBefore) return;
      const last = await lastSuccess(options);
      if (last === null || last.id === lastSeen) return;
      await promote(options, last.revision);
      lastSeen = last.id;
    },
    onError(err) {
      notBefore = performance.now() + RETRY_MS;
      if (err instanceof StoreUnavailableError) return;
      log.warn({ err, ...fieldsOf(options) }, 'nothing could be promoted; it is tried again');
    },
  });
}

/**
 * Returns the newest run of the other environment, if it has succeeded. Null as long as a run of one of the two waits or
 * works, because what is shown has to be what runs.
 */
async function lastSuccess({ store, open, heldScope }: PromoterOptions) {
  const [last] = await store.runs({ concurrencyGroup: heldScope, limit: 1 });
  if (last?.state !== 'succeeded' || last.revision === null) return null;
  const active = await Promise.all([store.active(heldScope), store.active(scopeOf(open.place))]);
  return active.flat().length > 0 ? null : { id: last.id, revision: last.revision };
}

async function promote(options: PromoterOptions, revision: string): Promise<void> {
  const { store, open, now, log } = options;
  // The commit may have been synced by another machine.
  if (!(await open.isOnBranch(revision))) return;
  const proposal = await open.promoting.propose(revision, null);
  const { services, unheld, newer } = proposal;
  if (services.length === 0 || unheld.length > 0 || newer !== null) return;
  const found = { open, services: null, proposal };
  const { run } = await askFor({ store, now }, found, {
    trigger: { source: 'automatic_promotion' },
    breakGlass: false,
    dedupeKey: `promotion:${scopeOf(open.place)}:${revision}`,
  });
  log.info({ ...fieldsOf(options), run_id: run.id, revision }, 'a promotion was asked for');
}

function fieldsOf({ open: { place } }: PromoterOptions) {
  return { environment: place.environment, repository: place.repository };
}
