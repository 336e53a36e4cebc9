/** A deployment plans and applies one root module with Terraform or OpenTofu. */

import { type DeployOperation, toolName } from '../deployments/deployment.ts';
import { requestedPriority } from '../run.ts';
import type { Kind } from './kind.ts';

const OPERATIONS: Record<DeployOperation, [fact: string, title: string]> = {
  apply: ['apply', 'Deploy'],
  destroy: ['destroy', 'Destroy'],
  drift: ['drift check', 'Drift check of'],
};
const ON_GITHUB = /^(?:https:\/\/|ssh:\/\/git@|git@)github\.com[/:]([\w.-]+\/[\w.-]+?)(?:\.git)?\/*$/i;

/** Deployments of one target run one after the other. */
export function deployGroup(gitUrl: string, path: string): string {
  const address = gitUrl.replace(/\/+$/, '').replace(/\.git$/, '');
  return `deploy:${address}#${path}`;
}

export const DEPLOY: Kind<'deploy'> = {
  name: 'deployment',
  plural: 'deployments',
  queued: 'Waiting for previous deployment of the target to complete',
  group: ({ gitUrl, path }) => deployGroup(gitUrl, path),
  machineTool: (input) => input,
  reporters: ['event-webhook', 'notification'],
  nextActions: {
    step_failed: 'Open the failed step, fix what it says, then deploy again.',
    step_timed_out: 'Find what the command waits for, or ask for a longer timeout, then deploy again.',
    disk_full: 'Free space on the disk, then deploy again.',
    attempts_exhausted: 'Read the log of the last attempt, then deploy again.',
    handed_back_too_often:
      'See why the server is stopped so often, and look at the state. Then deploy again.',
    cancelled_by_request: 'Deploy again if you still want it.',
  },
  // The credentials of a deployment are deleted at its end.
  retry: () => 'A run of this kind is not retried: ask for a new one.',
  whyNotReplayed: () => 'Its credentials are not kept: it has to be sent again',
  title({ input: { operation, path, gitUrl } }) {
    const repository = repositoryName(gitUrl);
    return `${OPERATIONS[operation][1]} ${path === '.' ? repository : `${path} of ${repository}`}`;
  },
  ref: ({ gitRef }) => gitRef,
  refLabel: 'Ref',
  repositoryPage({ gitUrl }) {
    const name = ON_GITHUB.exec(gitUrl)?.[1];
    return name === undefined ? null : `https://github.com/${name}`;
  },
  facts: (input) => [
    { name: 'Operation', values: [OPERATIONS[input.operation][0]] },
    { name: 'Tool', values: [toolName(input)] },
    { name: 'Repository', values: [input.gitUrl] },
    { name: 'Folder', values: [input.path], isCode: true },
  ],
  options: ({ autoApprove, tfvarsFiles }) => [
    ...(autoApprove ? ['applied without asking'] : []),
    ...tfvarsFiles,
  ],
  json: (run) => ({
    operation: run.input.operation,
    tool: run.input.tool,
    tool_version: run.input.toolVersion,
    git_url: run.input.gitUrl,
    git_ref: run.input.gitRef,
    path: run.input.path,
    auto_approve: run.input.autoApprove,
    priority: requestedPriority(run),
    labels: run.labels,
  }),
  approval: {
    thing: 'plan file with the SHA-256',
    confirmed: ({ operation, path, gitUrl }) =>
      operation === 'destroy' ? (path === '.' ? repositoryName(gitUrl) : path) : null,
    notAsked: 'There is no plan to decide about yet: the deployment is',
  },
  tool: {
    history: 'History of the target',
    directory: ({ path }) => path,
  },
};

/**
 * The last two parts of the path, as in `owner/name`. A path of one part stands behind its host. Returns the whole
 * address if it has no such parts.
 */
function repositoryName(gitUrl: string): string {
  const [, host, port, alone] =
    /^\w+:\/\/(?:[^/@]*@)?([^/:@]+)(:\d+)?\/([^/]+?)(?:\.git)?\/*$/.exec(gitUrl) ?? [];
  if (host !== undefined) return `${host}${port ?? ''}/${alone}`;
  return /[/:]([^/:@]+\/[^/:@]+?)(?:\.git)?\/*$/.exec(gitUrl)?.[1] ?? gitUrl;
}
