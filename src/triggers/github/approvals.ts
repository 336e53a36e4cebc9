/** Ends what awaited approval for too long. */

import type { Logger } from 'pino';
import { StoreUnavailableError } from '../../errors.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';

const INTERVAL_MS = 1_000;
const RUNS_PER_READ = 100;
/** In whose name an approval expires. */
export const EXPIRED_BY = 'iac-runner';

export interface ApprovalsOptions {
  store: Pick<RunStore, 'runs' | 'decide'>;
  /** Milliseconds since the epoch. */
  now(): number;
  log: Logger;
  /** Between two looks; default 1 s. */
  intervalMs?: number;
}

/** `stop` resolves when no look is under way any more. */
export function startApprovals(options: ApprovalsOptions): { stop(): Promise<void> } {
  const { log, intervalMs = INTERVAL_MS } = options;
  let looking: Promise<void> | null = null;
  let failed = false;

  async function look(): Promise<void> {
    try {
      await expireApprovals(options);
      failed = false;
    } catch (error) {
      // Said once: as long as the store is down every look fails.
      if (!failed) log.warn({ err: error }, 'expired approvals could not be ended; it is tried again');
      failed = true;
    }
    looking = null;
  }
  function begin(): void {
    looking ??= look();
  }

  begin();
  const timer = setInterval(begin, intervalMs).unref();
  return {
    async stop() {
      clearInterval(timer);
      await looking;
    },
  };
}

/**
 * A decision made meanwhile holds: the store takes the first. A run that cannot be ended keeps no other from it; the
 * first such error is thrown.
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

/** Read whole before any is ended, as a run that has left the state is no place to read on from. */
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
