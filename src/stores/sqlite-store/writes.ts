/** Every write of the store, run inside a transaction by the writer thread. Each subject has its file in writes/. */

import type { Database } from './database.ts';
import { type PruneOptions, prune } from './prune.ts';
import {
  check,
  key,
  saveBaseline,
  saveOutsideHashes,
  saveReport,
  settleRun,
  spendNonce,
} from './writes/beside-runs.ts';
import { claim } from './writes/claim.ts';
import { decide, requestCancel } from './writes/decide.ts';
import { recordDelivery, recordMissed } from './writes/deliveries.ts';
import { enqueue } from './writes/enqueue.ts';
import { append, renew, takeBack } from './writes/lease.ts';
import type { Written } from './writes/written.ts';

export const WRITES = {
  enqueue,
  recordDelivery,
  recordMissed,
  claim,
  renew,
  append,
  takeBack,
  requestCancel,
  decide,
  saveBaseline,
  saveOutsideHashes,
  saveReport,
  settleRun,
  spendNonce,
  key,
  prune: (database: Database, options: PruneOptions): Written<boolean> => ({
    result: prune(database, options),
    changed: [],
  }),
  check,
} as const;
