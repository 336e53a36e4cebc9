/** The plan of a pull request: its head is fetched, and what each root would change is told. Nothing is applied. */

import path from 'node:path';
import type { PlanCheck } from '../../config.ts';
import type { RemoteRepositories } from '../../git/requested/remote-repositories.ts';
import { makeInnerFolder, removeFolder } from '../../isolation/open-folder.ts';
import type { GitAuth } from '../../runs/deployments/deployment.ts';
import type { PlanRoot } from '../../runs/plan-comment.ts';
import type { PlanRun, Step } from '../../runs/run.ts';
import { checkOutForRun } from '../check-out.ts';
import type { Outcome, PipelineContext } from '../pipeline.ts';
import { makeRunFolder, openRunFolder, type RunFolderOptions } from '../run-folder.ts';
import { blockPending, plannedStep } from '../sync/planned-steps.ts';
import { rootsOfPull } from '../terraform/changed-roots.ts';
import { checkStep, runChecks } from '../terraform/checks.ts';
import { diagnose, withTails } from '../terraform/diagnosis.ts';
import { versionThere } from '../terraform/install/tools.ts';
import { type PrepareOptions, prepareTool } from '../terraform/prepare-tool.ts';
import { type InitOptions, initialise, makePlan } from '../terraform/tool-phases.ts';
import { type StepContext, StepFailed } from '../tool-step.ts';
import { type HeadOptions, judgeHead, type LookedUp } from './plan-head.ts';
import { concludePlan, type PlannedRoot } from './plan-outcome.ts';

export interface PlanOptions extends InitOptions, PrepareOptions, HeadOptions, RunFolderOptions {
  /** Holds a folder for each run, as long as it is worked on. */
  directory: string;
  repositories: Record<PlanRun['input']['credential'], Pick<RemoteRepositories, 'open'>>;
  steps(runId: string): Promise<Step[]>;
  /** Null when what reads the repository cannot be had any more; `git` null when it needs no credentials. */
  credentials(run: PlanRun): Promise<{ git: GitAuth | null; secrets: readonly string[] } | null>;
  /** Never throws for what GitHub answers or not. */
  lookUp(run: PlanRun, signal: AbortSignal): Promise<LookedUp>;
  /** Asked about the plan of each root. */
  checks: readonly PlanCheck[];
  /** Of each command. */
  timeoutMs: number;
}

type Context = PipelineContext<'plan'>;

/** The names of the steps of a root; those of its checks by the names of these. */
interface RootSteps {
  init: string;
  plan: string;
  /** What checks add to their names, or null. */
  suffix: string | null;
}

const MAX_PLAN_CHARACTERS = 200_000;

/** Throws when the signal ends it, when it is to be handed back, and for our own defects. */
export async function plan(options: PlanOptions, context: Context): Promise<Outcome> {
  const { run, signal } = context;
  const credentials = await options.credentials(run);
  if (credentials === null) {
    return {
      state: 'errored',
      reason: 'credentials_lost',
      message: 'The token of the request cannot be read',
    };
  }
  const notNow = await judgeHead(options, run, await options.lookUp(run, signal));
  if (notNow) return notNow;

  const folder = path.join(options.directory, run.id);
  try {
    await makeRunFolder(options, folder);
    return await planAll(options, context, folder, credentials);
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    return error.outcome;
  } finally {
    // Otherwise by who looks for folders that belong to no run any more.
    await removeFolder(folder, options.stepUser).catch(() => undefined);
  }
}

async function planAll(
  options: PlanOptions,
  context: Context,
  folder: string,
  credentials: { git: GitAuth | null; secrets: readonly string[] },
): Promise<Outcome> {
  const { run, emit, signal } = context;
  const { input } = run;
  const named = input.roots ?? [];
  const stepsOf = namesOfSteps(input.roots);
  const namesOf = (root: PlanRoot) => listSteps(stepsOf(root), options.checks);
  await announce(context, ['clone', ...named.flatMap(namesOf)]);
  const repositories = options.repositories[input.credential];
  const wanted = {
    url: input.cloneUrl,
    ref: input.revision,
    otherRef: `refs/pull/${input.pullRequest}/head`,
    auth: credentials.git,
    directory: path.join(folder, 'checkout'),
  };
  const found = await watched(context, 'clone', (step) =>
    checkOutForRun(repositories, step, wanted, async (repository) =>
      input.roots === null
        ? rootsOfPull(repository, { head: input.revision, baseRef: input.baseRef ?? 'main' }, signal)
        : null,
    ),
  );
  if (found instanceof StepFailed) {
    await blockPending(context, await options.steps(run.id));
    throw found;
  }
  await openRunFolder(options, { folder, checkout: wanted.directory });
  const roots = input.roots ?? found.found?.roots ?? [];
  const remarks = found.found?.remarks ?? [];
  if (input.roots === null) {
    await announce(context, roots.flatMap(namesOf), 1);
  }
  await emit(...remarks.map((message) => ({ type: 'run.notice', level: 'warning', message }) as const), {
    type: 'run.chosen',
    count: roots.length,
    message: `Planning ${roots.length} root(s)`,
  });

  const planned: (PlannedRoot | StepFailed)[] = [];
  for (const [index, root] of roots.entries()) {
    const place = { folder: await makeInnerFolder(folder, `root-${index}`), checkout: wanted.directory };
    planned.push(await planRoot(options, context, place, root, stepsOf(root), credentials.secrets));
  }
  return concludePlan(planned, remarks);
}

/** A root that cannot be planned does not stop the others. */
async function planRoot(
  options: PlanOptions,
  context: Context,
  { folder, checkout }: { folder: string; checkout: string },
  root: PlanRoot,
  steps: RootSteps,
  secrets: readonly string[],
): Promise<PlannedRoot | StepFailed> {
  const { run, signal } = context;
  const planned = await watched(context, steps.plan, async (step) => {
    const version = await versionOf(options, context, root);
    const prepared = await prepareTool(options, {
      runId: run.id,
      folder,
      checkout,
      directory: root.directory,
      tool: root.tool,
      version,
      environment: {},
      timeoutMs: options.timeoutMs,
      // Whoever opens a pull request is nobody we know.
      trusted: false,
      secrets,
      given: [],
      signal,
    });
    try {
      const { tool, remarks: prefaceLines } = prepared;
      await initialise(options, tool, step, { flags: ['-no-color'], prefaceLines, step: steps.init });
      const { summary, jsonFile } = await makePlan(options, tool, step, {
        planFile: path.join(folder, 'tfplan'),
        flags: [],
        step: steps.plan,
        plain: true,
        maxCharacters: MAX_PLAN_CHARACTERS,
      });
      const asked = { checks: options.checks, jsonFile, root: steps.suffix };
      return { summary, refusal: await refusalOf(runChecks(options, tool, context, asked)) };
    } finally {
      await prepared.release();
    }
  });
  if (planned instanceof StepFailed) {
    const names = listSteps(steps, options.checks);
    await blockPending(
      context,
      (await options.steps(run.id)).filter(({ id }) => names.includes(id)),
    );
  }
  return planned;
}

/**
 * Whoever sends requests does not know what the server has, so any version will do for them. Our own rules mean the
 * version that they name: an apply would use it.
 */
async function versionOf(
  { tools }: PlanOptions,
  { run, emit }: Context,
  root: PlanRoot,
): Promise<string | null> {
  if (run.input.credential === 'configured') return root.toolVersion;
  const { version, remark } = await versionThere(tools, root);
  if (remark !== null) await emit({ type: 'run.notice', level: 'warning', message: remark });
  return version;
}

/** Does the work; what it fails with is diagnosed from the end of its log and given back. */
async function watched<T>(
  context: Context,
  step: string,
  work: (context: StepContext) => Promise<T>,
): Promise<T | StepFailed> {
  const { watching, tail } = withTails(context);
  try {
    return await work(watching);
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    const lines = tail();
    await context.emit({ type: 'run.diagnosed', step, ...diagnose(lines, error.outcome), lines });
    return error;
  }
}

function namesOfSteps(named: readonly PlanRoot[] | null) {
  const isOne = named?.length === 1;
  return ({ directory }: PlanRoot): RootSteps =>
    isOne
      ? { init: 'init', plan: 'plan', suffix: null }
      : { init: `init ${directory}`, plan: `plan ${directory}`, suffix: directory };
}

/** In the order in which they are run. */
function listSteps({ init, plan, suffix }: RootSteps, checks: readonly PlanCheck[]): string[] {
  return [init, plan, ...checks.map((check) => checkStep(check, suffix))];
}

/** A plan that a check refuses is still shown. */
async function refusalOf(checks: Promise<unknown>): Promise<StepFailed | null> {
  try {
    await checks;
    return null;
  } catch (error) {
    if (error instanceof StepFailed) return error;
    throw error;
  }
}

async function announce({ emit }: Context, steps: readonly string[], from = 0): Promise<void> {
  await emit(...steps.map((step, index) => plannedStep(step, from + index)));
}
