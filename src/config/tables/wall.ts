/**
 * The wall between other people's code and the secrets of the server: it must be there, or the operator must say that
 * it is not needed.
 */

import { ConfigError } from '../../errors.ts';
import { flag } from '../shapes.ts';
import { type ValuesOf, variable } from '../variable.ts';
import type { ExecutorConfig } from './executor.ts';
import type { PlansConfig } from './plans.ts';

export const WALL = {
  trustAuthors: variable('TRUST_PULL_REQUEST_AUTHORS', flag, {
    default: 'false',
    description:
      'Declares that everybody who may open a pull request, or send a Pub/Sub message, may have all secrets of this server. PLANS, COMMENT_COMMANDS and Pub/Sub need this or EXECUTOR_COMMAND.',
  }),
  trustOperators: variable('TRUST_OPERATORS', flag, {
    default: 'false',
    description:
      'Declares that everybody with the role operator may have all secrets of this server. `POST /deploy` by an operator needs this or EXECUTOR_COMMAND.',
  }),
} as const;

/**
 * Says whose code may run on this machine, because there is a wall or because they are trusted. Throws ConfigError when
 * code of pull requests would run as the user of the server and the operator did not allow it.
 */
export function wallConfig(values: ValuesOf<typeof WALL>, executor: ExecutorConfig, plans: PlansConfig) {
  const hasWall = executor.command !== null && executor.command.length > 0;
  const pullRequests = hasWall || values.trustAuthors;
  const asking = [
    ...(plans.pullRequests ? ['PLANS'] : []),
    ...(plans.commentCommands ? ['COMMENT_COMMANDS'] : []),
    ...(plans.pubsub === null ? [] : ['Pub/Sub']),
  ];
  if (asking.length > 0 && !pullRequests) {
    throw new ConfigError(
      `${asking.join(' and ')} ${asking.length === 1 ? 'is' : 'are'} on, but EXECUTOR_COMMAND is not set: a plan runs code of the pull request, which could read every secret of this server.`,
      {
        nextAction:
          'Set EXECUTOR=isolated and EXECUTOR_COMMAND (docs/executor.md), or TRUST_PULL_REQUEST_AUTHORS=true if everybody who may open a pull request may have these secrets.',
      },
    );
  }
  return { pullRequests, operators: hasWall || values.trustOperators };
}
