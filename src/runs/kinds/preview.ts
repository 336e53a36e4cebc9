/** A preview only tells what merging a pull request would sync. */

import { isFinal, type RunState } from '../run.ts';
import type { Kind, StatusWords } from './kind.ts';

const STATUS_STATES: Record<RunState, StatusWords['state']> = {
  queued: 'pending',
  running: 'pending',
  awaiting_approval: 'pending',
  succeeded: 'success',
  failed: 'failure',
  timed_out: 'failure',
  errored: 'error',
  cancelled: 'error',
  superseded: 'success',
};

export const PREVIEW: Kind<'preview'> = {
  name: 'preview',
  plural: 'previews',
  queued: 'Waiting for previous preview to complete',
  group: ({ pullRequest }) => `preview:${pullRequest}`,
  coalescing: { covers: () => true, message: 'A newer commit of the pull request counts.' },
  reporters: ['commit-status', 'pull-request-comment'],
  status: {
    context: 'IaC Runner / Preview',
    // It speaks about its own commit only, so a newer one does not stand for it.
    isPromise: false,
    of: ({ state, message }) => ({
      state: STATUS_STATES[state],
      description: isFinal(state) ? message : 'Working out what merging this will sync',
    }),
  },
  retry: ({ input }) => input,
  ref: ({ branch }) => branch,
  refLabel: 'Branch',
  hasWaves: false,
  tool: null,
};
