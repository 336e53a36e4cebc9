/** Writes commit statuses to GitHub. */

import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import type { CommitStatus } from '../runs/kinds/kind.ts';
import { classifyAnswer, classifySilence, type SendOutcome } from './github-answer.ts';
import {
  describeSilence,
  type GitHubClientOptions,
  Headers,
  isOddAnswer,
  loadOctokit,
  readAnswer,
  readPages,
} from './github-client.ts';

interface StatusRequest extends CommitStatus {
  owner: string;
  repo: string;
  /** Full commit id. */
  sha: string;
  targetUrl: string;
  /**
   * Refuses the status if there are so many that the last ones must be kept for outcomes: of this context and commit, or,
   * with one request, of the commit.
   */
  keepsSpace?: 'context' | 'commit';
}

/** Sets a commit status. Never throws: the outcome says what went wrong and when to try again. */
export type SetStatus = (request: StatusRequest) => Promise<SendOutcome>;

/** https://docs.github.com/en/rest/commits/statuses#create-a-commit-status */
const MOST_STATUSES = 1_000;
const KEPT_FOR_OUTCOMES = 100;
/** The statuses of a commit are counted by context in no more of its newest ones than these pages of a hundred have. */
const MOST_PAGES_COUNTED = 20;
const shownSchema = z.array(z.object({ context: z.string() }));
const CROWDED = 'GitHub takes only 1,000 statuses for a commit; the last ones are kept for outcomes.';

export function createStatusWriter(options: GitHubClientOptions): SetStatus {
  return async ({ targetUrl: target_url, keepsSpace, ...status }) => {
    const startedAt = performance.now();
    const repository = `${status.owner}/${status.repo}`;
    try {
      const octokit = await loadOctokit(options);
      if (keepsSpace && (await isCrowded(octokit, status, keepsSpace)))
        return { kind: 'refused', problem: CROWDED };
      const answer = await octokit.rest.repos.createCommitStatus({ ...status, target_url });
      // An incomplete or foreign body arrives as text. Writing the same status again does no harm.
      const created = z.object({ state: z.literal(status.state) }).safeParse(answer.data).success;
      if (Number(answer.status) === 201 && created) return { kind: 'ok' };
      const headers = Headers.parse(answer.headers);
      return classifyAnswer({ status: answer.status, headers, message: '' }, repository);
    } catch (error) {
      if (isOddAnswer(error)) return classifyAnswer({ status: 200, headers: {}, message: '' }, repository);
      const answer = readAnswer(error, options.token);
      if (answer) return classifyAnswer(answer, repository);
      return classifySilence(describeSilence(error), performance.now() - startedAt);
    }
  };
}

/**
 * Returns true if the commit has nearly as many statuses as GitHub takes. The limit is 1,000 for each context, but one
 * request only counts those of all contexts.
 */
async function isCrowded(
  octokit: Octokit,
  { owner, repo, sha: ref, context }: Pick<StatusRequest, 'owner' | 'repo' | 'sha' | 'context'>,
  counted: 'context' | 'commit',
): Promise<boolean> {
  const list = octokit.rest.repos.listCommitStatusesForRef;
  const last = { per_page: 1, page: MOST_STATUSES - KEPT_FOR_OUTCOMES };
  const { data } = await list({ owner, repo, ref, ...last });
  if (!z.array(z.unknown()).nonempty().safeParse(data).success) return false;
  if (counted === 'commit') return true;
  let same = 0;
  let pages = 0;
  for await (const statuses of readPages(shownSchema, (page) => list({ owner, repo, ref, ...page }))) {
    same += statuses.filter((one) => one.context.toLowerCase() === context.toLowerCase()).length;
    pages += 1;
    // Nobody knows how many of the older statuses have the context.
    if (same >= MOST_STATUSES - KEPT_FOR_OUTCOMES || pages >= MOST_PAGES_COUNTED) return true;
  }
  return false;
}
