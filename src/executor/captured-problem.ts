/** Says why a program's output could not be captured. */

import type { StepResult } from './executor.ts';

/** Goes on after the program's name. */
export function capturedProblem(result: Exclude<StepResult, { kind: 'exited' }>, timeoutMs: number): string {
  switch (result.kind) {
    case 'timed_out':
      return `timed out after ${timeoutMs / 1_000} s`;
    case 'cancelled':
      return 'was cancelled';
    case 'killed':
      return `was ended by ${result.signal}`;
    case 'not_started':
    case 'lost':
      return result.message;
  }
}

export function tooMuchOutput(maxBytes: number): string {
  return `wrote more than ${maxBytes} bytes`;
}
