/** The one way to GitHub's REST API: Octokit with our limits, and every outcome as a value. */

import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import type { CommitStatus } from '../runs/kinds/kind.ts';
import { type GitHubAnswer, judgeAnswer, judgeSilence, type SendOutcome } from './github-answer.ts';

interface StatusRequest extends CommitStatus {
  owner: string;
  repo: string;
  /** Full commit id. */
  sha: string;
  targetUrl: string;
  /** Refuses the status when the commit has so many that the last ones must be kept for outcomes. */
  keepsRoom?: boolean;
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

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 307, 308]);
const MAX_REDIRECTS = 3;
/** https://docs.github.com/en/rest/commits/statuses#create-a-commit-status */
const MOST_STATUSES = 1_000;
const KEPT_FOR_OUTCOMES = 100;
const CROWDED = 'GitHub takes only 1,000 statuses for a commit; the last ones are kept for outcomes.';

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
  return {
    async setStatus({ owner, repo, sha, state, description, targetUrl, context, keepsRoom = false }) {
      const startedAt = performance.now();
      try {
        const octokit = await loadOctokit(options);
        if (keepsRoom && (await isCrowded(octokit, { owner, repo, ref: sha })))
          return { kind: 'refused', problem: CROWDED };
        const { status, headers, data } = await octokit.rest.repos.createCommitStatus({
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

/**
 * Whether the commit has nearly as many statuses as GitHub takes: 1,000 for each context. Those of all contexts count
 * here, which one request can see.
 */
async function isCrowded(
  octokit: Octokit,
  commit: { owner: string; repo: string; ref: string },
): Promise<boolean> {
  const { data } = await octokit.rest.repos.listCommitStatusesForRef({
    ...commit,
    per_page: 1,
    page: MOST_STATUSES - KEPT_FOR_OUTCOMES,
  });
  return z.array(z.unknown()).nonempty().safeParse(data).success;
}

/** Octokit is loaded with the first status, so that a server starts and idles without it. */
export async function loadOctokit(options: GitHubClientOptions): Promise<Octokit> {
  const { apiUrl, version, timeoutMs = 10_000, fetch = globalThis.fetch } = options;
  const { Octokit } = await import('@octokit/rest');
  const baseUrl = apiUrl.replace(/\/+$/, '');
  const log = { debug: ignore, info: ignore, warn: ignore, error: ignore };
  return new Octokit({
    auth: options.token.trim(),
    baseUrl,
    userAgent: `iac-runner/${version}`,
    log,
    request: {
      log,
      // Octokit has no time limit of its own, and would take the token wherever a redirect leads.
      fetch(url: string, init: RequestInit) {
        const signal = AbortSignal.timeout(timeoutMs);
        const ask = (place: string) => fetch(place, { ...init, redirect: 'manual', signal });
        return fetchWithin(baseUrl, ask, url);
      },
    },
  });
}

/**
 * A renamed repository is answered with its new address, to which the same request is sent again:
 * https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects
 * Only within the same API. Any other redirect is an answer to report.
 */
async function fetchWithin(
  baseUrl: string,
  ask: (url: string) => Promise<Response>,
  url: string,
): Promise<Response> {
  let response = await ask(url);
  for (let hop = 0; hop < MAX_REDIRECTS; hop += 1) {
    const next = REDIRECTS.has(response.status)
      ? placeWithin(baseUrl, response.headers.get('location'))
      : null;
    if (next === null) break;
    await response.body?.cancel();
    response = await ask(next);
  }
  return response;
}

/** The address a redirect leads to, or null when it leads out of the API. */
function placeWithin(baseUrl: string, location: string | null): string | null {
  const place = URL.parse(location ?? '', `${baseUrl}/`);
  if (!location || place === null || place.username !== '' || place.password !== '') return null;
  return place.href.startsWith(`${new URL(baseUrl).href.replace(/\/$/, '')}/`) ? place.href : null;
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
