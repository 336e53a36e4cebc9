/** Ends what the tasks of a dead server left running, before anybody runs them again. */

import type { Logger } from 'pino';
import { endMarkedProcesses } from '../process/process-table.ts';

/** From TERM to KILL, as after a timeout. */
const KILL_GRACE_MS = 5_000;

/** Finds them by the run id in their environment, which no change of parent or session takes away. */
export async function endLeftovers(runIds: readonly string[], log: Logger): Promise<void> {
  await Promise.all(
    runIds.map(async (runId) => {
      const left = await endMarkedProcesses({ marker: `IAC_RUN_ID=${runId}`, graceMs: KILL_GRACE_MS });
      const pids = left.map(({ pid }) => pid);
      if (pids.length > 0)
        log.error({ run_id: runId, pids }, 'processes of a dead server could not be ended');
    }),
  );
}
