/** The checks of the local GitHub before it acts on a request: headers, token, and the description. */

import type { IncomingHttpHeaders } from 'node:http';
import { type CheckResult, githubContract } from './github-contract.ts';
import { type ApiAnswer, refusal } from './github-statuses.ts';

export interface Caller {
  method: string;
  /** The path with the query. */
  url: string;
  headers: IncomingHttpHeaders;
  body: unknown;
}

/** Either the checked request, or the answer that refuses it. A `violation` describes a mistake of the caller. */
export type Admission =
  | { admitted: true; result: CheckResult }
  | { admitted: false; answer: ApiAnswer; violation: string | null };

/** https://docs.github.com/en/rest/about-the-rest-api/api-versions */
const API_VERSIONS = ['2022-11-28', '2026-03-10'];
const ACCEPTABLE = /^(\*\/\*|application\/(json|vnd\.github(\.[\w+-]+)*(\+json)?))$/;

/** Checks in GitHub's order: user agent, token, media type, version, route, parameters and body, repository. */
export function admit(caller: Caller, options: { token: string; fullName: string }): Admission {
  const headerProblem = checkHeaders(caller.headers, options.token);
  if (headerProblem) return headerProblem;
  const url = new URL(caller.url, 'http://github.invalid');
  const result = githubContract().check({
    method: caller.method,
    path: url.pathname,
    query: url.searchParams,
    body: caller.body,
  });
  if (!result)
    return refuse(refusal(404, 'Not Found'), `${caller.method} ${url.pathname}: GitHub has no such route`);
  if (result.problems.length > 0) {
    const errors = result.problems.map((message) => ({ code: 'custom', message }));
    const violation = `${caller.method} ${url.pathname}: ${result.problems.join('; ')}`;
    return refuse(refusal(422, 'Validation Failed', errors), violation);
  }
  const { owner, repo } = result.parameters;
  // Some routes are not about a repository.
  if (owner !== undefined && `${owner}/${repo}`.toLowerCase() !== options.fullName.toLowerCase())
    return refuse(refusal(404, 'Not Found'));
  return { admitted: true, result };
}

function refuse(answer: ApiAnswer, violation: string | null = null): Admission {
  return { admitted: false, answer, violation };
}

function checkHeaders(headers: IncomingHttpHeaders, token: string): Admission | null {
  if (!headers['user-agent']) {
    const message =
      'Request forbidden by administrative rules. Please make sure your request has a User-Agent header';
    return refuse(refusal(403, message), 'no User-Agent header');
  }
  const given = /^(?:bearer|token) (.+)$/i.exec(headers.authorization ?? '')?.[1];
  if (given === undefined) return refuse(refusal(401, 'Requires authentication'));
  if (given !== token) return refuse(refusal(401, 'Bad credentials'));
  const accept = headers.accept;
  if (
    accept !== undefined &&
    !accept.split(',').every((type) => ACCEPTABLE.test(type.split(';')[0]?.trim() ?? ''))
  ) {
    return refuse(refusal(415, `Unsupported 'Accept' header: '${accept}'.`), `Accept: ${accept}`);
  }
  const version = headers['x-github-api-version'];
  if (version !== undefined && !API_VERSIONS.includes(String(version))) {
    return refuse(refusal(400, 'Unsupported version'), `X-GitHub-Api-Version: ${version}`);
  }
  return null;
}
