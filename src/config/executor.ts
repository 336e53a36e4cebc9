/** The executor: where steps run, and what each may use. */

import { z } from 'zod';
import { ConfigError } from '../errors.ts';
import { optionalCount, words } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

export const EXECUTOR_VARIABLES = {
  EXECUTOR: variable({
    schema: z.enum(['local', 'isolated']),
    expected: 'local or isolated',
    example: 'isolated',
    description:
      'Where tasks, terraform and tofu run: as children of the server, or through EXECUTOR_COMMAND.',
    default: 'local',
  }),
  EXECUTOR_COMMAND: variable({
    schema: words.optional().transform((value) => value ?? null),
    expected: 'a program and its arguments, without quotes or other shell syntax',
    example: 'sudo -u runner iac-runner exec',
    description: 'What leads to `iac-runner exec` as another user, in a container or on another host.',
    default: '(this program itself, as a process of its own)',
  }),
  STEP_CPU_SECONDS: variable({
    schema: optionalCount,
    expected: 'a whole number from 1 to 9999999',
    example: '3600',
    description: 'Seconds of CPU time that each process of a step may use. Needs prlimit of util-linux.',
    default: '(no limit)',
  }),
  STEP_MEMORY_MB: variable({
    schema: optionalCount,
    expected: 'a whole number from 1 to 9999999',
    example: '4096',
    description:
      'Megabytes of address space that each process of a step may have, also what it only reserves. Needs prlimit.',
    default: '(no limit)',
  }),
  STEP_OPEN_FILES: variable({
    schema: optionalCount,
    expected: 'a whole number from 1 to 9999999',
    example: '1024',
    description: 'Files that each process of a step may have open. Needs prlimit.',
    default: '(no limit)',
  }),
} as const;

export interface ExecutorConfig {
  /** Null: children of the server. Empty: the program itself. */
  command: readonly string[] | null;
  /** Of each process of a step. */
  limits: { cpuSeconds: number | null; memoryBytes: number | null; openFiles: number | null };
}

export function executorConfig(values: ValuesOf<typeof EXECUTOR_VARIABLES>): ExecutorConfig {
  const { EXECUTOR_COMMAND: command, STEP_MEMORY_MB: megabytes } = values;
  if (command !== null && values.EXECUTOR === 'local') {
    throw new ConfigError('EXECUTOR_COMMAND is set, but EXECUTOR is not isolated: set that, or unset this.');
  }
  return {
    command: values.EXECUTOR === 'isolated' ? (command ?? []) : null,
    limits: {
      cpuSeconds: values.STEP_CPU_SECONDS,
      memoryBytes: megabytes === null ? null : megabytes * 1024 * 1024,
      openFiles: values.STEP_OPEN_FILES,
    },
  };
}
