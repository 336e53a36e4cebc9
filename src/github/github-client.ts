/** The one way to GitHub's REST API: Octokit with our limits. */

import type { Octokit } from '@octokit/rest';
import { z } from 'zod';
import { SECOND } from '../units.ts';
import { type GitHubAnswer, oneLine } from './github-answer.ts';

export interface GitHubClientOptions {
  /** For example https://api.github.com. */
  apiUrl: string;
  token: string;
  /** Our own version, for the User-Agent that GitHub requires. */
  version: string;
  timeoutMs?: number;
  fetch?: typeof fetch;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 307, 308]);
const MAX_REDIRECTS = 3;
const PER_PAGE = 100;
/** Our lists are never longer. The limit is for servers that give the same page for ever. */
const MAX_PAGES = 300;

export const Headers = z.record(z.string(), z.coerce.string());

/** Octokit's error. A status of 500 without a response means that there was no answer at all. */
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

/** Loads Octokit when it is first needed, so that a server starts and idles without it. */
export async function loadOctokit(options: GitHubClientOptions): Promise<Octokit> {
  const { apiUrl, version, timeoutMs = 10 * SECOND, fetch = globalThis.fetch } = options;
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
      // Octokit has no time limit of its own, and would send the token to the target of any redirect.
      fetch(url: string, init: RequestInit) {
        const signal = AbortSignal.timeout(timeoutMs);
        const ask = (place: string) => fetch(place, { ...init, redirect: 'manual', signal });
        return fetchWithin(baseUrl, ask, url);
      },
    },
  });
}

/**
 * Sends the same request again to the new address of a renamed repository, if that address is within the same API. Any
 * other redirect is returned as the answer.
 * https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#follow-redirects
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

/** The address that a redirect leads to, or null if it leads out of the API. */
function placeWithin(baseUrl: string, location: string | null): string | null {
  const place = URL.parse(location ?? '', `${baseUrl}/`);
  if (!location || place === null || place.username !== '' || place.password !== '') return null;
  return place.href.startsWith(`${new URL(baseUrl).href.replace(/\/$/, '')}/`) ? place.href : null;
}

function ignore(): void {}

class TooManyPagesError extends Error {}

/** True if GitHub answered with what its description does not promise: another form, or a list without an end. */
export function isOddAnswer(error: unknown): boolean {
  return error instanceof z.ZodError || error instanceof TooManyPagesError;
}

/**
 * Reads a list page by page. The link header only says whether there is another page: its address is not used, so that
 * an answer cannot choose where the next request goes. Throws an error for isOddAnswer if the list is too long.
 */
export async function* readPages<T>(
  schema: z.ZodType<T[]>,
  read: (page: { per_page: number; page: number }) => Promise<{ data: unknown; headers: { link?: string } }>,
): AsyncGenerator<T[]> {
  for (let page = 1; page <= MAX_PAGES; page += 1) {
    const { data, headers } = await read({ per_page: PER_PAGE, page });
    const items = schema.parse(data);
    yield items;
    const isLast = headers.link === undefined ? items.length < PER_PAGE : !/rel="next"/.test(headers.link);
    if (isLast) return;
  }
  throw new TooManyPagesError('The list has more pages than can be read.');
}

/** Reads GitHub's answer from Octokit's error. Returns null if there was no answer. */
export function readAnswer(error: unknown, token: string): GitHubAnswer | null {
  const parsed = HttpError.safeParse(error);
  if (!parsed.success) return null;
  const { status, headers, data } = parsed.data.response;
  const body = ErrorBody.safeParse(data);
  const words = body.success ? [body.data.message, ...body.data.errors.map(({ message }) => message)] : [];
  return { status, headers, message: oneLine(words.join(': ').replaceAll(token.trim(), '***')) };
}

/** Names only the code of a failed request, because its message may hold addresses and header values. */
export function describeSilence(error: unknown): string {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current.name === 'TimeoutError') return 'timed out';
    if ('code' in current && typeof current.code === 'string') return current.code;
  }
  return 'no connection';
}
