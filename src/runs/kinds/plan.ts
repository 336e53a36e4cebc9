/** A plan shows what the head of a pull request would change with Terraform or OpenTofu. */

import { toolName } from '../deployments/deployment.ts';
import type { PlanInput } from '../plan-comment.ts';
import { type Kind, STATUS_STATES } from './kind.ts';

/** The group in which a newer head of a pull request takes the place of an older one. */
export function planGroup({ apiUrl, repository, pullRequest, planId }: PlanInput): string {
  return `plan:${apiUrl}:${repository.toLowerCase()}#${pullRequest}:${planId}`;
}

export const PLAN: Kind<'plan'> = {
  name: 'plan',
  plural: 'plans',
  queued: 'Waiting for previous plan to complete',
  group: planGroup,
  coalescing: { covers: () => true, message: () => 'A newer commit of the pull request counts.' },
  reporters: ['plan-comment', 'commit-status'],
  status: {
    context: () => 'IaC Runner / Plan',
    of: ({ input, state, message }) =>
      input.credential === 'configured'
        ? { state: state === 'timed_out' ? 'error' : STATUS_STATES[state], description: message }
        : null,
  },
  nextActions: {
    step_failed: 'Open the failed step, fix what it says, then push.',
    step_timed_out: 'Find what the command waits for, then push again.',
    tool_missing: 'Install the tool, or ask for a version that is there, then push again.',
    check_failed: 'Open the failed check; change the configuration, or the check, then push again.',
    request_invalid: 'Fix what the message names, then push.',
    credentials_lost: 'Push again: the token of the request cannot be read any more.',
    rejected: 'Nothing of the head was run. Push again if you still want its plan.',
    approval_expired: 'Nothing of the head was run: nobody approved in time. Push again.',
    disk_full: 'Free space on the disk, then push again.',
    attempts_exhausted: 'Read the log of the last attempt, then push again.',
    handed_back_too_often: 'See why the server is stopped so often, then push again.',
    cancelled_by_request: 'Push again if you still want the plan.',
  },
  // The token of a request is deleted at the end of its run.
  retry: ({ input }) =>
    input.credential === 'configured' ? input : 'A run of this kind is not retried: ask for a new one.',
  whyNotReplayed: ({ credential }) =>
    credential === 'sealed' ? 'Its credentials are not kept: it has to be sent again' : null,
  title: ({ input }) => `Plan of ${input.repository}#${input.pullRequest}`,
  ref: ({ headRef }) => headRef,
  repositoryPage,
  facts(input) {
    const { repository, pullRequest, roots, fromFork } = input;
    const page = repositoryPage(input);
    const link = page === null ? null : `${page}/pull/${pullRequest}`;
    const folders = roots?.map(({ directory }) => directory);
    return [
      roots && { name: 'Tool', values: [...new Set(roots.map(toolName))] },
      { name: 'Repository', values: [repository] },
      { name: 'Pull request', values: [`#${pullRequest}`], link, ...(fromFork && { note: ' from a fork' }) },
      folders ? { name: folders.length === 1 ? 'Folder' : 'Folders', values: folders, isCode: true } : null,
    ];
  },
  json: ({ input: { repository, cloneUrl, planId, roots, fromFork } }) => ({
    repository,
    git_url: cloneUrl,
    plan_id: planId,
    from_fork: fromFork,
    roots:
      roots?.map((root) => ({
        path: root.directory,
        tool: root.tool,
        tool_version: root.toolVersion,
      })) ?? null,
  }),
  approval: {
    thing: 'commit',
    note: 'The head comes from a fork. If you approve it, its code runs here, without any credentials of the server.',
    notAsked: 'The plan does not wait for an approval now: it is',
  },
  tool: {
    history: 'Plans of the pull request',
    directory: ({ roots }) => roots?.[0]?.directory ?? null,
  },
};

/** Returns the page on GitHub, or on the Enterprise Server behind the address of the API. */
function repositoryPage({ apiUrl, repository }: PlanInput): string | null {
  if (!URL.canParse(apiUrl) || !/^[\w.-]+\/[\w.-]+$/.test(repository)) return null;
  const { protocol, host } = new URL(apiUrl);
  if (protocol !== 'https:' && protocol !== 'http:') return null;
  return `${host === 'api.github.com' ? 'https://github.com' : `${protocol}//${host}`}/${repository}`;
}
