/** Syncs: when they start by themselves, and which commits must be signed. */

import { absolutePath, flag, seconds, wholeNumber } from '../shapes.ts';
import { variable } from '../variable.ts';

export const SYNC = {
  reconcileIntervalMs: variable('RECONCILE_INTERVAL', seconds, {
    default: '300',
    description: 'Seconds between two comparisons of the branch with the last syncs; 0: only at the start.',
  }),
  syncRetries: variable('SYNC_RETRIES', wholeNumber(0, 999), {
    default: '3',
    description:
      'How often a failed service is synced again automatically, after 1, 2, 4 … minutes. An environment that promotes waits for a person instead.',
  }),
  requireSignedCommits: variable('REQUIRE_SIGNED_COMMITS', flag, {
    default: 'false',
    description:
      'Refuse commits without a signature by a key of COMMIT_SIGNERS, whatever `.iac-runner.yaml` says.',
  }),
  commitSigners: variable('COMMIT_SIGNERS', absolutePath, {
    unset: 'none: no signature is good',
    example: '/etc/iac-runner/allowed-signers',
    description:
      'The file of the ssh keys that may sign commits, in the form of ssh-keygen(1), ALLOWED SIGNERS.',
  }),
} as const;
