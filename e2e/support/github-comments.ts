/** Comments of issues and pull requests as GitHub stores them. */

import { z } from 'zod';
import { describeUser } from './github-repository.ts';
import { type ApiAnswer, refusal } from './github-statuses.ts';

/** GitHub refuses longer comments: https://docs.github.com/en/rest/issues/comments */
const MAX_BODY_LENGTH = 65_536;
const DEFAULT_PER_PAGE = 30;
const OWN_LOGIN = 'iac-runner-user';

interface IssueComment {
  id: number;
  issue: number;
  login: string;
  body: string;
  /** The number of times it was edited. */
  edits: number;
}

export interface CommentBook {
  /** The comments of one issue or pull request, oldest first. */
  of(issue: number): IssueComment[];
  /** Adds a comment by another user, or by the token's own user. */
  add(issue: number, body: string, login?: string): IssueComment;
  remove(id: number): void;
  /** The login of the token's user. */
  ownLogin: string;
  list(issue: number, query: URLSearchParams): ApiAnswer;
  create(issue: number, body: unknown): ApiAnswer;
  update(id: number, body: unknown): ApiAnswer;
  user(): ApiAnswer;
}

const writtenSchema = z.object({ body: z.string() });

export function createCommentBook(options: {
  apiUrl: () => string;
  fullName: string;
  /** Receives a description of each mistake of a caller. */
  violations: string[];
}): CommentBook {
  const comments: IssueComment[] = [];
  let lastId = 9_000;

  function add(issue: number, body: string, login: string): IssueComment {
    lastId += 1;
    const comment = { id: lastId, issue, login, body, edits: 0 };
    comments.push(comment);
    return comment;
  }

  function show({ id, issue, login, body }: IssueComment): Record<string, unknown> {
    const repository = `${options.apiUrl()}/repos/${options.fullName}`;
    const time = '2026-03-02T09:33:47Z';
    return {
      id,
      node_id: `IC_${id}`,
      url: `${repository}/issues/comments/${id}`,
      html_url: `https://github.com/${options.fullName}/pull/${issue}#issuecomment-${id}`,
      issue_url: `${repository}/issues/${issue}`,
      user: describeUser(login),
      author_association: 'COLLABORATOR',
      created_at: time,
      updated_at: time,
      body,
    };
  }

  function problemWith(body: string): ApiAnswer | null {
    if (body !== '' && body.length <= MAX_BODY_LENGTH) return null;
    const message = body === '' ? "Body can't be blank" : `Body is too long (maximum is ${MAX_BODY_LENGTH})`;
    options.violations.push(`comment: ${message}`);
    return refusal(422, 'Validation Failed', [{ resource: 'IssueComment', code: 'custom', message }]);
  }

  const of = (issue: number): IssueComment[] => comments.filter((comment) => comment.issue === issue);
  return {
    of,
    add: (issue, body, login = 'octocat') => add(issue, body, login),
    remove(id) {
      comments.splice(
        comments.findIndex((comment) => comment.id === id),
        1,
      );
    },
    ownLogin: OWN_LOGIN,
    list(issue, query) {
      const perPage = Number(query.get('per_page') ?? DEFAULT_PER_PAGE);
      const page = Number(query.get('page') ?? 1);
      const all = of(issue);
      const address = `${options.apiUrl()}/repos/${options.fullName}/issues/${issue}/comments`;
      const link = `<${address}?per_page=${perPage}&page=${page + 1}>; rel="next"`;
      return {
        status: 200,
        body: all.slice((page - 1) * perPage, page * perPage).map(show),
        ...(all.length > page * perPage ? { headers: { link } } : {}),
      };
    },
    create(issue, written) {
      const { body } = writtenSchema.parse(written);
      return problemWith(body) ?? { status: 201, body: show(add(issue, body, OWN_LOGIN)) };
    },
    update(id, written) {
      const { body } = writtenSchema.parse(written);
      const comment = comments.find((candidate) => candidate.id === id);
      if (!comment) return refusal(404, 'Not Found');
      if (comment.login !== OWN_LOGIN)
        options.violations.push(`comment ${id} of ${comment.login} was edited`);
      const problem = problemWith(body);
      if (problem) return problem;
      comment.body = body;
      comment.edits += 1;
      return { status: 200, body: show(comment) };
    },
    user: () => ({ status: 200, body: describeOwnUser() }),
  };
}

/** The token's user as GitHub shows it to others. */
function describeOwnUser(): Record<string, unknown> {
  const nothing = { name: null, company: null, location: null, email: null, hireable: null, bio: null };
  const time = '2026-01-05T08:00:00Z';
  const counts = { public_repos: 0, public_gists: 0, followers: 0, following: 0 };
  return {
    ...describeUser(OWN_LOGIN),
    ...nothing,
    ...counts,
    blog: '',
    user_view_type: 'public',
    created_at: time,
    updated_at: time,
  };
}
