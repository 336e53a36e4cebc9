/** What GitHub says of a pull request, asked with the token that may read it. */

import { z } from 'zod';
import { isLimited } from './github-answer.ts';
import { type GitHubClientOptions, loadOctokit, readAnswer } from './github-client.ts';

export interface PullRequest {
  isOpen: boolean;
  /** Full commit id. */
  head: string;
  /** The head is in another repository than the base, or in one that is gone. */
  fromFork: boolean;
}

const pullRequestSchema = z.object({
  state: z.enum(['open', 'closed']),
  head: z.object({ sha: z.string(), repo: z.object({ full_name: z.string() }).nullish() }),
  base: z.object({ repo: z.object({ full_name: z.string() }) }),
});

/** Null when GitHub has no such answer for this token; never throws. */
export async function readPullRequest(
  options: GitHubClientOptions,
  { repository, pullRequest }: { repository: string; pullRequest: number },
): Promise<PullRequest | 'unavailable' | null> {
  const [owner = '', repo = ''] = repository.split('/');
  try {
    const api = await loadOctokit(options);
    const { data } = await api.rest.pulls.get({ owner, repo, pull_number: pullRequest });
    const { state, head, base } = pullRequestSchema.parse(data);
    const fromFork = head.repo?.full_name.toLowerCase() !== base.repo.full_name.toLowerCase();
    return { isOpen: state === 'open', head: head.sha, fromFork };
  } catch (error) {
    if (error instanceof z.ZodError) return null;
    const answer = readAnswer(error, options.token);
    return answer === null || answer.status >= 500 || isLimited(answer) ? 'unavailable' : null;
  }
}
