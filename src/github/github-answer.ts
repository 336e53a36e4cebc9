/** Decides from GitHub's answer to a write whether and when to try again, by GitHub's own rules. Pure. */

import { DAY, MINUTE, SECOND } from '../units.ts';

/** The result of a try. A `problem` is one line for a person and never holds a secret. */
export type SendOutcome =
  | { kind: 'ok' }
  | {
      kind: 'retry';
      /** The shortest wait before the next try. The caller lets it grow with each failure. */
      afterMs: number;
      /**
       * Which other writes are likely to fail as well, and must wait: none, those of the same kind to the repository, all
       * to the repository, or all.
       */
      scope: 'target' | 'kind' | 'repository' | 'everything';
      /** How often a write may fail in this same way before it is given up. Null means that there is no limit. */
      maxTries: number | null;
      /** Set if nothing was sent, so that nothing is known about GitHub. */
      isUnsent?: true;
      problem: string;
    }
  | { kind: 'refused'; problem: string };

export type RetryOutcome = Extract<SendOutcome, { kind: 'retry' }>;

export interface GitHubAnswer {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  /** GitHub's own words in one line, or an empty text. */
  message: string;
}

/** The thing that was to be written, as problems name it. */
export interface Written {
  name: string;
  permission: string;
}

const STATUS: Written = { name: 'status', permission: 'commit statuses' };

const MOST_CHARACTERS = 200;
/** This many tries take a day, because the pauses grow to 15 minutes. */
const MAX_TRIES = 100;

/**
 * Classifies an answer other than the success that was expected. The rules:
 * https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately
 */
export function classifyAnswer(
  answer: GitHubAnswer,
  repository: string,
  written: Written = STATUS,
): Exclude<SendOutcome, { kind: 'ok' }> {
  const { status, headers } = answer;
  const said = describeAnswer(answer);
  if (status === 403 || status === 429) return classifyLimit(answer, written);
  if (status === 401) {
    // Another repository may have another token.
    const problem = `GitHub does not accept the token for ${repository} (${said}). Check GITHUB_TOKEN.`;
    return retry(problem, { scope: 'repository', afterMs: MINUTE });
  }
  if (status >= 500) {
    // A plain 500 may be about this one commit. Other codes mean that GitHub serves nobody.
    const scope = status === 500 ? 'target' : 'everything';
    return retry(`GitHub failed (${said}).`, { scope, afterMs: askedWaitMs(headers) ?? SECOND });
  }
  if (status === 404) {
    const advice = 'Check GITHUB_REPOSITORY and what GITHUB_TOKEN may access.';
    const problem = `The token cannot see ${repository} (${said}). ${advice}`;
    return retry(problem, { scope: 'kind', afterMs: 2 * SECOND });
  }
  if (status === 422 && /no commit found/i.test(answer.message)) {
    // A replica of the API may not know a commit that was pushed a moment ago.
    const problem = `GitHub does not know the commit (${said}).`;
    return retry(problem, { maxTries: MAX_TRIES, afterMs: 4 * SECOND });
  }
  if (status >= 300 && status < 400) {
    const problem = `${repository} has moved (${said}). Set GITHUB_REPOSITORY to its present name.`;
    return retry(problem, { scope: 'kind', afterMs: 2 * SECOND });
  }
  if (status < 300) return retry(`GitHub's answer was not the written ${written.name} (${said}).`);
  if (status === 408 || status === 409)
    return retry(`GitHub could not take the ${written.name} (${said}).`, { maxTries: MAX_TRIES });
  return { kind: 'refused', problem: `GitHub refused the ${written.name} (${said}).` };
}

function classifyLimit(answer: GitHubAnswer, { name, permission }: Written): RetryOutcome {
  const said = describeAnswer(answer);
  const limited = isLimited(answer);
  const problem = limited
    ? `GitHub asks to wait before the next ${name} (${said}).`
    : `GitHub does not let the token write ${permission} (${said}). Check the permissions of GITHUB_TOKEN.`;
  return retry(problem, {
    scope: limited ? 'everything' : 'kind',
    afterMs: askedWaitMs(answer.headers) ?? MINUTE,
  });
}

/**
 * Classifies a request without an answer, which was refused, reset or timed out after `elapsedMs`. GitHub gives a request
 * up after 10 s. The next try waits until then, so that this request cannot take effect after the next one.
 * https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#timeouts
 */
export function classifySilence(cause: string, elapsedMs: number): RetryOutcome {
  return retry(`GitHub did not answer (${cause}). Check the network and GITHUB_API_URL.`, {
    scope: 'everything',
    // The store takes whole milliseconds only.
    afterMs: Math.ceil(Math.max(5 * SECOND, 10 * SECOND - elapsedMs)),
  });
}

/** Classifies a token that could not be read. Its file may be about to be replaced. */
export function classifyMissingToken(problem: string): RetryOutcome {
  return retry(oneLine(problem), { scope: 'repository', afterMs: MINUTE, isUnsent: true });
}

function retry(problem: string, differences: Partial<RetryOutcome> = {}): RetryOutcome {
  return { kind: 'retry', scope: 'target', afterMs: SECOND, maxTries: null, ...differences, problem };
}

/** A problem is one short line, whatever others wrote. */
export function oneLine(text: string): string {
  return text.replace(/[\s\p{Cc}]+/gu, ' ').slice(0, MOST_CHARACTERS);
}

export function describeAnswer({ status, message }: GitHubAnswer): string {
  return message ? `HTTP ${status}: ${message}` : `HTTP ${status}`;
}

/** True if a 403 or 429 is about the number of requests, not about permissions. */
export function isLimited({ status, headers, message }: GitHubAnswer): boolean {
  return status === 429 || askedWaitMs(headers) !== null || /rate limit|abuse/i.test(message);
}

/** The wait that the headers ask for, in ms, or null if they ask for none. */
export function askedWaitMs(headers: Record<string, string>): number | null {
  // GitHub's own date, if it is there, keeps a wrong clock of this machine out of the calculation.
  const now = Date.parse(headers.date ?? '') || Date.now();
  const retryAfter = headers['retry-after'];
  if (retryAfter !== undefined) {
    const wait = /^\d+$/.test(retryAfter) ? Number(retryAfter) * SECOND : Date.parse(retryAfter) - now;
    if (!Number.isNaN(wait)) return bounded(wait);
  }
  const reset = headers['x-ratelimit-reset'];
  if (headers['x-ratelimit-remaining'] === '0' && reset !== undefined && /^\d+$/.test(reset))
    return bounded(Number(reset) * SECOND - now);
  return null;
}

function bounded(waitMs: number): number {
  return Math.ceil(Math.min(DAY, Math.max(SECOND, waitMs)));
}
