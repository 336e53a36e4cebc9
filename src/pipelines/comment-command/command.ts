/** A command in a comment: asks GitHub whether it may be obeyed, then stores a plan or deployments and follows them. */

import { describeError, GitError, RunnerError } from '../../errors.ts';
import type { RemoteRepositories } from '../../git/requested/remote-repositories.ts';
import type { PullDetails, PullReader } from '../../github/pull-reader.ts';
import type { CommandInput } from '../../runs/command.ts';
import type { DeploySecrets } from '../../runs/deployments/deployment.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import type { PlanRoot } from '../../runs/plan-comment.ts';
import { type CommandRun, isFinal, type Run, type Step } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { MINUTE, SECOND } from '../../units.ts';
import { fetchEither } from '../check-out.ts';
import type { Ended, Outcome, PipelineContext } from '../pipeline.ts';
import { nothingPlanned } from '../plan/plan-outcome.ts';
import { finishStep } from '../step.ts';
import { type ChangedRoots, rootsOfPull } from '../terraform/changed-roots.ts';
import { commandVerdict, type Verdict } from './command-rules.ts';

interface CommandOptions {
  store: Pick<RunStore, 'enqueue' | 'run' | 'steps' | 'eventsOf'>;
  github(input: CommandInput): PullReader;
  /** The operator's own repository, read in the same way as for plans. */
  repository: Pick<RemoteRepositories, 'open'>;
  /** Seals the secrets of deployments, so that only this server can open them. */
  sealSecrets(secrets: DeploySecrets): string;
  /** The variables of each deployment. */
  environment: Readonly<Record<string, string>>;
  /** For each command of a deployment. */
  timeoutMs: number;
  runUrl(runId: string): string;
  now(): number;
}

type Context = PipelineContext<'command'>;
type Refused = Exclude<Verdict, { kind: 'granted' }>;

/** How soon GitHub is asked again, and for how long. */
const ASK_AGAIN_MS = 5 * SECOND;
const GIVE_UP_MS = 5 * MINUTE;
/** The pause between two looks at the deployments is a tenth of the time so far, within these bounds. */
const MIN_LOOK_MS = 2 * SECOND;
const MAX_LOOK_MS = 30 * SECOND;

/** Throws if the signal ends the run, if the run has to go back into the queue, and for our own defects. */
export async function command(options: CommandOptions, context: Context): Promise<Outcome> {
  const { run } = context;
  const steps = await options.store.steps(run.id);
  // Deployments that were started are followed, whatever happens to the pull request.
  if (steps.length > 0 && steps.every(({ state }) => state !== 'pending')) return follow(options, context);
  const verdict = await commandVerdict(options.github(run.input), run.input, run.revision);
  if (verdict.kind !== 'granted') return notDone(options, context, steps, verdict);
  return run.input.command === 'plan'
    ? askForPlan(options, run, verdict.pull)
    : askForDeployments(options, context, verdict.pull);
}

async function notDone(
  options: CommandOptions,
  context: Context,
  steps: readonly Step[],
  verdict: Refused,
): Promise<Outcome> {
  const { message } = verdict;
  if (verdict.kind === 'unsettled' && options.now() < context.run.createdAt + GIVE_UP_MS) {
    return { state: 'queued', notBefore: options.now() + ASK_AGAIN_MS, message };
  }
  for (const { id, state } of steps) {
    if (state === 'pending') await finishStep(context, id, { state: 'blocked', message: 'Not started' });
    const message = 'No longer followed; see its own page';
    if (state === 'running') await finishStep(context, id, { state: 'skipped', message });
  }
  return verdict.kind === 'refused'
    ? { state: 'failed', reason: verdict.reason, message }
    : { state: 'errored', reason: 'github_unavailable', message };
}

async function askForPlan(
  { store }: CommandOptions,
  { id, input, trigger }: CommandRun,
  { head, headRef, baseRef, fromFork }: PullDetails,
): Promise<Outcome> {
  const { repository, pullRequest, cloneUrl, apiUrl } = input;
  await enqueueRun(store, 'plan', {
    trigger: { source: 'comment', actor: trigger.actor },
    dedupeKey: `comment:${id}:plan`,
    input: {
      repository,
      pullRequest,
      cloneUrl,
      apiUrl,
      revision: head,
      headRef,
      baseRef,
      planId: 'pr',
      roots: null,
      fromFork,
      credential: 'configured',
      requestId: null,
    },
  });
  return { state: 'succeeded', reason: null, message: `Planning ${shortCommit(head)}` };
}

async function askForDeployments(
  options: CommandOptions,
  context: Context,
  { head, baseRef }: PullDetails,
): Promise<Outcome> {
  const { run, emit } = context;
  // The command stays bound to this commit, also after a restart.
  if (run.revision === null) await emit({ type: 'run.revision', revision: head, subject: '' });
  const found = await findRoots(options, context, { head, baseRef });
  if ('state' in found) return found;
  const { roots, remarks } = found;
  if (roots.length === 0) return { state: 'succeeded', reason: null, message: nothingPlanned(remarks) };
  const steps = await options.store.steps(run.id);
  const started = new Set(steps.filter(({ state }) => state !== 'pending').map(({ id }) => id));
  await emit(
    ...remarks.map((message) => ({ type: 'run.notice', level: 'warning', message }) as const),
    { type: 'run.chosen', count: roots.length, message: `Deploying ${roots.length} root(s)` },
    ...roots.flatMap((root, position) =>
      started.has(stepOf(root)) ? [] : [planned(stepOf(root), position)],
    ),
  );
  // The answers may have changed while the repository was read.
  const verdict = await commandVerdict(options.github(run.input), run.input, head);
  if (verdict.kind !== 'granted')
    return notDone(options, context, await options.store.steps(run.id), verdict);
  for (const root of roots) {
    if (!started.has(stepOf(root))) await askForDeployment(options, context, root, head);
  }
  return follow(options, context);
}

/** Stores the deployment once, even if it is called again. */
async function askForDeployment(
  { store, sealSecrets, environment, timeoutMs, runUrl }: CommandOptions,
  { run, emit }: Context,
  root: PlanRoot,
  head: string,
): Promise<void> {
  const { run: deployment } = await enqueueRun(store, 'deploy', {
    trigger: { source: 'comment', actor: run.trigger.actor },
    dedupeKey: `comment:${run.id}:${root.directory}`,
    priority: 0,
    labels: [],
    sealed: sealSecrets({ environment: { ...environment }, git: null, initFlags: [], planFlags: [] }),
    input: {
      operation: 'apply',
      tool: root.tool,
      toolVersion: root.toolVersion,
      gitUrl: run.input.cloneUrl,
      gitRef: head,
      path: root.directory,
      tfvarsFiles: [],
      timeoutMs,
      // The review on GitHub is the approval.
      autoApprove: true,
      callbackUrl: null,
      asked: run.input,
    },
  });
  const step = stepOf(root);
  await emit(
    { type: 'step.started', step, command: ['deployment', deployment.id], ledger: null },
    { type: 'step.log', step, stream: 'stdout', lines: [runUrl(deployment.id)] },
  );
}

/** Ends the run if all deployments have ended. Otherwise puts the run back into the queue, so that no process waits. */
async function follow({ store, now }: CommandOptions, context: Context): Promise<Outcome> {
  const { run } = context;
  const started = await store.eventsOf(run.id, 'step.started');
  const open: string[] = [];
  for (const { id: step, state } of await store.steps(run.id)) {
    const [, deploymentId = ''] = started.findLast((event) => event.step === step)?.command ?? [];
    const deployment = state === 'running' ? await store.run(deploymentId) : null;
    if (deployment && !isFinal(deployment.state)) open.push(step);
    else if (state === 'running') await finishStep(context, step, endOf(deployment));
  }
  const steps = await store.steps(run.id);
  const commit = shortCommit(run.revision ?? '');
  if (open.length > 0) {
    const waitMs = Math.min(MAX_LOOK_MS, Math.max(MIN_LOOK_MS, (now() - run.createdAt) / 10));
    const message = `Deploying ${steps.length} root(s) at ${commit}; ${open.length} not done yet`;
    return { state: 'queued', notBefore: now() + waitMs, message };
  }
  return conclude(steps, commit);
}

function conclude(steps: readonly Step[], commit: string): Ended {
  const failed = steps.filter(({ state }) => state !== 'succeeded').length;
  return failed === 0
    ? { state: 'succeeded', reason: null, message: `Applied ${steps.length} root(s) at ${commit}` }
    : {
        state: 'failed',
        reason: 'step_failed',
        message: `${failed}/${steps.length} root(s) could not be applied at ${commit}`,
      };
}

function endOf(deployment: Run | null) {
  if (deployment === null)
    return { state: 'failed', message: 'The deployment is not known any more' } as const;
  const { state, message } = deployment;
  return { state: state === 'succeeded' || state === 'cancelled' ? state : ('failed' as const), message };
}

/** Resolves to the roots that the head changes, or to the end of the run if they cannot be found. */
async function findRoots(
  { repository }: CommandOptions,
  { run: { input }, signal }: Context,
  { head, baseRef }: Pick<PullDetails, 'head' | 'baseRef'>,
): Promise<ChangedRoots | Ended> {
  try {
    const own = await repository.open({ url: input.cloneUrl, auth: null, signal });
    try {
      await fetchEither(own, head, `refs/pull/${input.pullRequest}/head`, signal);
      return await rootsOfPull(own, { head, baseRef }, signal);
    } finally {
      await own.release();
    }
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof RunnerError)) throw error;
    const message = describeError(error);
    return error instanceof GitError
      ? { state: 'errored', reason: 'git_unavailable', message }
      : { state: 'failed', reason: 'repository_invalid', message };
  }
}

function stepOf({ directory }: PlanRoot): string {
  return `deploy ${directory}`;
}

function planned(step: string, position: number): RunEventBody {
  return { type: 'step.planned', step, position, wave: 0, message: 'About to be asked for' };
}
