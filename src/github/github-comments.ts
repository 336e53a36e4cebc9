/** Comments of pull requests on GitHub: ours is found again by its mark, and edited in place. */

import { z } from 'zod';
import { isLimited, judgeAnswer, judgeSilence, type SendOutcome, type Written } from './github-answer.ts';
import { describeSilence, type GitHubClientOptions, loadOctokit, readAnswer } from './github-client.ts';

export interface CommentRequest {
  owner: string;
  repo: string;
  pullRequest: number;
  /** Begins with the mark. */
  body: string;
  mark: string;
  /** What it says is worth saying only where a comment stands already. */
  editsOnly?: boolean;
}

export interface GitHubComments {
  /** Writes the comment, or edits the one there is. Never throws: what went wrong is in the outcome. */
  put(request: CommentRequest): Promise<SendOutcome>;
}

const PER_PAGE = 100;
/** More than any pull request has; for servers that give the same page for ever. */
const MAX_PAGES = 300;
/** With the waits in between that is longer than such a token lasts. */
const TRIES_OF_REQUEST = 12;
const COMMENT: Written = { name: 'comment', permission: 'comments of pull requests' };

const commentsSchema = z.array(
  z.object({
    id: z.number(),
    body: z.string().nullish(),
    user: z.object({ login: z.string(), type: z.string().nullish() }).nullish(),
  }),
);
const writtenSchema = z.object({ id: z.number() });
type Comment = z.output<typeof commentsSchema>[number];
type Octokit = Awaited<ReturnType<typeof loadOctokit>>;

export interface GitHubCommentsOptions extends GitHubClientOptions {
  /** The token came with a request: it runs out, and its troubles are nobody else's. */
  ofRequest?: boolean;
}

export function createGitHubComments(options: GitHubCommentsOptions): GitHubComments {
  let login: string | null = null;

  /** Null for the token of an app, which may not ask who it is; its comments are a bot's. */
  async function ownLogin(api: Octokit): Promise<string | null> {
    try {
      const { data } = await api.rest.users.getAuthenticated();
      login ??= z.object({ login: z.string() }).safeParse(data).data?.login ?? null;
    } catch (error) {
      const answer = readAnswer(error, options.token);
      if (answer?.status !== 403 && answer?.status !== 404) throw error;
      if (isLimited(answer)) throw error;
    }
    return login;
  }

  async function put(request: CommentRequest): Promise<SendOutcome> {
    const startedAt = performance.now();
    try {
      const api = await loadOctokit(options);
      const mine = await findOurs(api, request, await ownLogin(api));
      if (mine === null && request.editsOnly) return { kind: 'ok' };
      if (mine?.body !== request.body) await write(api, request, mine);
      return { kind: 'ok' };
    } catch (error) {
      if (error instanceof z.ZodError)
        return judgeAnswer({ status: 200, headers: {}, message: '' }, '', COMMENT);
      const answer = readAnswer(error, options.token);
      if (!answer) return judgeSilence(describeSilence(error), performance.now() - startedAt);
      const isRefusal = isForGood(answer.status) || (options.ofRequest && answer.status === 401);
      return isRefusal && !isLimited(answer)
        ? { kind: 'refused', problem: refusal(answer.status, answer.message) }
        : judgeAnswer(answer, `${request.owner}/${request.repo}`, COMMENT);
    }
  }

  return {
    async put(request) {
      const outcome = await put(request);
      if (!options.ofRequest || outcome.kind !== 'retry') return outcome;
      const maxTries = Math.min(outcome.maxTries ?? TRIES_OF_REQUEST, TRIES_OF_REQUEST);
      return { ...outcome, scope: 'target', maxTries };
    },
  };
}

/** A comment is a courtesy: what GitHub does not allow, or does not know any more, is not asked for again. */
function isForGood(status: number): boolean {
  return status === 403 || status === 404 || status === 410;
}

function refusal(status: number, message: string): string {
  const said = message ? `HTTP ${status}: ${message}` : `HTTP ${status}`;
  return `GitHub does not take the comment (${said}). The token needs write access to pull requests.`;
}

/** What we write begins with its mark; an earlier service's may hold it further down. */
const ANY_MARK = /^<!-- (iac-runner|runners-poc):/;

/** Anybody can write our mark into a comment, so it must be ours as well. */
async function findOurs(
  api: Octokit,
  request: CommentRequest,
  login: string | null,
): Promise<Comment | null> {
  const isMarked = (body: string): boolean =>
    body.startsWith(request.mark) || (!ANY_MARK.test(body) && body.includes(request.mark));
  const isOurs = ({ body, user }: Comment): boolean =>
    isMarked(body ?? '') && (login === null ? user?.type !== 'User' : user?.login === login);
  const { owner, repo, pullRequest: issue_number } = request;
  for (let page = 1; page <= MAX_PAGES; page += 1) {
    const { data, headers } = await api.rest.issues.listComments({
      owner,
      repo,
      issue_number,
      per_page: PER_PAGE,
      page,
    });
    const comments = commentsSchema.parse(data);
    const ours = comments.find(isOurs);
    if (ours) return ours;
    // Only whether there is more is taken from the link: where requests go is our own affair.
    const isLast = headers.link === undefined ? comments.length < PER_PAGE : !/rel="next"/.test(headers.link);
    if (isLast) return null;
  }
  return null;
}

async function write(api: Octokit, request: CommentRequest, mine: Comment | null): Promise<void> {
  const { owner, repo, pullRequest: issue_number, body } = request;
  const { data } = mine
    ? await api.rest.issues.updateComment({ owner, repo, comment_id: mine.id, body })
    : await api.rest.issues.createComment({ owner, repo, issue_number, body });
  writtenSchema.parse(data);
}
