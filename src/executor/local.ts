/** Runs a step's command as a child process on this machine, as this user. */

import { randomUUID } from 'node:crypto';
import { captureProcess } from '../process/capture.ts';
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

const MAX_CAPTURED_BYTES = 256 * 1024 * 1024;

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
          secrets: [...(options.secrets ?? []), ...(command.secrets ?? []), ...taskSecrets(command.env)],
        },
        hooks,
      );
    },
    async capture({ argv, cwd, env, timeoutMs, signal }) {
      const result = await captureProcess({
        argv,
        cwd,
        env,
        timeoutMs,
        signal,
        maxOutputBytes: MAX_CAPTURED_BYTES,
      });
      switch (result.kind) {
        case 'exited':
          return { ...result, stdout: result.stdout.toString() };
        case 'timed_out':
          return { kind: 'failed', problem: `timed out after ${timeoutMs / 1_000} s` };
        case 'cancelled':
          return { kind: 'failed', problem: 'was cancelled' };
        case 'too_much_output':
          return { kind: 'failed', problem: `wrote more than ${MAX_CAPTURED_BYTES} bytes` };
        case 'killed':
          return { kind: 'failed', problem: `was ended by ${result.signal}` };
        case 'not_started':
          return { kind: 'failed', problem: result.message };
      }
    },
  };
}
