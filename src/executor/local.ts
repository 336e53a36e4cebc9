/** Runs the command of a step as a child process on this machine, as this user. */

import { randomUUID } from 'node:crypto';
import { captureProcess } from '../process/capture.ts';
import { runProcess } from '../process/run-process.ts';
import type { Watchdog } from '../process/watchdog/watchdog.ts';
import { createCapturedText } from './captured-text.ts';
import type { Executor } from './executor.ts';
import {
  type ExecutorOptions,
  MAX_CAPTURED_BYTES,
  stepSecrets,
  TOO_MUCH_OUTPUT,
} from './executor-options.ts';
import { resultWords } from './result-words.ts';

interface LocalExecutorOptions extends ExecutorOptions {
  /** Ends steps if this process dies or hangs. */
  watchdog?: Watchdog | null;
}

/**
 * The child gets exactly the step's environment and `IAC_PROCESS_ID`, a new id that finds its descendants, even those that
 * left its session.
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
          secrets: stepSecrets(options, command),
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
      const said = (text: string) => createCapturedText(text, stepSecrets(options, command));
      switch (result.kind) {
        case 'exited': {
          const stdout = said(result.stdout.toString());
          return { ...result, stdout, stderr: stdout.mask(result.stderr) };
        }
        case 'too_much_output':
          return { kind: 'failed', problem: TOO_MUCH_OUTPUT };
        default:
          return { kind: 'failed', problem: said('').mask(resultWords(result, timeoutMs)) };
      }
    },
  };
}
