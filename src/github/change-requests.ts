/** Opens pull requests on GitHub and merge requests on GitLab with a user's own token. */

import { lookup } from 'node:dns/promises';
import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { z } from 'zod';
import { maskToken } from '../runs/job.ts';
import { checkRemoteUrl } from '../runs/texts/remote-url.ts';
import { createPublicLookup, PrivateAddressError, type Resolve } from './public-lookup.ts';

interface ChangeRequest {
  type: 'github' | 'gitlab';
  /** Base of the provider's web pages. */
  origin: string;
  token: string;
  /** Without credentials. */
  repositoryUrl: string;
  /** The new branch. */
  head: string;
  /** The branch to change; null: the one that the repository shows first. */
  base: string | null;
  title: string;
  description: string;
  signal: AbortSignal;
}

type OpenedRequest = { ok: true; url: string } | { ok: false; problem: string };

export interface ChangeRequests {
  /** Finds the one that is open already. Never throws: a problem is one sentence without a secret. */
  open(request: ChangeRequest): Promise<OpenedRequest>;
}

export interface ChangeRequestsOptions {
  /** What users may name: URLs with these schemes and hosts. */
  rules: { protocols: readonly string[]; hosts: readonly string[] };
  /** The API for providers on github.com. */
  githubApiUrl: string;
  version: string;
  timeoutMs?: number;
  /** For tests. */
  resolve?: Resolve;
}

const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 1024 * 1024;
const resolveAll: Resolve = (host) => lookup(host, { all: true });
const DESCRIPTION_LENGTH = 4_000;

const Repository = z.object({ default_branch: z.string().min(1) });
const Pull = z.object({ html_url: z.string() });
const Merge = z.object({ web_url: z.string() });
const Problem = z.object({ message: z.unknown().optional(), error: z.unknown().optional() });

/** One API: where it is, and how it names things. */
interface Api {
  repository: string;
  list: string;
  create: string;
  fields(base: string, request: ChangeRequest, description: string): Record<string, string>;
  urlOf(answer: unknown): string | null;
}

class RequestProblem extends Error {}

export function createChangeRequests(options: ChangeRequestsOptions): ChangeRequests {
  return {
    async open(request) {
      try {
        return { ok: true, url: await openOne(options, request) };
      } catch (error) {
        const isKnown = error instanceof RequestProblem || error instanceof PrivateAddressError;
        const problem = isKnown ? error.message : 'The provider did not answer.';
        return { ok: false, problem: problem.replaceAll(request.token, maskToken(request.token)) };
      }
    },
  };
}

async function openOne(options: ChangeRequestsOptions, request: ChangeRequest): Promise<string> {
  const api = apiOf(options, request);
  const way = lookupFor(options, api.repository);
  const ask = (url: string, body?: object) => send(options, request, { url, lookup: way }, body);
  const base = request.base ?? (await defaultBranch(ask, api.repository));
  const text = request.description;
  const description = text.length > DESCRIPTION_LENGTH ? `${text.slice(0, DESCRIPTION_LENGTH)}…` : text;
  const created = await ask(api.create, api.fields(base, request, description));
  if (created.status === 201) {
    const url = api.urlOf(created.body);
    if (url !== null) return url;
    throw new RequestProblem('The provider gave an answer that is not understood.');
  }
  // 422 of GitHub and 409 of GitLab: it may be there from an attempt that was cut off.
  if (created.status === 422 || created.status === 409) {
    const listed = await ask(api.list);
    const url = Array.isArray(listed.body) ? api.urlOf(listed.body[0]) : null;
    if (url !== null) return url;
  }
  throw new RequestProblem(`The provider answered ${describe(created)}.`);
}

function apiOf({ githubApiUrl }: ChangeRequestsOptions, request: ChangeRequest): Api {
  const name = new URL(request.repositoryUrl).pathname.replace(/^\/+|\/+$/g, '').replace(/\.git$/, '');
  const [owner = '', repo = '', ...rest] = name.split('/');
  if (request.type === 'gitlab') {
    const repository = `${request.origin}/api/v4/projects/${encodeURIComponent(decodeURIComponent(name))}`;
    const create = `${repository}/merge_requests`;
    return {
      repository,
      create,
      list: `${create}?${new URLSearchParams({ state: 'opened', source_branch: request.head })}`,
      fields: (base, { head, title }, description) => ({
        source_branch: head,
        target_branch: base,
        title,
        description,
      }),
      urlOf: (answer) => Merge.safeParse(answer).data?.web_url ?? null,
    };
  }
  if (repo === '' || rest.length > 0) throw new RequestProblem('The repository is not one of GitHub.');
  const isPublic = request.origin === 'https://github.com';
  const repository = `${isPublic ? githubApiUrl : `${request.origin}/api/v3`}/repos/${owner}/${repo}`;
  const create = `${repository}/pulls`;
  return {
    repository,
    create,
    list: `${create}?${new URLSearchParams({ state: 'open', head: `${owner}:${request.head}` })}`,
    fields: (base, { head, title }, body) => ({ title, head, base, body }),
    urlOf: (answer) => Pull.safeParse(answer).data?.html_url ?? null,
  };
}

/**
 * The user names the host, so it must be one that anybody may ask, or that the operator lists. The address that is
 * checked is the one that is connected to. Undefined: any address will do.
 */
function lookupFor(
  { rules, githubApiUrl, resolve = resolveAll }: ChangeRequestsOptions,
  url: string,
): LookupFunction | undefined {
  if (url.startsWith(`${githubApiUrl}/`)) return undefined;
  const protocols = rules.protocols.filter((name) => name === 'https' || name === 'http');
  const checked = checkRemoteUrl(url, { protocols, hosts: rules.hosts, what: 'The address of the provider' });
  if (!checked.ok) throw new RequestProblem(checked.problem);
  return checked.isListed ? undefined : createPublicLookup(resolve);
}

interface Answer {
  status: number;
  body: unknown;
}

async function send(
  { version, timeoutMs = TIMEOUT_MS }: ChangeRequestsOptions,
  { type, token, signal }: ChangeRequest,
  { url, lookup }: { url: string; lookup: LookupFunction | undefined },
  body?: object,
): Promise<Answer> {
  const { status, text } = await exchange(url, body && JSON.stringify(body), {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      accept: type === 'github' ? 'application/vnd.github+json' : 'application/json',
      'user-agent': `iac-runner/${version}`,
      ...(body && { 'content-type': 'application/json' }),
    },
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    ...(lookup && { lookup }),
  });
  try {
    return { status, body: JSON.parse(text) };
  } catch {
    return { status, body: null };
  }
}

/** On a connection of its own, so that each is looked up again. A redirect is an answer: the token goes nowhere else. */
function exchange(
  url: string,
  body: string | undefined,
  options: RequestOptions,
): Promise<{ status: number; text: string }> {
  const open = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = open(url, { ...options, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) request.destroy(new Error('The answer is too long.'));
        else chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }),
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function defaultBranch(ask: (url: string) => Promise<Answer>, repository: string): Promise<string> {
  const answer = await ask(repository);
  const found = Repository.safeParse(answer.body);
  if (answer.status === 200 && found.success) return found.data.default_branch;
  throw new RequestProblem(`The provider answered ${describe(answer)}.`);
}

function describe({ status, body }: Answer): string {
  const { message, error } = Problem.safeParse(body).data ?? {};
  const said = message ?? error;
  if (said === undefined) return `HTTP ${status}`;
  const text = typeof said === 'string' ? said : JSON.stringify(said);
  return `HTTP ${status}: ${text.replace(/[\s\p{Cc}]+/gu, ' ').slice(0, 200)}`;
}
