/** What GitHub says of a pull request, its reviews, and who may write: asked before a command is obeyed. */

import { z } from 'zod';
import { isLimited } from './github-answer.ts';
import { type GitHubClientOptions, loadOctokit, readAnswer } from './github-client.ts';

export interface Person {
  id: number;
  login: string;
}

export interface PullDetails {
  isOpen: boolean;
  isDraft: boolean;
  /** Full commit id. */
  head: string;
  /** The head is in another repository than the base, or in one that is gone. */
  fromFork: boolean;
  headRef: string;
  baseRef: string;
  author: Person | null;
  /** Null as long as GitHub works it out. */
  mergeable: boolean | null;
  /** Which rules of the branch stand against it: `clean`, `blocked`, `behind`, `dirty`, `unstable`, … */
  mergeableState: string;
}

export interface Review {
  /** Null for an account that is gone. */
  reviewer: Person | null;
  state: string;
  /** The commit that was looked at, or null. */
  commit: string | null;
  /** Milliseconds since the epoch. */
  submittedAt: number;
}

/** None of these throws; `unavailable` means that GitHub may know and does not answer now. */
export interface PullReader {
  /** Null when there is no such pull request for this token. */
  pull(): Promise<PullDetails | null | 'unavailable'>;
  /** All of them, oldest first. */
  reviews(): Promise<Review[] | 'unavailable'>;
  /** Whether this very account may write to the repository, also through teams and the organisation. */
  mayWrite(person: Person): Promise<boolean | 'unavailable'>;
}

const PER_PAGE = 100;
/** More than any pull request has; for servers that give the same page for ever. */
const MAX_PAGES = 300;
/** `maintain` is `write` here: https://docs.github.com/en/rest/collaborators/collaborators#get-repository-permissions-for-a-user */
const WRITERS: ReadonlySet<string> = new Set(['admin', 'maintain', 'write']);

const personSchema = z.object({ id: z.number(), login: z.string() });
const pullSchema = z.object({
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
});
const reviewsSchema = z.array(
  z.object({
    user: personSchema.nullable(),
    state: z.string(),
    commit_id: z.string().nullish(),
    submitted_at: z.string().nullish(),
  }),
);
const permissionSchema = z.object({ permission: z.string(), user: personSchema.nullable() });

type Octokit = Awaited<ReturnType<typeof loadOctokit>>;

export function createPullReader(
  options: GitHubClientOptions,
  { repository, pullRequest: pull_number }: { repository: string; pullRequest: number },
): PullReader {
  const [owner = '', repo = ''] = repository.split('/');

  /** `otherwise` when GitHub has no such thing for this token. */
  async function ask<T, U>(
    question: (api: Octokit) => Promise<T>,
    otherwise: U,
  ): Promise<T | U | 'unavailable'> {
    try {
      return await question(await loadOctokit(options));
    } catch (error) {
      const status = readAnswer(error, options.token);
      const isDefinite =
        status !== null && [403, 404, 410, 422].includes(status.status) && !isLimited(status);
      return isDefinite ? otherwise : 'unavailable';
    }
  }

  return {
    pull: () =>
      ask(async (api) => describePull((await api.rest.pulls.get({ owner, repo, pull_number })).data), null),
    reviews: () => ask((api) => readReviews(api, { owner, repo, pull_number }), 'unavailable' as const),
    mayWrite: ({ id, login: username }) =>
      ask(async (api) => {
        const { data } = await api.rest.repos.getCollaboratorPermissionLevel({ owner, repo, username });
        const { permission, user } = permissionSchema.parse(data);
        return user?.id === id && WRITERS.has(permission);
      }, false),
  };
}

function describePull(data: unknown): PullDetails {
  const { state, draft, head, base, user, mergeable, mergeable_state } = pullSchema.parse(data);
  return {
    isOpen: state === 'open',
    isDraft: draft === true,
    head: head.sha,
    fromFork: head.repo?.full_name.toLowerCase() !== base.repo.full_name.toLowerCase(),
    headRef: head.ref,
    baseRef: base.ref,
    author: user,
    mergeable: mergeable ?? null,
    mergeableState: mergeable_state ?? 'unknown',
  };
}

/** Half of the reviews could hide an objection, so it is all of them or an error. */
async function readReviews(
  api: Octokit,
  pull: { owner: string; repo: string; pull_number: number },
): Promise<Review[]> {
  const reviews: Review[] = [];
  for (let page = 1; page <= MAX_PAGES; page += 1) {
    const { data, headers } = await api.rest.pulls.listReviews({ ...pull, per_page: PER_PAGE, page });
    const found = reviewsSchema.parse(data);
    for (const { user, state, commit_id, submitted_at } of found) {
      const submittedAt = Date.parse(submitted_at ?? '');
      // One that is still being written has no time.
      if (Number.isNaN(submittedAt)) continue;
      reviews.push({ reviewer: user, state, commit: commit_id ?? null, submittedAt });
    }
    const isLast = headers.link === undefined ? found.length < PER_PAGE : !/rel="next"/.test(headers.link);
    if (isLast) return reviews;
  }
  throw new Error('There are more reviews than can be read.');
}
