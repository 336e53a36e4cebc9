import { describe, expect, it } from 'vitest';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Ended } from '../pipeline.ts';
import { diagnose, watchLog } from './diagnosis.ts';

const FAILED: Ended = { state: 'failed', reason: 'step_failed', message: 'plan failed with exit code 1' };

describe('A diagnosis', () => {
  it.each([
    ['╷\n│ Error: Error acquiring the state lock\n│', 'The state is locked'],
    ['│ Error: Unsupported Terraform Core version', 'another version of the tool'],
    ['│ Error: Inconsistent dependency lock file', 'The dependency lock file'],
    [
      '│ Error: Failed to query available provider packages\n│\n│ no such host',
      'A provider could not be installed',
    ],
    ['│ Error: Failed to download module', 'A module could not be downloaded'],
    ['│ Error: No value for required variable', 'A variable has no value'],
    ['│ Error: No valid credential sources found', 'Access was denied'],
    ['│ operation error STS: StatusCode: 403, AccessDenied', 'Access was denied'],
    ['│ Error: Backend initialization required', 'The backend could not be used'],
    ['│ dial tcp: lookup example.com: no such host', 'could not be reached'],
    ['│ Error: Unsupported argument', 'The configuration is not valid'],
    ['│ Error: Failed to\n│ query available provider packages', 'A provider could not be installed'],
  ])('of %j', (text, expected) => {
    const { problem, nextAction } = diagnose(text.split('\n'), FAILED);
    expect(problem).toContain(expected);
    expect(problem).toContain(FAILED.message);
    expect(nextAction).not.toBe('');
  });

  it('of another problem repeats the message of the run', () => {
    const late: Ended = {
      state: 'timed_out',
      reason: 'step_timed_out',
      message: 'plan timed out after 30 minutes',
    };
    expect(diagnose(['Error: Unsupported argument'], late)).toMatchObject({ problem: late.message });
    expect(diagnose(['Strange.'], FAILED).problem).toBe(FAILED.message);
  });

  it('is made of the last lines, without colours and bounded', async () => {
    const seen: RunEventBody[] = [];
    const { signal } = new AbortController();
    const { watching, tail } = watchLog({
      signal,
      draining: signal,
      emit: async (...events) => void seen.push(...events),
    });
    const lines = Array.from({ length: 100 }, (_, i) => `\u001b[31mline ${i}\u001b[0m`);
    await watching.emit({ type: 'step.log', step: 'plan', stream: 'stderr', lines });
    expect(tail()).toHaveLength(40);
    expect(tail().at(-1)).toBe('line 99');
    await watching.emit({
      type: 'step.log',
      step: 'plan',
      stream: 'stdout',
      lines: ['x'.repeat(1e6), 'end'],
    });
    expect(tail().join('\n').length).toBeLessThanOrEqual(8_000);
    expect(tail().at(-1)).toBe('end');
    expect(seen).toHaveLength(2);
  });
});
