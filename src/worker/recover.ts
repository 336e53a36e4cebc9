/** Takes back the runs of a server that has died, at the next start, after ending their processes. */

import type { Logger } from 'pino';
import { RunnerError } from '../errors.ts';
import type { ProcessIdentity } from '../process/process-stat.ts';
import { endMarkedProcesses, endProcessGroup } from '../process/process-table.ts';
import type { Run } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import { SECOND } from '../units.ts';

const GRACE_MS = 5 * SECOND;
/** The number of newest runs that are searched for processes that this machine left. Others may have ended the runs. */
const RECENT_RUNS = 200;

export interface RecoverOptions {
  store: RunStore;
  /** How often a run may be started. */
  maxAttempts: number;
  /** The name of this machine if others share the store, whose runs are left alone; null if all runs are ours. */
  machine: string | null;
  /** The environment entry by which everything else that earlier servers started is found, e.g. git. */
  marker: string;
  log: Logger;
}

/**
 * Ends what the dead server left running. It is found by process id and start time, and by the run's marker if it has
 * left its process group. Then queues the runs again, or ends those that were cut off too often.
 */
export async function recover(options: RecoverOptions): Promise<void> {
  const { store, maxAttempts, machine, marker, log } = options;
  const running = await store.runs({ state: 'running', limit: 10_000 });
  // If the store is ours alone, nobody works on any running run.
  const orphans = machine === null ? running : await runsOf(store, running, machine);
  const leftovers = await Promise.all([
    endMarkedProcesses({ marker, graceMs: GRACE_MS }),
    ...(machine === null ? [] : [endFormerSteps(store, machine)]),
    ...orphans.map(({ id }) => endStepsOf(store, id)),
  ]);
  const unkillable = leftovers.flat();
  if (unkillable.length > 0) {
    throw new RunnerError(`Processes of a dead run cannot be ended: ${listPids(unkillable)}.`, {
      nextAction: 'End them, or restart the machine, then start again.',
    });
  }
  const whose = machine === null ? { all: true } : { all: false, owner: machine };
  const taken = await store.takeBack({ ...whose, maxAttempts });
  if (taken.length > 0) log.warn({ runs: taken }, 'runs of a dead server taken back');
}

/** Ends what the steps of a run left running. Resolves to the processes that cannot be ended. */
export async function endStepsOf(
  store: Pick<RunStore, 'processes'>,
  runId: string,
): Promise<ProcessIdentity[]> {
  const processes = await store.processes(runId);
  const groups = processes.map((leader) => endProcessGroup({ ...leader, graceMs: GRACE_MS }));
  const marked = endMarkedProcesses({ marker: `IAC_RUN_ID=${runId}`, graceMs: GRACE_MS });
  return (await Promise.all([...groups, marked])).flat();
}

/** Lists the process ids, for people. */
export function listPids(processes: readonly ProcessIdentity[]): string {
  return processes.map(({ pid }) => pid).join(', ');
}

/** Returns the runs that this machine was the last to start. */
async function runsOf(store: RunStore, runs: readonly Run[], machine: string): Promise<Run[]> {
  const started = await Promise.all(runs.map(({ id }) => store.latestEvent(id, 'run.started')));
  return runs.filter((_, index) => started[index]?.owner.startsWith(`${machine}:`));
}

/**
 * Ends what this machine started for runs that others took over while it was down. It looks by process id and start
 * time alone, because the worker that has the run now uses the same marker.
 */
async function endFormerSteps(store: RunStore, machine: string): Promise<ProcessIdentity[]> {
  const recent = await store.runs({ limit: RECENT_RUNS });
  const leftovers = await Promise.all(
    recent.map(async ({ id }) => {
      const attempts = await store.eventsOf(id, 'run.started');
      if (!attempts.some(({ owner }) => owner.startsWith(`${machine}:`))) return [];
      const processes = await store.eventsOf(id, 'step.process');
      const former = processes.filter(({ seq }) => {
        const attempt = attempts.findLast((one) => one.seq < seq);
        return attempt?.owner.startsWith(`${machine}:`);
      });
      return (await Promise.all(former.map((one) => endProcessGroup({ ...one, graceMs: GRACE_MS })))).flat();
    }),
  );
  return leftovers.flat();
}
