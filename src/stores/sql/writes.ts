/** Every write of the store, run inside a transaction by the writer of a driver. */

import { beat, hold, leave, release } from './fleet.ts';
import { prune } from './prune.ts';
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

export const WRITES = {
  ...{ enqueue, recordDelivery, recordMissed },
  ...{ claim, renew, append, takeBack, requestCancel, decide },
  ...{ saveBaseline, saveOutsideHashes, saveReport, settleRun, spendNonce, key, prune, check },
  ...{ beat, leave, hold, release },
} as const;

export type WriteName = keyof typeof WRITES;
