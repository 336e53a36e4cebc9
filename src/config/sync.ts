/** Syncs: when they are begun by themselves, and which commits are good enough. */

import { flag, optionalPath, seconds, text } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

export const SYNC_VARIABLES = {
  RECONCILE_INTERVAL: variable({
    schema: seconds,
    expected: 'a number of seconds',
    example: '300',
    description: 'Seconds between comparisons of the branch with what was synced; 0: only at start.',
    default: '300',
  }),
  SYNC_RETRIES: variable({
    schema: text.regex(/^\d{1,3}$/).transform(Number),
    expected: 'a whole number from 0 to 999',
    example: '3',
    description: 'How often a failed service is tried again by itself, after 1, 2, 4 … minutes.',
    default: '3',
  }),
  REQUIRE_SIGNED_COMMITS: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description: 'Refuse commits that no key of COMMIT_SIGNERS has signed, whatever `.iac-runner.yaml` says.',
    default: 'false',
  }),
  COMMIT_SIGNERS: variable({
    schema: optionalPath,
    expected: 'an absolute path',
    example: '/etc/iac-runner/allowed-signers',
    description: 'File of the ssh keys that may sign commits, in the form of ssh-keygen(1), ALLOWED SIGNERS.',
    default: '(none: no signature is good)',
  }),
} as const;

export interface SyncConfig {
  reconcileIntervalMs: number;
  syncRetries: number;
  requireSignedCommits: boolean;
  commitSigners: string | null;
}

export function syncConfig(values: ValuesOf<typeof SYNC_VARIABLES>): SyncConfig {
  return {
    reconcileIntervalMs: values.RECONCILE_INTERVAL,
    syncRetries: values.SYNC_RETRIES,
    requireSignedCommits: values.REQUIRE_SIGNED_COMMITS,
    commitSigners: values.COMMIT_SIGNERS,
  };
}
