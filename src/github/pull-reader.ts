/** Asks GitHub about a pull request, its reviews, and who may write to its repository. */

import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import { isLimited } from './github-answer.ts';
import { type GitHubClientOptions, loadOctokit, readAnswer, readPages } from './github-client.ts';

/** None of these throws. `unavailable` means that GitHub gives no answer now, but may give one later. */
export interface PullReader {
  /** Null if the token can see no such pull request. */
  pull(): Promise<PullDetails | null | 'unavailable'>;
  /** All reviews, oldest first. */
  reviews(): Promise<Review[] | 'unavailable'>;
  /** True if the account may write to the repository, directly or through a team or the organisation. */
  mayWrite(person: Person): Promise<boolean | 'unavailable'>;
}

/** GitHub reports `maintain` as `write`: https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user */
const WRITERS: ReadonlySet<string> = new Set(['admin', 'maintain', 'write']);

const personSchema = z.object({ id: z.number(), login: z.string() });
const pullSchema = z
  .object({
    state: z.enum(['open', 'closed']),
    draft: z.boolean().nullish(),
    head: z.object({
      sha: z.string().regex(/^[0-9a-f]{40}$/),
      ref: z.string(),
      repo: z.object({ full_name: z.string() }).nullish(),
    }),
    base: z.object({ ref: z.string(), repo: z.object({ full_name: z.string() }) }),
    user: personSchema.nullable(),
    mergeable: z.boolean().nullish(),
    mergeable_state: z.string().nullish(),
  })
  .transform(({ state, draft, head, base, user, mergeable, mergeable_state }) => ({
    isOpen: state === 'open',
    isDraft: draft === true,
    /** Full commit id. */
    head: head.sha,
    /** The head is in another repository than the base, or its repository was deleted. */
    fromFork: head.repo?.full_name.toLowerCase() !== base.repo.full_name.toLowerCase(),
    headRef: head.ref,
    baseRef: base.ref,
    author: user,
    /** Null until GitHub has worked it out. */
    mergeable: mergeable ?? null,
    /** GitHub's word for what prevents a merge: `clean`, `blocked`, `behind`, `dirty`, `unstable`, … */
    mergeableState: mergeable_state ?? 'unknown',
  }));
const reviewsSchema = z.array(
  z
    .object({
      user: personSchema.nullable(),
      state: z.string(),
      commit_id: z.string().nullish(),
      submitted_at: z.string().nullish(),
    })
    .transform(({ user, state, commit_id, submitted_at }) => ({
      /** Null for a deleted account. */
      reviewer: user,
      state,
      /** The commit that was reviewed, or null. */
      commit: commit_id ?? null,
      /** Milliseconds since the epoch. */
      submittedAt: Date.parse(submitted_at ?? ''),
    })),
);
const permissionSchema = z.object({ permission: z.string(), user: personSchema.nullable() });

export type Person = z.output<typeof personSchema>;
export type PullDetails = z.output<typeof pullSchema>;
export type Review = z.output<typeof reviewsSchema>[number];

export interface PullReaderOptions extends GitHubClientOptions {
  /** The token came with a request. A token that is refused once will be refused again. */
  ofRequest?: boolean;
}

export function createPullReader(
  options: PullReaderOptions,
  { repository, pullRequest: pull_number }: { repository: string; pullRequest: number },
): PullReader {
  const [owner = '', repo = ''] = repository.split('/');

  /** Returns `otherwise` if GitHub definitely has no such thing for this token. */
  async function ask<T, U>(
    question: (api: Octokit) => Promise<T>,
    otherwise: U,
  ): Promise<T | U | 'unavailable'> {
    try {
      return await question(await loadOctokit(options));
    } catch (error) {
      return isDefinite(error, options) ? otherwise : 'unavailable';
    }
  }

  return {
    pull: () =>
      ask(
        async (api) => pullSchema.parse((await api.rest.pulls.get({ owner, repo, pull_number })).data),
        null,
      ),
    reviews: () => ask((api) => readReviews(api, { owner, repo, pull_number }), 'unavailable' as const),
    mayWrite: ({ id, login: username }) =>
      ask(async (api) => {
        const { data } = await api.rest.repos.getCollaboratorPermissionLevel({ owner, repo, username });
        const { permission, user } = permissionSchema.parse(data);
        return user?.id === id && WRITERS.has(permission);
      }, false),
  };
}

function isDefinite(error: unknown, { token, ofRequest = false }: PullReaderOptions): boolean {
  const answer = readAnswer(error, token);
  if (answer === null) return ofRequest && error instanceof z.ZodError;
  if (isLimited(answer)) return false;
  return ofRequest ? answer.status < 500 : [403, 404, 410, 422].includes(answer.status);
}

/** An objection could be among the reviews that are missing, so this returns all of them or throws. */
async function readReviews(
  api: Octokit,
  pull: { owner: string; repo: string; pull_number: number },
): Promise<Review[]> {
  const reviews: Review[] = [];
  const pages = readPages(reviewsSchema, (page) => api.rest.pulls.listReviews({ ...pull, ...page }));
  // A review that is still being written has no time.
  for await (const page of pages)
    reviews.push(...page.filter(({ submittedAt }) => !Number.isNaN(submittedAt)));
  return reviews;
}
