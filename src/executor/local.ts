/** Runs a step's command as a child process on this machine, as this user. */

import { randomUUID } from 'node:crypto';
import { taskSecrets } from '../process/environment.ts';
import { runProcess } from '../process/run-process.ts';
import type { Executor } from './executor.ts';

export interface LocalExecutorOptions {
  /** Masked in every output, beside what the names of a step's variables tell to be secret. */
  secrets?: readonly string[];
  /** From TERM to KILL; default 5 s. */
  killGraceMs?: number;
  /** Default 16 KiB. */
  maxLineBytes?: number;
  /** Of one step; default 64 MiB. */
  maxOutputBytes?: number;
}

/**
 * The child's environment is exactly the step's, and `IAC_PROCESS_ID`: a fresh id by which this process's
 * descendants are told from those of other steps of the run, also when they left its session.
 */
export function createLocalExecutor(options: LocalExecutorOptions = {}): Executor {
  return {
    run(command, hooks) {
      const processId = randomUUID();
      return runProcess(
        {
          ...command,
          ...options,
          env: { ...command.env, IAC_PROCESS_ID: processId },
          marker: `IAC_PROCESS_ID=${processId}`,
          secrets: [...(options.secrets ?? []), ...taskSecrets(command.env)],
        },
        hooks,
      );
    },
  };
}
