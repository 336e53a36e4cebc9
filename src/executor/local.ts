/** Runs a step's command as a child process on this machine, as this user. */

import { randomUUID } from 'node:crypto';
import { captureProcess } from '../process/capture.ts';
import { taskSecrets } from '../process/environment.ts';
import type { ProcessLimits } from '../process/limits.ts';
import { runProcess } from '../process/run-process.ts';
import type { Watchdog } from '../process/watchdog/watchdog.ts';
import { capturedProblem, tooMuchOutput } from './captured-problem.ts';
import { createCapturedText } from './captured-text.ts';
import type { Executor, StepCommand } from './executor.ts';

export interface LocalExecutorOptions {
  /** Masked in every output, beside what the names of a step's variables tell to be secret. */
  secrets?: readonly string[];
  /** From TERM to KILL; default 5 s. */
  killGraceMs?: number;
  /** Default 16 KiB. */
  maxLineBytes?: number;
  /** Of one step; default 64 MiB. */
  maxOutputBytes?: number;
  /** What every process of a step may use. */
  limits?: ProcessLimits | null;
  /** Ends steps should this process die or stand still. */
  watchdog?: Watchdog | null;
}

export const MAX_CAPTURED_BYTES = 256 * 1024 * 1024;

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
          env: {
            ...command.env,
            ...(command.result && { [command.result.variable]: command.result.file }),
            IAC_PROCESS_ID: processId,
          },
          marker: `IAC_PROCESS_ID=${processId}`,
          secrets: secretsOf(options, command),
        },
        hooks,
      );
    },
    async capture(command) {
      const { argv, cwd, env, timeoutMs, signal, input } = command;
      const result = await captureProcess({
        argv,
        cwd,
        env,
        timeoutMs,
        signal,
        ...(input === undefined ? {} : { input }),
        limits: options.limits ?? null,
        watchdog: options.watchdog ?? null,
        maxOutputBytes: MAX_CAPTURED_BYTES,
      });
      const said = (text: string) => createCapturedText(text, secretsOf(options, command));
      switch (result.kind) {
        case 'exited': {
          const stdout = said(result.stdout.toString());
          return { ...result, stdout, stderr: stdout.mask(result.stderr) };
        }
        case 'too_much_output':
          return { kind: 'failed', problem: tooMuchOutput(MAX_CAPTURED_BYTES) };
        default:
          return { kind: 'failed', problem: said('').mask(capturedProblem(result, timeoutMs)) };
      }
    },
  };
}

function secretsOf(options: LocalExecutorOptions, { secrets = [], env }: StepCommand): string[] {
  return [...(options.secrets ?? []), ...secrets, ...taskSecrets(env)];
}
