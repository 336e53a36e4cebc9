/** Starts deployments, decides about their plans and cancels them. Each action is stored before it is answered. */

import { RequestError } from '../../errors.ts';
import type { DeployInput } from '../../runs/deployments/deployment.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import { deployGroup } from '../../runs/kinds/deploy.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import { isFinal, type Run, type RunState } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { checkRemoteUrl } from '../../runs/texts/remote-url.ts';
import { normalizeDirectory } from '../../runs/texts/root-directory.ts';
import { EXPIRED_BY } from '../github/approvals.ts';
import { parseDeployRequest } from './deploy-request.ts';
import type { RemoteRules } from './deploy-schema.ts';

export interface DeployApiOptions {
  store: RunStore;
  /** Seals a text that no file may show. */
  seal(text: string): string;
  /** Says why no machine with these labels has the tool, and which tools there are; null if one has it. */
  toolProblem(
    asked: Pick<DeployInput, 'tool' | 'toolVersion'>,
    labels: readonly string[],
  ): Promise<string | null>;
  rules: RemoteRules;
  /** False if code that an operator names could read the secrets of the server; then only an admin may deploy. */
  operatorsMayDeploy: boolean;
  /** Milliseconds since the epoch. */
  now(): number;
}

interface Caller {
  name: string;
  /** `auto_approve` needs a caller who may approve. */
  mayApprove: boolean;
}

/** `unknown`: there is no such run. `ended`: the run has ended. */
export type DeployActionResult =
  | { status: 'done'; run: Run }
  | { status: 'refused'; reason: string }
  | { status: 'ended' }
  | { status: 'unknown' };

export interface DeployApi {
  /** `body` is the request's JSON. Throws RequestError 400 naming each wrong field, or 403. */
  start(body: unknown, caller: Caller): Promise<Run>;
  approve(runId: string, by: string): Promise<DeployActionResult>;
  reject(runId: string, by: string): Promise<DeployActionResult>;
  /** Cancelling twice is no error. */
  cancel(runId: string, by: string): Promise<DeployActionResult>;
  /**
   * The group of the deployments of a target, however its address is spelled; null if nothing can be deployed there.
   */
  groupOf(gitUrl: string, path: string): string | null;
}

const NO_WALL =
  'The role operator may not deploy here: the code of a deployment could read every secret of this server. Ask an admin to deploy, or set EXECUTOR_COMMAND, or TRUST_OPERATORS=true, on the server';

/** All functions throw StoreUnavailableError when nothing could be stored. */
export function createDeployApi(options: DeployApiOptions): DeployApi {
  return {
    start: (body, caller) => start(options, body, caller),
    approve: (runId, by) => decide(options, runId, 'approved', by),
    reject: (runId, by) => decide(options, runId, 'rejected', by),
    cancel: (runId, by) => cancel(options, runId, by),
    groupOf(gitUrl, path) {
      const remote = checkRemoteUrl(gitUrl, { ...options.rules, what: 'git_url' });
      const directory = normalizeDirectory(path);
      return remote.ok && directory !== null ? deployGroup(remote.url, directory) : null;
    },
  };
}

async function start(
  { store, seal, toolProblem, rules, operatorsMayDeploy }: DeployApiOptions,
  body: unknown,
  { name, mayApprove }: Caller,
): Promise<Run> {
  if (!mayApprove && !operatorsMayDeploy) throw new RequestError(403, NO_WALL);
  const request = parseDeployRequest(body, rules);
  if (!request.ok) throw new RequestError(400, request.problems.join('; '));
  const { input, secrets, priority, labels } = request;
  const { toolVersion, autoApprove } = input;
  const problem = await toolProblem(input, labels);
  if (problem !== null) {
    throw new RequestError(400, `${toolVersion === null ? 'tool' : 'tool_version'}: ${problem}`);
  }
  if (autoApprove && !mayApprove) {
    throw new RequestError(403, `auto_approve needs the role admin, which ${name} does not have`);
  }
  const { run } = await enqueueRun(store, 'deploy', {
    trigger: { source: 'deploy_api', actor: name },
    input: mayApprove ? input : { ...input, needsWall: true },
    priority,
    labels,
    // They are sealed even if there are none, so a run without sealed secrets must have lost them.
    sealed: seal(JSON.stringify(secrets)),
  });
  return run;
}

/** The first decision counts, also when several are made at once. */
async function decide(
  { store, now }: DeployApiOptions,
  runId: string,
  decision: 'approved' | 'rejected',
  by: string,
): Promise<DeployActionResult> {
  const expiresAt = (await store.run(runId))?.approvalExpiresAt ?? null;
  // The approval has expired, even if the timer has not run since.
  if (expiresAt !== null && expiresAt <= now()) await store.decide(runId, 'expired', EXPIRED_BY);
  const result = await store.decide(runId, decision, by);
  if (result === null) return { status: 'unknown' };
  if (result.decided) return { status: 'done', run: result.run };
  return { status: 'refused', reason: await whyNot(store, result.run) };
}

const ENDINGS: Partial<Record<RunState, string>> = {
  succeeded: 'it has succeeded',
  cancelled: 'it was cancelled',
};

/** Says why a deployment, or the plan of a pull request, cannot be decided about. */
async function whyNot(store: RunStore, run: Run): Promise<string> {
  const { name: what, approval } = kindOf(run);
  const decided = await store.latestEvent(run.id, 'run.decided');
  switch (decided?.decision) {
    case 'approved':
      return `The ${what} was already approved by ${decided.by}`;
    case 'rejected':
      return `The ${what} was already rejected by ${decided.by}`;
    case 'expired':
      return 'The approval has expired: nobody approved in time';
  }
  if (isFinal(run.state)) return `The ${what} has already ended: ${ENDINGS[run.state] ?? 'it has failed'}`;
  return `${approval?.notAsked ?? `The ${what} needs no approval: it is`} ${run.state}`;
}

async function cancel({ store }: DeployApiOptions, runId: string, by: string): Promise<DeployActionResult> {
  const before = await store.run(runId);
  if (before === null) return { status: 'unknown' };
  if (isFinal(before.state)) return { status: 'ended' };
  const run = await store.requestCancel(runId, by);
  if (run === null) return { status: 'unknown' };
  // The run may have ended by itself in between.
  return isFinal(run.state) && run.cancelRequestedBy === null ? { status: 'ended' } : { status: 'done', run };
}
