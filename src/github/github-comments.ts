/** Comments on pull requests. Our comment is found by its mark and edited in place. */

import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import {
  classifyAnswer,
  classifySilence,
  describeAnswer,
  isLimited,
  type SendOutcome,
  type Written,
} from './github-answer.ts';
import {
  describeSilence,
  type GitHubClientOptions,
  isOddAnswer,
  loadOctokit,
  readAnswer,
  readPages,
} from './github-client.ts';

export interface CommentRequest {
  owner: string;
  repo: string;
  pullRequest: number;
  /** Begins with the mark. */
  body: string;
  mark: string;
  /** Does nothing if our comment does not exist yet. */
  editsOnly?: boolean;
}

export interface GitHubComments {
  /** Writes the comment, or edits the existing one. Never throws: the outcome says what went wrong. */
  put(request: CommentRequest): Promise<SendOutcome>;
}

/** This many tries, with the waits between them, take longer than the token of a request is valid. */
const TRIES_OF_REQUEST = 12;
const COMMENT: Written = { name: 'comment', permission: 'comments of pull requests' };
/** We write the mark at the beginning. An earlier service may have written it further down. */
const ANY_MARK = /^<!-- (iac-runner|runners-poc):/;

const commentsSchema = z.array(
  z.object({
    id: z.number(),
    body: z.string().nullish(),
    user: z.object({ login: z.string(), type: z.string().nullish() }).nullish(),
  }),
);
const writtenSchema = z.object({ id: z.number() });
type Comment = z.output<typeof commentsSchema>[number];

export interface GitHubCommentsOptions extends GitHubClientOptions {
  /** The token came with a request. It expires, and its problems concern no other writes. */
  ofRequest?: boolean;
}

export function createGitHubComments(options: GitHubCommentsOptions): GitHubComments {
  const { ofRequest = false, token } = options;
  let login: string | null = null;

  /** Null for the token of an app, which may not ask for its own account. Its comments are those of a bot. */
  async function ownLogin(api: Octokit): Promise<string | null> {
    try {
      const { data } = await api.rest.users.getAuthenticated();
      login ??= z.object({ login: z.string() }).safeParse(data).data?.login ?? null;
    } catch (error) {
      const answer = readAnswer(error, token);
      if (answer?.status !== 403 && answer?.status !== 404) throw error;
      if (isLimited(answer)) throw error;
    }
    return login;
  }

  async function put(request: CommentRequest): Promise<SendOutcome> {
    const startedAt = performance.now();
    try {
      const api = await loadOctokit(options);
      const ours = await findOurs(api, request, await ownLogin(api));
      if (ours === null && request.editsOnly) return { kind: 'ok' };
      if (ours?.body !== request.body) await write(api, request, ours);
      return { kind: 'ok' };
    } catch (error) {
      if (isOddAnswer(error)) return classifyAnswer({ status: 200, headers: {}, message: '' }, '', COMMENT);
      const answer = readAnswer(error, token);
      if (!answer) return classifySilence(describeSilence(error), performance.now() - startedAt);
      // Comments are not promised. We do not ask again for what GitHub does not allow or does not know.
      const refusals = [403, 404, 410, ...(ofRequest ? [401] : [])];
      if (!refusals.includes(answer.status) || isLimited(answer))
        return classifyAnswer(answer, `${request.owner}/${request.repo}`, COMMENT);
      const problem = `GitHub does not take the comment (${describeAnswer(answer)}). The token needs write access to pull requests.`;
      return { kind: 'refused', problem };
    }
  }

  return {
    async put(request) {
      const outcome = await put(request);
      if (!ofRequest || outcome.kind !== 'retry') return outcome;
      const maxTries = Math.min(outcome.maxTries ?? TRIES_OF_REQUEST, TRIES_OF_REQUEST);
      return { ...outcome, scope: 'target', maxTries };
    },
  };
}

/** Anybody can write our mark into a comment, so the author must be us as well. */
async function findOurs(
  api: Octokit,
  request: CommentRequest,
  login: string | null,
): Promise<Comment | null> {
  const { owner, repo, pullRequest: issue_number, mark } = request;
  const isMarked = (body: string): boolean =>
    body.startsWith(mark) || (!ANY_MARK.test(body) && body.includes(mark));
  const isOurs = ({ body, user }: Comment): boolean =>
    isMarked(body ?? '') && (login === null ? user?.type !== 'User' : user?.login === login);
  const pages = readPages(commentsSchema, (page) =>
    api.rest.issues.listComments({ owner, repo, issue_number, ...page }),
  );
  for await (const comments of pages) {
    const ours = comments.find(isOurs);
    if (ours) return ours;
  }
  return null;
}

async function write(api: Octokit, request: CommentRequest, ours: Comment | null): Promise<void> {
  const { owner, repo, pullRequest: issue_number, body } = request;
  const { data } = ours
    ? await api.rest.issues.updateComment({ owner, repo, comment_id: ours.id, body })
    : await api.rest.issues.createComment({ owner, repo, issue_number, body });
  writtenSchema.parse(data);
}
