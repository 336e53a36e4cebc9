/** Says how a command ended. */

import { MINUTE, SECOND } from '../units.ts';
import type { StepResult } from './executor.ts';

/** The words follow the name of the command: "was killed by SIGKILL". */
export function resultWords(result: StepResult, timeoutMs: number): string {
  switch (result.kind) {
    case 'exited':
      return `failed with exit code ${result.exitCode}`;
    case 'timed_out':
      return `timed out after ${durationWords(timeoutMs)}`;
    case 'cancelled':
      return 'was ended before it was done';
    case 'killed':
      return `was killed by ${result.signal}`;
    case 'not_started':
    case 'lost':
      return result.message;
  }
}

function durationWords(ms: number): string {
  if (ms % MINUTE !== 0) return `${ms / SECOND} s`;
  return ms === MINUTE ? '1 minute' : `${ms / MINUTE} minutes`;
}
