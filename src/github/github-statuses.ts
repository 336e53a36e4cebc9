/** Writes commit statuses to GitHub. */

import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import type { CommitStatus } from '../runs/kinds/kind.ts';
import { classifyAnswer, classifySilence, type SendOutcome } from './github-answer.ts';
import {
  describeSilence,
  type GitHubClientOptions,
  Headers,
  loadOctokit,
  readAnswer,
} from './github-client.ts';

interface StatusRequest extends CommitStatus {
  owner: string;
  repo: string;
  /** Full commit id. */
  sha: string;
  targetUrl: string;
  /** Refuses the status if the commit has so many that the last ones must be kept for outcomes. */
  keepsSpace?: boolean;
}

/** Sets a commit status. Never throws: the outcome says what went wrong and when to try again. */
export type SetStatus = (request: StatusRequest) => Promise<SendOutcome>;

/** https://docs.github.com/en/rest/commits/statuses#create-a-commit-status */
const MOST_STATUSES = 1_000;
const KEPT_FOR_OUTCOMES = 100;
const CROWDED = 'GitHub takes only 1,000 statuses for a commit; the last ones are kept for outcomes.';

export function createStatusWriter(options: GitHubClientOptions): SetStatus {
  return async ({ targetUrl: target_url, keepsSpace = false, ...status }) => {
    const startedAt = performance.now();
    const repository = `${status.owner}/${status.repo}`;
    try {
      const octokit = await loadOctokit(options);
      if (keepsSpace && (await isCrowded(octokit, status))) return { kind: 'refused', problem: CROWDED };
      const answer = await octokit.rest.repos.createCommitStatus({ ...status, target_url });
      // An incomplete or foreign body arrives as text. Writing the same status again does no harm.
      const created = z.object({ state: z.literal(status.state) }).safeParse(answer.data).success;
      if (Number(answer.status) === 201 && created) return { kind: 'ok' };
      const headers = Headers.parse(answer.headers);
      return classifyAnswer({ status: answer.status, headers, message: '' }, repository);
    } catch (error) {
      const answer = readAnswer(error, options.token);
      if (answer) return classifyAnswer(answer, repository);
      return classifySilence(describeSilence(error), performance.now() - startedAt);
    }
  };
}

/**
 * Returns true if the commit has nearly as many statuses as GitHub takes. The limit is 1,000 for each context. This
 * counts those of all contexts, because one request is enough for that.
 */
async function isCrowded(
  octokit: Octokit,
  { owner, repo, sha: ref }: Pick<StatusRequest, 'owner' | 'repo' | 'sha'>,
): Promise<boolean> {
  const { data } = await octokit.rest.repos.listCommitStatusesForRef({
    owner,
    repo,
    ref,
    per_page: 1,
    page: MOST_STATUSES - KEPT_FOR_OUTCOMES,
  });
  return z.array(z.unknown()).nonempty().safeParse(data).success;
}
