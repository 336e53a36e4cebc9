/** The repository on GitHub that a run is reported to, and the way to write to it. */

import { describeError } from '../errors.ts';
import { classifyMissingToken, type RetryOutcome } from '../github/github-answer.ts';
import type { GitHubClientOptions } from '../github/github-client.ts';
import { createGitHubComments, type GitHubComments } from '../github/github-comments.ts';
import type { Run } from '../runs/run.ts';
import type { WriteLane } from './outbox/write-lane.ts';

export interface GitHubTarget {
  owner: string;
  repo: string;
  apiUrl: string;
  /** Reads the token for one request, because its file may be replaced. Throws if it cannot be read. */
  token(): string;
  /** True if runs are reported to GitHub's Deployments API. */
  deployments: boolean;
  /** True if each service has a commit status of its own. */
  serviceStatuses: boolean;
  /** The page of the run's environment, for people; null if none is known. */
  environmentUrl: string | null;
}

/** Returns null if the run has no repository on GitHub. */
export type TargetOf = (run: Run) => GitHubTarget | null;

/** The part of the client's options that is the same for all repositories. */
export type ClientOptions = Omit<GitHubClientOptions, 'apiUrl' | 'token'>;

/** Two targets with the same key are the same repository. */
export function repositoryKey({ apiUrl, owner, repo }: GitHubTarget): string {
  return `${apiUrl.replace(/\/+$/, '')}/${owner}/${repo}`.toLowerCase();
}

/** Does `work` with the token of the target. If the token cannot be read, returns a failure that is tried again. */
export async function withAccess<T>(
  { apiUrl, token }: GitHubTarget,
  client: ClientOptions,
  work: (access: GitHubClientOptions) => Promise<T>,
): Promise<T | RetryOutcome> {
  let known: string;
  try {
    known = token();
  } catch (error) {
    return classifyMissingToken(describeError(error));
  }
  return work({ ...client, apiUrl, token: known });
}

/** Returns the comments of the target's repository. */
export function commentsOf(target: GitHubTarget, client: ClientOptions): GitHubComments {
  return {
    put: (request) => withAccess(target, client, (access) => createGitHubComments(access).put(request)),
  };
}

/** Returns the lane for a kind of write to the repository of a target. */
export type LaneOf = (target: GitHubTarget) => WriteLane;

/**
 * Returns a function that makes the lanes of one kind of write. All kinds share the limits of the host, and the pauses of
 * each repository.
 */
export function createLanes(host: WriteLane): () => LaneOf {
  const repositories = new Map<string, WriteLane>();
  return () => {
    const lanes = new Map<string, WriteLane>();
    return (target) => {
      const key = repositoryKey(target);
      const repository = repositories.get(key) ?? host.ofRepository();
      repositories.set(key, repository);
      const lane = lanes.get(key) ?? repository.ofKind();
      lanes.set(key, lane);
      return lane;
    };
  };
}
