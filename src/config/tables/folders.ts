/** The folders of the server. */

import path from 'node:path';
import { absolutePath } from '../shapes.ts';
import { type ValuesOf, variable } from '../variable.ts';

export const FOLDERS = {
  workspaceDir: variable('WORKSPACE_DIR', absolutePath, {
    default: '/workspace',
    description: 'Holds the checkout `$WORKSPACE_DIR/<repository>` and the lock `.sync.lock`.',
  }),
  dataDir: variable('DATA_DIR', absolutePath, {
    unset: '$WORKSPACE_DIR/.iac-runner',
    example: '/var/lib/iac-runner',
    description: 'Holds the store and the git mirror. Back it up. Only one server may use it at a time.',
    forTasks: false,
  }),
} as const;

export function foldersConfig({ workspaceDir, dataDir }: ValuesOf<typeof FOLDERS>) {
  return { workspaceDir, dataDir: dataDir ?? path.join(workspaceDir, '.iac-runner') };
}
