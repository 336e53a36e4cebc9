/** Opens pull requests on GitHub and merge requests on GitLab with a user's own token. */

import { z } from 'zod';
import { maskToken } from '../runs/job.ts';
import type { RemoteUrlRules } from '../runs/texts/remote-url.ts';
import { SECOND } from '../units.ts';
import { checkOutsideUrl, PrivateAddressError, type Resolve, requestOutside } from './outside-request.ts';

interface ChangeRequest {
  type: 'github' | 'gitlab';
  /** The base of the provider's web pages. */
  origin: string;
  token: string;
  /** Without credentials. */
  repositoryUrl: string;
  /** The new branch. */
  head: string;
  /** The branch to change, or null for the default branch of the repository. */
  base: string | null;
  title: string;
  description: string;
  signal: AbortSignal;
}

type OpenedRequest = { ok: true; url: string } | { ok: false; problem: string };

/** Opens a change request. Never throws. A problem is one sentence without a secret. */
export type OpenChangeRequest = (request: ChangeRequest) => Promise<OpenedRequest>;

export interface ChangeRequestsOptions {
  /** The protocols and hosts that users may name. */
  rules: Omit<RemoteUrlRules, 'what'>;
  /** The API for providers on github.com. */
  githubApiUrl: string;
  version: string;
  timeoutMs?: number;
  /** For tests. */
  resolve?: Resolve;
}

interface Api {
  /** The addresses of the repository, of its open change requests for this branch, and for a new one. */
  repository: string;
  list: string;
  create: string;
  fields(base: string, description: string): Record<string, string>;
}

const TIMEOUT_MS = 15 * SECOND;
const DESCRIPTION_LENGTH = 4_000;

const Repository = z.object({ default_branch: z.string().min(1) });
const Opened = {
  github: z.object({ html_url: z.string() }).transform(({ html_url }) => html_url),
  gitlab: z.object({ web_url: z.string() }).transform(({ web_url }) => web_url),
};
const Problem = z.object({ message: z.unknown().optional(), error: z.unknown().optional() });

class RequestProblem extends Error {}

export function createChangeRequests(options: ChangeRequestsOptions): OpenChangeRequest {
  return async (request) => {
    try {
      return { ok: true, url: await open(options, request) };
    } catch (error) {
      const isKnown = error instanceof RequestProblem || error instanceof PrivateAddressError;
      const problem = isKnown ? error.message : 'The provider did not answer.';
      return { ok: false, problem: problem.replaceAll(request.token, maskToken(request.token)) };
    }
  };
}

/** Returns the address of the new change request, or of the one that is open already. */
async function open(options: ChangeRequestsOptions, request: ChangeRequest): Promise<string> {
  const { type, description: text } = request;
  const api = type === 'gitlab' ? gitlabApi(request) : githubApi(options, request);
  const base = request.base ?? (await defaultBranch(options, request, api.repository));
  const description = text.length > DESCRIPTION_LENGTH ? `${text.slice(0, DESCRIPTION_LENGTH)}…` : text;
  const created = await send(options, request, api.create, api.fields(base, description));
  if (created.status === 201) {
    const url = Opened[type].safeParse(created.body).data;
    if (url !== undefined) return url;
    throw new RequestProblem('The provider gave an answer that is not understood.');
  }
  // An attempt that was cut off may have opened it. GitHub then answers 422, and GitLab 409.
  if (created.status === 422 || created.status === 409) {
    const { body } = await send(options, request, api.list);
    const url = z.tuple([Opened[type]], z.unknown()).safeParse(body).data?.[0];
    if (url !== undefined) return url;
  }
  throw new RequestProblem(`The provider answered ${describe(created)}.`);
}

function nameOf({ repositoryUrl }: ChangeRequest): string {
  return new URL(repositoryUrl).pathname.replace(/^\/+|\/+$/g, '').replace(/\.git$/, '');
}

function gitlabApi(request: ChangeRequest): Api {
  const { origin, head, title } = request;
  const repository = `${origin}/api/v4/projects/${encodeURIComponent(decodeURIComponent(nameOf(request)))}`;
  const create = `${repository}/merge_requests`;
  return {
    repository,
    create,
    list: `${create}?${new URLSearchParams({ state: 'opened', source_branch: head })}`,
    fields: (base, description) => ({ source_branch: head, target_branch: base, title, description }),
  };
}

function githubApi({ githubApiUrl }: ChangeRequestsOptions, request: ChangeRequest): Api {
  const { origin, head, title } = request;
  const [owner = '', repo = '', ...rest] = nameOf(request).split('/');
  if (repo === '' || rest.length > 0) throw new RequestProblem('The repository is not one of GitHub.');
  const isPublic = origin === 'https://github.com';
  const repository = `${isPublic ? githubApiUrl : `${origin}/api/v3`}/repos/${owner}/${repo}`;
  const create = `${repository}/pulls`;
  return {
    repository,
    create,
    list: `${create}?${new URLSearchParams({ state: 'open', head: `${owner}:${head}` })}`,
    fields: (base, body) => ({ title, head, base, body }),
  };
}

interface Answer {
  status: number;
  body: unknown;
}

async function send(
  options: ChangeRequestsOptions,
  { type, token, signal }: ChangeRequest,
  url: string,
  body?: object,
): Promise<Answer> {
  const { version, timeoutMs = TIMEOUT_MS } = options;
  const { status, text } = await requestOutside(url, {
    method: body === undefined ? 'GET' : 'POST',
    ...(body && { body: JSON.stringify(body) }),
    headers: {
      authorization: `Bearer ${token}`,
      accept: type === 'github' ? 'application/vnd.github+json' : 'application/json',
      'user-agent': `iac-runner/${version}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    ...lookupFor(options, url),
  });
  if (text === null) throw new Error('The answer broke off.');
  try {
    return { status, body: JSON.parse(text) };
  } catch {
    return { status, body: null };
  }
}

/** The user names the host. It must be public, or listed by the operator. The operator's own API may be anywhere. */
function lookupFor({ rules, githubApiUrl, resolve }: ChangeRequestsOptions, url: string) {
  if (url.startsWith(`${githubApiUrl}/`)) return {};
  const protocols = rules.protocols.filter((name) => name === 'https' || name === 'http');
  const what = 'The address of the provider';
  const checked = checkOutsideUrl(url, { protocols, hosts: rules.hosts, what }, resolve);
  if (!checked.ok) throw new RequestProblem(checked.problem);
  return checked.lookup && { lookup: checked.lookup };
}

async function defaultBranch(
  options: ChangeRequestsOptions,
  request: ChangeRequest,
  repository: string,
): Promise<string> {
  const answer = await send(options, request, repository);
  const found = Repository.safeParse(answer.body).data;
  if (answer.status === 200 && found) return found.default_branch;
  throw new RequestProblem(`The provider answered ${describe(answer)}.`);
}

function describe({ status, body }: Answer): string {
  const { message, error } = Problem.safeParse(body).data ?? {};
  const problem = message ?? error;
  if (problem === undefined) return `HTTP ${status}`;
  const text = typeof problem === 'string' ? problem : JSON.stringify(problem);
  return `HTTP ${status}: ${text.replace(/[\s\p{Cc}]+/gu, ' ').slice(0, 200)}`;
}
