/** A preview only shows what merging a pull request would sync. */

import { isFinal } from '../run.ts';
import { type Kind, STATUS_STATES } from './kind.ts';

export const PREVIEW: Kind<'preview'> = {
  name: 'preview',
  plural: 'previews',
  queued: 'Waiting for previous preview to complete',
  group: ({ pullRequest, repository }) =>
    repository === undefined ? `preview:${pullRequest}` : `preview:${repository}:${pullRequest}`,
  coalescing: { covers: () => true, message: () => 'A newer commit of the pull request counts.' },
  reporters: ['commit-status', 'pull-request-comment'],
  status: {
    context: () => 'IaC Runner / Preview',
    of: ({ state, message }) => ({
      state: STATUS_STATES[state],
      description: isFinal(state) ? message : 'Working out what merging this will sync',
    }),
  },
  retry: ({ input }) => input,
  ref: ({ branch }) => branch,
};
