/** The folders of the server. */

import path from 'node:path';
import { absolutePath, optionalPath } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

export const FOLDER_VARIABLES = {
  WORKSPACE_DIR: variable({
    schema: absolutePath,
    expected: 'an absolute path',
    example: '/workspace',
    description: 'Holds the checkout `$WORKSPACE_DIR/<repository>` and the lock `.sync.lock`.',
    default: '/workspace',
  }),
  DATA_DIR: variable({
    schema: optionalPath,
    expected: 'an absolute path',
    example: '/var/lib/iac-runner',
    description: 'Holds the store and the git mirror. Back it up; one server at a time uses it.',
    default: '($WORKSPACE_DIR/.iac-runner)',
    forTasks: false,
  }),
} as const;

type Values = ValuesOf<typeof FOLDER_VARIABLES>;

export interface FoldersConfig {
  workspaceDir: string;
  dataDir: string;
}

export function foldersConfig(values: Values): FoldersConfig {
  return { workspaceDir: values.WORKSPACE_DIR, dataDir: dataDirOf(values) };
}

export function dataDirOf(values: Values): string {
  return values.DATA_DIR ?? path.join(values.WORKSPACE_DIR, '.iac-runner');
}
