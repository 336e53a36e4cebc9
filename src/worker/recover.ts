/** What a start does about the runs of a dead server: their processes are ended before they run again. */

import type { Logger } from 'pino';
import { RunnerError } from '../errors.ts';
import { endMarkedProcesses, endProcessGroup } from '../process/process-table.ts';
import type { RunStore } from '../runs/run-store.ts';

const GRACE_MS = 5_000;

export interface RecoverOptions {
  store: RunStore;
  /** How often a run may be started. */
  maxAttempts: number;
  /** Environment entry of everything else that this server's predecessors started, e.g. git. */
  marker: string;
  log: Logger;
}

/**
 * Ends what the dead server left running, found by process id and start time, and by the run's marker for what
 * left its group; then queues its runs again, or ends those that were cut off too often. Only for whoever owns
 * the store alone: it takes every running run for orphaned.
 */
export async function recover({ store, maxAttempts, marker, log }: RecoverOptions): Promise<void> {
  const orphans = await store.runs({ state: 'running', limit: 10_000 });
  const leftovers = await Promise.all([
    endMarkedProcesses({ marker, graceMs: GRACE_MS }),
    ...orphans.map(async ({ id }) => {
      const processes = await store.processes(id);
      const groups = processes.map((leader) => endProcessGroup({ ...leader, graceMs: GRACE_MS }));
      const marked = endMarkedProcesses({ marker: `IAC_RUN_ID=${id}`, graceMs: GRACE_MS });
      return (await Promise.all([...groups, marked])).flat();
    }),
  ]);
  const unkillable = leftovers.flat();
  if (unkillable.length > 0) {
    const pids = unkillable.map(({ pid }) => pid).join(', ');
    throw new RunnerError(`Processes of a dead run cannot be ended: ${pids}.`, {
      nextAction: 'End them, or restart the machine, then start again.',
    });
  }
  const taken = await store.takeBack({ all: true, maxAttempts });
  if (taken.length > 0) log.warn({ runs: taken }, 'runs of a dead server taken back');
}
