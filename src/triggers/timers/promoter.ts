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
  store: Pick<RunStore, 'enqueue' | 'ledger'>;
  open: PromotePlace & { promoting: Promoting };
  /** The scope of the ledger of the environment that holds commits. */
  heldScope: string;
  now(): number;
  log: Logger;
  pauseMs?: number;
}

/**
 * Looks whenever the other environment has examined another commit. Each commit is promoted once: after a failure a
 * person decides, or a newer commit comes.
 */
export function startPromoter(options: PromoterOptions): Loop {
  const { store, heldScope, log, pauseMs = PAUSE_MS } = options;
  let lastHeld = '';
  let notBefore = 0;
  return startLoop({
    firstMs: 0,
    pauseMs,
    async work() {
      const held = heldNow(await store.ledger(heldScope));
      if (held === lastHeld || performance.now() < notBefore) return;
      await promote(options);
      lastHeld = held;
    },
    onError(err) {
      notBefore = performance.now() + RETRY_MS;
      if (err instanceof StoreUnavailableError) return;
      log.warn({ err, ...fieldsOf(options) }, 'nothing could be promoted; it is tried again');
    },
  });
}

/** Changes whenever the environment holds something else. */
function heldNow({ entries, examined }: Awaited<ReturnType<RunStore['ledger']>>): string {
  const synced = [...entries.values()].map(
    (entry) => `${entry.service} ${entry.synced?.commit} ${entry.outcome}`,
  );
  return [examined?.commit, ...synced].join('\n');
}

async function promote(options: PromoterOptions): Promise<void> {
  const { store, open, now, log } = options;
  const proposal = await open.promoting.proposeNewest(null);
  if (proposal === null || proposal.services.length === 0 || proposal.newer !== null) return;
  const { run } = await askFor(
    { store, now },
    { open, services: null, proposal },
    {
      trigger: { source: 'automatic_promotion' },
      breakGlass: false,
      dedupeKey: `promotion:${scopeOf(open.place)}:${proposal.revision}`,
    },
  );
  log.info(
    { ...fieldsOf(options), run_id: run.id, revision: proposal.revision },
    'a promotion was asked for',
  );
}

function fieldsOf({ open: { place } }: PromoterOptions) {
  return { environment: place.environment, repository: place.repository };
}
