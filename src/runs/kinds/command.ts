/** A command run obeys a comment on a pull request. It leads to plans or deployments. */

import type { Kind } from './kind.ts';

export const COMMAND: Kind<'command'> = {
  name: 'command',
  plural: 'commands',
  queued: 'Waiting for previous command to complete',
  // Commands of one pull request are obeyed one after the other.
  group: ({ apiUrl, repository, pullRequest }) =>
    `command:${apiUrl}:${repository.toLowerCase()}#${pullRequest}`,
  // A comment is obeyed once, however often it is delivered.
  dedupeKey: ({ apiUrl, repository, commentId }) =>
    `comment:${apiUrl}:${repository.toLowerCase()}:${commentId}`,
  reporters: ['pull-request-comment'],
  retry: () => 'A command is not retried: write a new comment.',
  whyNotReplayed: () => 'Only the author of a comment can request its command: write a new comment',
  title: ({ input: { command, repository, pullRequest } }) =>
    `iac-runner ${command} on ${repository}#${pullRequest}`,
  ref: ({ branch }) => branch,
};
