import { expect, it } from 'vitest';
import type { OutputStream } from '../../runs/run-events.ts';
import { createTestRuns } from '../runs.fixtures.ts';
import { chooseLine, errorLine } from './error-line.ts';

const out = (text: string) => ({ stream: 'stdout' as const, text });
const err = (text: string) => ({ stream: 'stderr' as const, text });

it.each<[string, { stream: OutputStream; text: string }[], string | null]>([
  [
    'the first that names an error',
    [out('ok'), err('Pulling'), err('Error: no disk'), err('failed')],
    'Error: no disk',
  ],
  ['the last that was written as an error', [err('one'), err('two'), out('error? no')], 'two'],
  [
    'one on the usual output that names an error',
    [out('permission denied'), out('bye')],
    'permission denied',
  ],
  ['the last', [out('one'), out('two')], 'two'],
  ['none', [], null],
])('The line of a failed step is %s', (_, lines, expected) => {
  expect(chooseLine(lines)).toBe(expected);
});

it('The line is looked for in the log of the step alone, without colours', async () => {
  const runs = createTestRuns();
  runs.add('run', { state: 'running' });
  const planned = { type: 'step.planned', position: 0, wave: 1, message: '' } as const;
  const log = { type: 'step.log', stream: 'stderr' } as const;
  const end = { type: 'step.finished', state: 'failed', message: '', exitCode: 1, ledger: null } as const;
  for (const step of ['a', 'b']) {
    runs.append('run', { ...planned, step }, { type: 'step.started', step, command: [], ledger: null });
  }
  runs.append('run', { ...log, step: 'a', lines: ['one', '\u001b[31mfatal: two\u001b[0m'] });
  runs.append('run', { ...log, step: 'b', lines: ['fatal: other'] });
  expect(await errorLine(runs, 'run', 'a')).toBeNull();
  runs.append('run', { ...end, step: 'a' });
  expect(await errorLine(runs, 'run', 'a')).toBe('fatal: two');
});
