/** The commit statuses of one environment, as GitHub shows them. */

import type { CommitStatus } from '../support/github-statuses.ts';
import { type EnvironmentName, statusContext } from './environments.ts';
import type { World } from './world.ts';

export interface EnvironmentStatuses {
  /** The commits that have a status. */
  commits: string[];
  /** The status that GitHub shows. */
  latest(sha: string): CommitStatus | undefined;
}

export function statusesOf(
  { stage: { github } }: Pick<World, 'stage'>,
  environment: EnvironmentName,
): EnvironmentStatuses {
  const context = statusContext(environment);
  const named = github.requests.flatMap(({ url }) => /\/statuses\/([0-9a-f]{40})$/.exec(url)?.[1] ?? []);
  const latest = (sha: string) => github.statuses.latest(sha, context);
  return { commits: [...new Set(named)].filter((sha) => latest(sha) !== undefined), latest };
}
