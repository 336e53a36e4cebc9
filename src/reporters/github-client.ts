/** The one way to GitHub's REST API: Octokit with our limits, and every outcome as a value. */

import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import type { CommitStatus } from './commit-status.ts';
import { type GitHubAnswer, judgeAnswer, judgeSilence, type SendOutcome } from './github-answer.ts';

export interface StatusRequest extends CommitStatus {
  owner: string;
  repo: string;
  /** Full commit id. */
  sha: string;
  targetUrl: string;
  context: string;
}

export interface GitHubClient {
  /** Sets a commit status. Never throws: what went wrong, and when to try again, is in the outcome. */
  setStatus(request: StatusRequest): Promise<SendOutcome>;
}

export interface GitHubClientOptions {
  /** e.g. https://api.github.com */
  apiUrl: string;
  token: string;
  /** Our own version, for the User-Agent that GitHub requires. */
  version: string;
  timeoutMs?: number;
  fetch?: typeof fetch;
}

const Headers = z.record(z.string(), z.coerce.string());

/** Octokit's error: a status of 500 without a response means that there was no answer at all. */
const HttpError = z.object({
  response: z.object({
    status: z.number(),
    headers: Headers,
    data: z.unknown(),
  }),
});

const ErrorBody = z.object({
  message: z.string(),
  errors: z.array(z.object({ message: z.string() })).catch([]),
});

export function createGitHubClient(options: GitHubClientOptions): GitHubClient {
  let octokit: Promise<Octokit> | undefined;
  return {
    async setStatus({ owner, repo, sha, state, description, targetUrl, context }) {
      octokit ??= loadOctokit(options);
      const startedAt = performance.now();
      try {
        const { status, headers, data } = await (await octokit).rest.repos.createCommitStatus({
          owner,
          repo,
          sha,
          state,
          description,
          target_url: targetUrl,
          context,
        });
        // A cut or foreign body comes as text; telling the same status again does no harm.
        const created = z.object({ state: z.literal(state) }).safeParse(data).success;
        if (Number(status) === 201 && created) return { kind: 'ok' };
        return judgeAnswer({ status, headers: Headers.parse(headers), message: '' }, `${owner}/${repo}`);
      } catch (error) {
        const answer = readAnswer(error, options.token);
        if (answer) return judgeAnswer(answer, `${owner}/${repo}`);
        return judgeSilence(describeSilence(error), performance.now() - startedAt);
      }
    },
  };
}

/** Octokit is loaded with the first status, so that a server starts and idles without it. */
export async function loadOctokit(options: GitHubClientOptions): Promise<Octokit> {
  const { apiUrl, version, timeoutMs = 10_000, fetch = globalThis.fetch } = options;
  const { Octokit } = await import('@octokit/rest');
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  return new Octokit({
    auth: options.token.trim(),
    baseUrl: apiUrl.replace(/\/+$/, ''),
    userAgent: `iac-runner/${version}`,
    log,
    request: {
      log,
      // Octokit has no time limit of its own. A redirect is an answer to report, never a place to take the token.
      fetch: (url: string, init: RequestInit) =>
        fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) }),
    },
  });
}

function ignore(): void {}

export function readAnswer(error: unknown, token: string): GitHubAnswer | null {
  const parsed = HttpError.safeParse(error);
  if (!parsed.success) return null;
  const { status, headers, data } = parsed.data.response;
  const body = ErrorBody.safeParse(data);
  const words = body.success ? [body.data.message, ...body.data.errors.map(({ message }) => message)] : [];
  const message = words
    .join(': ')
    .replaceAll(token.trim(), '***')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .slice(0, 200);
  return { status, headers, message };
}

/** Only the code of the failure: messages of failed requests may hold addresses and header values. */
export function describeSilence(error: unknown): string {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current.name === 'TimeoutError') return 'timed out';
    if ('code' in current && typeof current.code === 'string') return current.code;
  }
  return 'no connection';
}
