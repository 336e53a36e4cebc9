/** The options that both executors share. */

import { taskSecrets } from '../process/environment.ts';
import type { ProcessLimits } from '../process/limits.ts';
import { MEBIBYTE } from '../units.ts';
import type { StepCommand } from './executor.ts';

export interface ExecutorOptions {
  /** Masked in every output, together with the values of variables that have a secret's name. */
  secrets?: readonly string[];
  /** The time between TERM and KILL. Default 5 s. */
  killGraceMs?: number;
  /** Default 16 KiB. */
  maxLineBytes?: number;
  /** For each step. Default 64 MiB. */
  maxOutputBytes?: number;
  /** The limits of every process of a step. */
  limits?: ProcessLimits | null;
}

export const MAX_CAPTURED_BYTES = 256 * MEBIBYTE;
export const TOO_MUCH_OUTPUT = `wrote more than ${MAX_CAPTURED_BYTES} bytes`;

/** All secrets that must not appear in the output of the command. */
export function stepSecrets(options: ExecutorOptions, { secrets = [], env }: StepCommand): string[] {
  return [...(options.secrets ?? []), ...secrets, ...taskSecrets(env)];
}
