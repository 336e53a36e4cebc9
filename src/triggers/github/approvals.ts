/** Ends the runs that have waited too long for an approval. */

import type { Logger } from 'pino';
import { StoreUnavailableError } from '../../errors.ts';
import { type Loop, startLoop } from '../../loop.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { SECOND } from '../../units.ts';

const INTERVAL_MS = SECOND;
const RUNS_PER_READ = 100;
/** An approval that expires is decided in this name. */
export const EXPIRED_BY = 'iac-runner';

export interface ApprovalsOptions {
  store: Pick<RunStore, 'runs' | 'decide'>;
  /** Milliseconds since the epoch. */
  now(): number;
  log: Logger;
  /** Between two checks; default 1 s. */
  intervalMs?: number;
}

/** `stop` resolves when the last check has ended. */
export function startApprovals(options: ApprovalsOptions): Loop {
  const { log, intervalMs = INTERVAL_MS } = options;
  let hasFailed = false;
  return startLoop({
    firstMs: 0,
    pauseMs: intervalMs,
    async work() {
      await expireApprovals(options);
      hasFailed = false;
    },
    onError(err) {
      // The failure is logged once, because every check fails as long as the store is down.
      if (!hasFailed) log.warn({ err }, 'expired approvals could not be ended; it is tried again');
      hasFailed = true;
    },
  });
}

/**
 * A decision that somebody makes at the same time holds, because the store takes the first. If a run cannot be ended,
 * the others are ended first, then the error is thrown.
 */
export async function expireApprovals({ store, now, log }: ApprovalsOptions): Promise<void> {
  const defects: unknown[] = [];
  for (const run of await awaiting(store)) {
    if (run.approvalExpiresAt === null || run.approvalExpiresAt > now()) continue;
    try {
      const result = await store.decide(run.id, 'expired', EXPIRED_BY);
      if (result?.decided) log.info({ run_id: run.id }, 'approval expired');
    } catch (error) {
      if (error instanceof StoreUnavailableError) throw error;
      defects.push(error);
    }
  }
  if (defects.length > 0) throw defects[0];
}

/** Reads every run that waits. A run that is decided meanwhile keeps its place, so no page leaves out another run. */
async function awaiting(store: Pick<RunStore, 'runs'>): Promise<Run[]> {
  const runs: Run[] = [];
  for (;;) {
    const before = runs.at(-1)?.id;
    const page = await store.runs({
      state: 'awaiting_approval',
      limit: RUNS_PER_READ,
      ...(before !== undefined && { before }),
    });
    runs.push(...page);
    if (page.length < RUNS_PER_READ) return runs;
  }
}
