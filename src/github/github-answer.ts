/** What GitHub's answer to a written status means for the next try, by GitHub's own rules. Pure. */

/** The result of a try. A `problem` is one line for a person and never holds a secret. */
export type SendOutcome =
  | { kind: 'ok' }
  | {
      kind: 'retry';
      /** The shortest wait before the next try. Whoever retries lets it grow when it fails again. */
      afterMs: number;
      /** Which other writes are as likely to fail and must wait too: none, those of the same kind, or all. */
      scope: 'target' | 'kind' | 'everything';
      /** How many tries that fail in this same way are worth it, or null for as many as it takes. */
      maxTries: number | null;
      problem: string;
    }
  | { kind: 'refused'; problem: string };

export interface GitHubAnswer {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  /** GitHub's own words, one line, or empty. */
  message: string;
}

/** What was to be written, in the words of a problem. */
export interface Written {
  name: string;
  permission: string;
}

const STATUS: Written = { name: 'status', permission: 'commit statuses' };

const SECOND = 1_000;
const MINUTE = 60_000;
const DAY = 86_400_000;
/** With pauses that grow to 15 minutes these take a day. */
const MAX_TRIES = 100;

/**
 * Judges an answer that is not the created status. Rules:
 * https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#handle-rate-limit-errors-appropriately
 */
export function judgeAnswer(answer: GitHubAnswer, repository: string, what: Written = STATUS): SendOutcome {
  const { status } = answer;
  const said = answer.message ? `HTTP ${status}: ${answer.message}` : `HTTP ${status}`;
  const retry = { kind: 'retry', scope: 'target', afterMs: SECOND, maxTries: null } as const;
  const few = { ...retry, maxTries: MAX_TRIES } as const;

  if (status === 403 || status === 429) return judgeLimit(answer, said, what);
  if (status === 401) {
    const problem = `GitHub does not accept the token (${said}). Check GITHUB_TOKEN.`;
    return { ...retry, scope: 'everything', afterMs: MINUTE, problem };
  }
  if (status >= 500) {
    // A plain 500 may be about this one commit; the others say that nobody is served.
    const scope = status === 500 ? 'target' : 'everything';
    return {
      ...retry,
      scope,
      afterMs: askedWaitMs(answer.headers) ?? SECOND,
      problem: `GitHub failed (${said}).`,
    };
  }
  if (status === 404) {
    const advice = 'Check GITHUB_REPOSITORY and what GITHUB_TOKEN may access.';
    return {
      ...retry,
      scope: 'kind',
      afterMs: 2 * SECOND,
      problem: `The token cannot see ${repository} (${said}). ${advice}`,
    };
  }
  if (status === 422 && /no commit found/i.test(answer.message)) {
    // The API's replicas may not know a commit yet that was pushed a moment ago.
    return { ...few, afterMs: 4 * SECOND, problem: `GitHub does not know the commit (${said}).` };
  }
  if (status >= 300 && status < 400) {
    return {
      ...retry,
      scope: 'kind',
      afterMs: 2 * SECOND,
      problem: `${repository} has moved (${said}). Set GITHUB_REPOSITORY to its present name.`,
    };
  }
  if (status < 300)
    return { ...retry, problem: `GitHub's answer was not the written ${what.name} (${said}).` };
  if (status === 408 || status === 409)
    return { ...few, problem: `GitHub could not take the ${what.name} (${said}).` };
  return { kind: 'refused', problem: `GitHub refused the ${what.name} (${said}).` };
}

function judgeLimit(answer: GitHubAnswer, said: string, what: Written): SendOutcome {
  const asked = askedWaitMs(answer.headers);
  const limited = isLimited(answer);
  const problem = limited
    ? `GitHub asks to wait before the next ${what.name} (${said}).`
    : `GitHub does not let the token write ${what.permission} (${said}). Check the permissions of GITHUB_TOKEN.`;
  const scope = limited ? 'everything' : 'kind';
  return { kind: 'retry', scope, maxTries: null, afterMs: asked ?? MINUTE, problem };
}

/** Whether a 403 or 429 is about how much is asked for, not about who may. */
export function isLimited({ status, headers, message }: GitHubAnswer): boolean {
  return status === 429 || askedWaitMs(headers) !== null || /rate limit|abuse/i.test(message);
}

/** The wait the headers ask for, in ms, or null when they ask for none. */
export function askedWaitMs(headers: Record<string, string>): number | null {
  const now = Date.parse(headers.date ?? '') || Date.now();
  const retryAfter = headers['retry-after'];
  if (retryAfter !== undefined) {
    const wait = /^\d+$/.test(retryAfter) ? Number(retryAfter) * SECOND : Date.parse(retryAfter) - now;
    if (!Number.isNaN(wait)) return bounded(wait);
  }
  const reset = headers['x-ratelimit-reset'];
  if (headers['x-ratelimit-remaining'] === '0' && reset !== undefined && /^\d+$/.test(reset)) {
    // GitHub's own date, where given, keeps a wrong clock here out of it.
    return bounded(Number(reset) * SECOND - now);
  }
  return null;
}

function bounded(waitMs: number): number {
  return Math.ceil(Math.min(DAY, Math.max(SECOND, waitMs)));
}

/**
 * Judges a request without an answer: refused, reset or timed out after `elapsedMs`. GitHub gives a request up
 * after 10 s, so the next try waits until then: what was sent now cannot take effect after what is sent later.
 * https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#timeouts
 */
export function judgeSilence(cause: string, elapsedMs: number): SendOutcome {
  return {
    kind: 'retry',
    scope: 'everything',
    // Whole milliseconds: the store takes nothing else.
    afterMs: Math.ceil(Math.max(5 * SECOND, 10 * SECOND - elapsedMs)),
    maxTries: null,
    problem: `GitHub did not answer (${cause}). Check the network and GITHUB_API_URL.`,
  };
}
