/** The executor: where steps run, and how much each may use. */

import { z } from 'zod';
import { ConfigError } from '../../errors.ts';
import { MEBIBYTE } from '../../units.ts';
import { wholeNumber, words } from '../shapes.ts';
import { type ValuesOf, variable } from '../variable.ts';

const kindShape = {
  schema: z.enum(['local', 'isolated']),
  expected: 'local or isolated',
  example: 'isolated',
};

export const EXECUTOR = {
  kind: variable('EXECUTOR', kindShape, {
    default: 'local',
    description:
      'Where tasks, terraform and tofu run: as children of the server, or through EXECUTOR_COMMAND.',
  }),
  command: variable('EXECUTOR_COMMAND', words, {
    unset: 'this program itself, as a process of its own',
    example: 'sudo -u runner iac-runner exec',
    description:
      'The command that starts `iac-runner exec` as another user, in a container or on another host.',
  }),
  cpuSeconds: variable('STEP_CPU_SECONDS', wholeNumber(1, 9_999_999), {
    unset: 'no limit',
    example: '3600',
    description: 'Seconds of CPU time that each process of a step may use. Needs prlimit of util-linux.',
  }),
  memoryBytes: variable('STEP_MEMORY_MB', wholeNumber(1, 9_999_999, MEBIBYTE), {
    unset: 'no limit',
    example: '4096',
    description:
      'Megabytes of address space that each process of a step may have, reserved memory included. Needs prlimit.',
  }),
  openFiles: variable('STEP_OPEN_FILES', wholeNumber(1, 9_999_999), {
    unset: 'no limit',
    example: '1024',
    description: 'Files that each process of a step may have open. Needs prlimit.',
  }),
} as const;

export interface ExecutorConfig {
  /** Null for children of the server, empty for this program itself. */
  command: readonly string[] | null;
  /** The limits of each process of a step. */
  limits: Pick<ValuesOf<typeof EXECUTOR>, 'cpuSeconds' | 'memoryBytes' | 'openFiles'>;
}

export function executorConfig({ kind, command, ...limits }: ValuesOf<typeof EXECUTOR>): ExecutorConfig {
  if (command !== null && kind === 'local') {
    throw new ConfigError('EXECUTOR_COMMAND is set, but EXECUTOR is not isolated: set that, or unset this.');
  }
  return { command: kind === 'isolated' ? (command ?? []) : null, limits };
}
