/** What a comment asks for: GitHub is asked whether it may be, then plans or deployments are stored, and followed. */

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
import { fetchEither } from '../check-out.ts';
import type { Ended, Outcome, PipelineContext } from '../pipeline.ts';
import { nothingPlanned } from '../plan/plan-outcome.ts';
import { type ChangedRoots, rootsOfPull } from '../terraform/changed-roots.ts';
import { finishStep } from '../tool-step.ts';
import { judgeCommand, type Verdict } from './command-rules.ts';

export interface CommandOptions {
  store: Pick<RunStore, 'enqueue' | 'run' | 'steps' | 'eventsOf'>;
  github(input: CommandInput): PullReader;
  /** The operator's own, as it is read for plans. */
  repository: Pick<RemoteRepositories, 'open'>;
  /** What deployments get, as text that only we can open. */
  sealSecrets(secrets: DeploySecrets): string;
  /** Variables of the commands. */
  environment: Readonly<Record<string, string>>;
  /** Of each command of a deployment. */
  timeoutMs: number;
  runUrl(runId: string): string;
  now(): number;
}

type Context = PipelineContext<'command'>;
type Refused = Exclude<Verdict, { kind: 'granted' }>;

/** GitHub is asked again so soon, and for so long; then nobody waits for the answer any more. */
const ASK_AGAIN_MS = 5_000;
const GIVE_UP_MS = 300_000;
/** Deployments are looked at again after a tenth of the time so far, within these bounds. */
const MIN_LOOK_MS = 2_000;
const MAX_LOOK_MS = 30_000;

/** Throws when the signal ends it, when it is to be handed back, and for our own defects. */
export async function command(options: CommandOptions, context: Context): Promise<Outcome> {
  const { run } = context;
  const steps = await options.store.steps(run.id);
  // What was begun is followed, whatever becomes of the pull request.
  if (steps.length > 0 && steps.every(({ state }) => state !== 'pending')) return follow(options, context);
  const verdict = await judgeCommand(options.github(run.input), run.input, run.revision);
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
    if (state === 'pending') await finishStep(context, id, 'blocked', 'Not begun');
    if (state === 'running') await finishStep(context, id, 'skipped', 'No longer followed; see its own page');
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
  return { state: 'succeeded', reason: null, message: `Planning ${head.slice(0, 8)}` };
}

async function askForDeployments(
  options: CommandOptions,
  context: Context,
  { head, baseRef }: PullDetails,
): Promise<Outcome> {
  const { run, emit } = context;
  // From here on it is about this commit and no other, also after a restart.
  if (run.revision === null) await emit({ type: 'run.revision', revision: head, subject: '' });
  const found = await findRoots(options, context, { head, baseRef });
  if ('state' in found) return found;
  const { roots, remarks } = found;
  if (roots.length === 0) return { state: 'succeeded', reason: null, message: nothingPlanned(remarks) };
  const steps = await options.store.steps(run.id);
  const begun = new Set(steps.filter(({ state }) => state !== 'pending').map(({ id }) => id));
  await emit(
    ...remarks.map((message) => ({ type: 'run.notice', level: 'warning', message }) as const),
    { type: 'run.chosen', count: roots.length, message: `Deploying ${roots.length} root(s)` },
    ...roots.flatMap((root, position) => (begun.has(stepOf(root)) ? [] : [planned(stepOf(root), position)])),
  );
  // Reading the repository took its time.
  const verdict = await judgeCommand(options.github(run.input), run.input, head);
  if (verdict.kind !== 'granted')
    return notDone(options, context, await options.store.steps(run.id), verdict);
  for (const root of roots) {
    if (!begun.has(stepOf(root))) await askForDeployment(options, context, root, head);
  }
  return follow(options, context);
}

/** Stored once, however often this is done. */
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
      // The review is the approval.
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

/** Ends once all deployments have ended; it holds no process before. */
async function follow({ store, now }: CommandOptions, context: Context): Promise<Outcome> {
  const { run } = context;
  const started = await store.eventsOf(run.id, 'step.started');
  const open: string[] = [];
  for (const { id: step, state } of await store.steps(run.id)) {
    const [, deploymentId = ''] = started.findLast((event) => event.step === step)?.command ?? [];
    const deployment = state === 'running' ? await store.run(deploymentId) : null;
    if (deployment && !isFinal(deployment.state)) open.push(step);
    else if (state === 'running') await finishStep(context, step, ...endOf(deployment));
  }
  const steps = await store.steps(run.id);
  const commit = (run.revision ?? '').slice(0, 8);
  if (open.length > 0) {
    const waitMs = Math.min(MAX_LOOK_MS, Math.max(MIN_LOOK_MS, (now() - run.createdAt) / 10));
    const message = `Deploying ${steps.length} root(s) at ${commit}; ${open.length} not done yet`;
    return { state: 'queued', notBefore: now() + waitMs, message };
  }
  return conclude(steps, commit);
}

function conclude(steps: readonly Step[], commit: string): Ended {
  const bad = steps.filter(({ state }) => state !== 'succeeded').length;
  return bad === 0
    ? { state: 'succeeded', reason: null, message: `Applied ${steps.length} root(s) at ${commit}` }
    : {
        state: 'failed',
        reason: 'step_failed',
        message: `${bad}/${steps.length} root(s) could not be applied at ${commit}`,
      };
}

function endOf(deployment: Run | null): ['succeeded' | 'failed' | 'cancelled', string] {
  if (deployment === null) return ['failed', 'The deployment is not known any more'];
  const { state, message } = deployment;
  return [state === 'succeeded' || state === 'cancelled' ? state : 'failed', message];
}

/** Those that the head changes, or how the run ends for want of them. */
async function findRoots(
  { repository }: CommandOptions,
  { run: { input }, signal }: Context,
  { head, baseRef }: Pick<PullDetails, 'head' | 'baseRef'>,
): Promise<ChangedRoots | Ended> {
  const own = await openOwn(repository, input, signal);
  if ('state' in own) return own;
  try {
    await fetchEither(own, head, `refs/pull/${input.pullRequest}/head`, signal);
    return await rootsOfPull(own, { head, baseRef }, signal);
  } catch (error) {
    return endBy(error, signal);
  } finally {
    await own.release();
  }
}

async function openOwn(
  repository: CommandOptions['repository'],
  { cloneUrl: url }: CommandInput,
  signal: AbortSignal,
) {
  try {
    return await repository.open({ url, auth: null, signal });
  } catch (error) {
    return endBy(error, signal);
  }
}

function endBy(error: unknown, signal: AbortSignal): Ended {
  signal.throwIfAborted();
  if (!(error instanceof RunnerError)) throw error;
  const message = describeError(error);
  return error instanceof GitError
    ? { state: 'errored', reason: 'git_unavailable', message }
    : { state: 'failed', reason: 'repository_invalid', message };
}

const stepOf = ({ directory }: PlanRoot): string => `deploy ${directory}`;

function planned(step: string, position: number): RunEventBody {
  return { type: 'step.planned', step, position, wave: 0, message: 'About to be asked for' };
}
