/** The commit statuses of one environment, as GitHub shows them. */

import type { CommitStatus } from '../support/github-statuses.ts';
import type { LocalGithub } from '../support/local-github.ts';
import { type EnvironmentName, statusContext } from './environments.ts';

export interface EnvironmentStatuses {
  /** The commits that have a status. */
  commits(): string[];
  /** The status that GitHub shows. */
  latest(sha: string): CommitStatus | undefined;
}

export function statusesOf(github: LocalGithub, environment: EnvironmentName): EnvironmentStatuses {
  const context = statusContext(environment);
  const latest = (sha: string) => github.statuses.latest(sha, context);
  return {
    latest,
    commits() {
      const named = github.requests.flatMap(({ url }) => /\/statuses\/([0-9a-f]{40})$/.exec(url)?.[1] ?? []);
      return [...new Set(named)].filter((sha) => latest(sha) !== undefined);
    },
  };
}
