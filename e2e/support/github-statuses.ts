/** Commit statuses as GitHub stores them, with the limits that its description does not contain. */

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { git, gitSucceeds } from './git.ts';
import { PATIENCE_MS, until } from './until.ts';

/** https://docs.github.com/en/rest/commits/statuses#create-a-commit-status */
const MAX_STATUSES = 1_000;
/** GitHub refuses longer descriptions. */
const MAX_DESCRIPTION_LENGTH = 140;
/** GitHub refuses longer contexts, and does not publish this limit: https://github.com/runatlantis/atlantis/issues/2506 */
const MAX_CONTEXT_LENGTH = 255;

export interface CommitStatus {
  id: number;
  sha: string;
  /** The context as it was sent. GitHub ignores the case when it compares contexts. */
  context: string;
  state: 'error' | 'failure' | 'pending' | 'success';
  description: string | null;
  targetUrl: string | null;
  /** Milliseconds since the epoch. */
  at: number;
}

export interface ApiAnswer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
}

export interface StatusBook {
  /** All statuses of a commit and context, oldest first. */
  history(sha: string, context?: string): CommitStatus[];
  /** The newest status of the context, which GitHub shows. */
  latest(sha: string, context?: string): CommitStatus | undefined;
  /** Waits until the newest status has this state. */
  waitFor(wanted: {
    sha: string;
    state: CommitStatus['state'];
    context?: string;
    timeoutMs?: number;
  }): Promise<CommitStatus>;
  /** Fills a commit and context until only `left` statuses remain before the limit. */
  fill(sha: string, context: string, left: number): void;
  /** True for a full id of a commit that the repository has. */
  exists(sha: string): Promise<boolean>;
  create(sha: string, body: unknown): Promise<ApiAnswer>;
  /** All statuses of a commit, newest first, in pages. */
  list(ref: string, query: URLSearchParams): Promise<ApiAnswer>;
  combined(ref: string): Promise<ApiAnswer>;
}

const newStatusSchema = z.object({
  state: z.enum(['error', 'failure', 'pending', 'success']),
  description: z.string().nullable().default(null),
  target_url: z.string().nullable().default(null),
  context: z.string().default('default'),
});

/** GitHub's format of an error. */
export function refusal(status: number, message: string, errors?: object[]): ApiAnswer {
  const documentation_url = 'https://docs.github.com/rest';
  return { status, body: { message, ...(errors ? { errors } : {}), documentation_url, status: `${status}` } };
}

export function createStatusBook(options: {
  apiUrl: () => string;
  fullName: string;
  /** The repository that says which commits exist. Without it, every full commit id exists. */
  repositoryPath?: string | undefined;
  repository: Record<string, unknown>;
  /** Receives a description of each mistake of a caller. */
  violations: string[];
}): StatusBook {
  const statuses: CommitStatus[] = [];

  function history(sha: string, context?: string): CommitStatus[] {
    const wanted = context?.toLowerCase();
    return statuses.filter(
      (s) => s.sha === sha && (wanted === undefined || s.context.toLowerCase() === wanted),
    );
  }

  async function resolve(ref: string): Promise<string | null> {
    const { repositoryPath } = options;
    if (!repositoryPath) return /^[0-9a-f]{40}$/.test(ref) ? ref : null;
    const args = ['rev-list', '--max-count=1', '--end-of-options', ref, '--'];
    return (await gitSucceeds(repositoryPath, args)) ? git(repositoryPath, args) : null;
  }

  async function exists(sha: string): Promise<boolean> {
    return /^[0-9a-f]{40}$/.test(sha) && (await resolve(sha)) !== null;
  }

  function show(status: CommitStatus): Record<string, unknown> {
    const time = new Date(status.at).toISOString();
    return {
      url: `${options.apiUrl()}/repos/${options.fullName}/statuses/${status.sha}`,
      avatar_url: 'https://avatars.githubusercontent.com/u/583231?v=4',
      id: status.id,
      node_id: `SC_${status.id}`,
      state: status.state,
      description: status.description,
      target_url: status.targetUrl,
      context: status.context,
      created_at: time,
      updated_at: time,
    };
  }

  function add(sha: string, wanted: z.infer<typeof newStatusSchema>): CommitStatus {
    const { state, description, target_url: targetUrl, context } = wanted;
    const status = { id: statuses.length + 1, sha, context, state, description, targetUrl, at: Date.now() };
    statuses.push(status);
    return status;
  }

  return {
    history,
    exists,
    latest: (sha, context) => history(sha, context).at(-1),
    waitFor({ sha, state, context, timeoutMs = PATIENCE_MS }) {
      const probe = (): CommitStatus | undefined => {
        const latest = history(sha, context).at(-1);
        return latest?.state === state ? latest : undefined;
      };
      return until(`status ${state} on ${sha}`, probe, { timeoutMs, seen: () => history(sha, context) });
    },
    fill(sha, context, left) {
      while (history(sha, context).length < MAX_STATUSES - left) {
        add(sha, newStatusSchema.parse({ state: 'pending', context }));
      }
    },
    async create(sha, body) {
      const wanted = newStatusSchema.parse(body);
      if (!(await exists(sha))) return refusal(422, `No commit found for SHA: ${sha}`);
      const invalid = problemWith(wanted);
      if (invalid) options.violations.push(`statuses/${sha}: ${invalid.message}`);
      const problem =
        invalid ?? (history(sha, wanted.context).length >= MAX_STATUSES ? MAXIMUM_REACHED : null);
      if (problem)
        return refusal(422, 'Validation Failed', [{ resource: 'Status', code: 'custom', ...problem }]);
      // An answer takes a moment, as at the real GitHub, so that parallel writes can be seen.
      await sleep(2);
      return { status: 201, body: { ...show(add(sha, wanted)), creator: null } };
    },
    async list(ref, query) {
      const sha = await resolve(ref);
      if (!sha) return refusal(422, `No commit found for SHA: ${ref}`);
      const perPage = Number(query.get('per_page') ?? 30);
      const from = (Number(query.get('page') ?? 1) - 1) * perPage;
      const found = history(sha)
        .toReversed()
        .slice(from, from + perPage);
      return { status: 200, body: found.map((status) => ({ ...show(status), creator: null })) };
    },
    async combined(ref) {
      const sha = await resolve(ref);
      if (!sha) return refusal(404, 'Not Found');
      const newest = new Map(history(sha).map((status) => [status.context.toLowerCase(), status]));
      const url = `${options.apiUrl()}/repos/${options.fullName}/commits/${sha}`;
      const body = {
        state: combinedState([...newest.values()]),
        statuses: [...newest.values()].map(show),
        sha,
        total_count: newest.size,
        repository: options.repository,
        commit_url: url,
        url: `${url}/status`,
      };
      return { status: 200, body };
    },
  };
}

const MAXIMUM_REACHED = { message: 'This SHA and context has reached the maximum number of statuses.' };

function problemWith(wanted: z.infer<typeof newStatusSchema>): { field: string; message: string } | null {
  if (wanted.description !== null && [...wanted.description].length > MAX_DESCRIPTION_LENGTH) {
    return {
      field: 'description',
      message: `description is too long (maximum is ${MAX_DESCRIPTION_LENGTH} characters)`,
    };
  }
  if ([...wanted.context].length > MAX_CONTEXT_LENGTH) {
    return { field: 'context', message: `context is too long (maximum is ${MAX_CONTEXT_LENGTH} characters)` };
  }
  if (wanted.target_url !== null && !/^https?:\/\//.test(wanted.target_url)) {
    return { field: 'target_url', message: 'target_url must use http(s) scheme' };
  }
  return null;
}

function combinedState(statuses: CommitStatus[]): 'failure' | 'pending' | 'success' {
  if (statuses.some(({ state }) => state === 'error' || state === 'failure')) return 'failure';
  return statuses.length > 0 && statuses.every(({ state }) => state === 'success') ? 'success' : 'pending';
}
