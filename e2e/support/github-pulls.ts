/** Pull requests and their reviews as GitHub's API shows them. */

import { describePerson } from './github-people.ts';
import { type ApiAnswer, refusal } from './github-statuses.ts';
import { buildPullRequestPayload } from './pull-request-payload.ts';

export interface PullRequestState {
  number: number;
  /** The full commit id. */
  head: string;
  /** Default: open. */
  state?: 'open' | 'closed';
  /** `owner/name` of the fork that contains the head. */
  fork?: string;
  /** Default: main. */
  base?: string;
  /** The login of the author. Default: octocat. */
  author?: string;
  /** Default: true. Null while GitHub computes the value. */
  mergeable?: boolean | null;
  /** Default: clean, or the value that fits `mergeable`. */
  mergeableState?: string;
}

export interface GivenReview {
  login: string;
  state: 'APPROVED' | 'CHANGES_REQUESTED' | 'COMMENTED' | 'DISMISSED';
  /** The commit that was reviewed. */
  commit: string;
  /** RFC 3339. */
  at: string;
}

export interface PullBook {
  /** From now on, GitHub has the pull request in this state. */
  set(pull: PullRequestState): void;
  review(number: number, review: GivenReview): void;
  get(number: number): ApiAnswer;
  reviews(number: number, query: URLSearchParams): ApiAnswer;
}

const DEFAULT_PER_PAGE = 30;

export function createPullBook(options: { fullName: string; apiUrl: () => string }): PullBook {
  const { fullName } = options;
  const pulls = new Map<number, PullRequestState>();
  const reviews = new Map<number, GivenReview[]>();

  function show(number: number, { login, state, commit, at }: GivenReview, index: number) {
    const page = `https://github.com/${fullName}/pull/${number}`;
    const id = 80_000 + index;
    const html_url = `${page}#pullrequestreview-${id}`;
    const pull_request_url = `${options.apiUrl()}/repos/${fullName}/pulls/${number}`;
    return {
      id,
      node_id: `PRR_${id}`,
      user: describePerson(login),
      body: '',
      state,
      commit_id: commit,
      html_url,
      pull_request_url,
      _links: { html: { href: html_url }, pull_request: { href: pull_request_url } },
      author_association: 'NONE',
      submitted_at: at,
    };
  }

  return {
    set: (pull) => void pulls.set(pull.number, pull),
    review: (number, review) => void reviews.set(number, [...(reviews.get(number) ?? []), review]),
    get(number) {
      const pull = pulls.get(number);
      if (!pull) return refusal(404, 'Not Found');
      const { state = 'open', author = 'octocat', mergeable = true, mergeableState, ...rest } = pull;
      const payload = buildPullRequestPayload({ action: 'opened', fullName, ...rest });
      const mergeable_state =
        mergeableState ?? (mergeable === null ? 'unknown' : mergeable ? 'clean' : 'dirty');
      const user = describePerson(author);
      return {
        status: 200,
        body: { ...Object(payload.pull_request), state, user, mergeable, mergeable_state },
      };
    },
    reviews(number, query) {
      const perPage = Number(query.get('per_page') ?? DEFAULT_PER_PAGE);
      const page = Number(query.get('page') ?? 1);
      const all = reviews.get(number) ?? [];
      const body = all.map((review, index) => show(number, review, index));
      const address = `${options.apiUrl()}/repos/${fullName}/pulls/${number}/reviews`;
      const link = `<${address}?per_page=${perPage}&page=${page + 1}>; rel="next"`;
      return {
        status: 200,
        body: body.slice((page - 1) * perPage, page * perPage),
        ...(all.length > page * perPage ? { headers: { link } } : {}),
      };
    },
  };
}
