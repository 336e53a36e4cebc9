/** The plan of a pull request: fetches the head, and shows what each root would change. Applies nothing. */

import path from 'node:path';
import type { PlanCheck } from '../../config.ts';
import type { RemoteRepositories } from '../../git/requested/remote-repositories.ts';
import { makeInnerFolder, removeFolder } from '../../isolation/open-folder.ts';
import type { GitAuth } from '../../runs/deployments/deployment.ts';
import type { PlanRoot } from '../../runs/plan-comment.ts';
import type { PlanRun, Step } from '../../runs/run.ts';
import { checkOutForRun } from '../check-out.ts';
import type { Outcome, PipelineContext } from '../pipeline.ts';
import { makeRunFolder, openRunFolder } from '../run-folder.ts';
import { blockPending, plannedStep, type StepContext, StepFailed } from '../step.ts';
import { type ChangedRoots, rootsOfPull } from '../terraform/changed-roots.ts';
import { checkStep, runChecks } from '../terraform/checks.ts';
import { diagnose, watchLog } from '../terraform/diagnosis.ts';
import { versionThere } from '../terraform/install/tools.ts';
import { withPreparedTool } from '../terraform/prepare-tool.ts';
import { initialise, makePlan } from '../terraform/tool-phases.ts';
import type { PreparedTool, ToolSettings } from '../terraform/tool-step.ts';
import { type HeadOptions, type LookedUp, whyNotPlanned } from './plan-head.ts';
import { concludePlan, type PlannedRoot } from './plan-outcome.ts';

export interface PlanOptions extends ToolSettings {
  steps(runId: string): Promise<Step[]>;
  repositories: Record<PlanRun['input']['credential'], Pick<RemoteRepositories, 'open'>>;
  latestEvent: HeadOptions['latestEvent'];
  /** Resolves to null if the token of the request cannot be read any more. `git` is null if no token is needed. */
  credentials(run: PlanRun): Promise<Credentials | null>;
  /** Never throws, whatever GitHub answers. */
  lookUp(run: PlanRun, signal: AbortSignal): Promise<LookedUp>;
  /** For each command. */
  timeoutMs: number;
}

interface Credentials {
  git: GitAuth | null;
  secrets: readonly string[];
}

/** One attempt at a plan: its settings, and the folder of its checkout. */
interface Attempt {
  options: PlanOptions;
  context: PipelineContext<'plan'>;
  credentials: Credentials;
  folder: string;
  checkout: string;
}

/** The names of the steps of a root. */
interface RootSteps {
  init: string;
  plan: string;
  /** The names of checks end with this folder, unless it is null. */
  suffix: string | null;
}

const MAX_PLAN_CHARACTERS = 200_000;

/** Throws if the signal ends the run, if the run has to go back into the queue, and for our own defects. */
export async function plan(options: PlanOptions, context: PipelineContext<'plan'>): Promise<Outcome> {
  const { run, signal } = context;
  const credentials = await options.credentials(run);
  if (credentials === null) {
    const message = 'The token of the request cannot be read';
    return { state: 'errored', reason: 'credentials_lost', message };
  }
  const notNow = await whyNotPlanned(options, run, await options.lookUp(run, signal));
  if (notNow) return notNow;

  const folder = path.join(options.directory, run.id);
  try {
    await makeRunFolder(folder, options.stepUser);
    return await planAll({ options, context, credentials, folder, checkout: path.join(folder, 'checkout') });
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    return error.outcome;
  } finally {
    // If this fails, housekeeping removes the folder later.
    await removeFolder(folder, options.stepUser).catch(() => undefined);
  }
}

async function planAll(attempt: Attempt): Promise<Outcome> {
  const { options, context } = attempt;
  const { input } = context.run;
  const stepsOf = namesOfSteps(input.roots);
  const namesOf = (root: PlanRoot) => listSteps(stepsOf(root), options.checks);
  await announce(context, ['clone', ...(input.roots ?? []).flatMap(namesOf)]);
  const { roots, remarks } = await checkOut(attempt);
  if (input.roots === null) await announce(context, roots.flatMap(namesOf), 1);
  await context.emit(
    ...remarks.map((message) => ({ type: 'run.notice', level: 'warning', message }) as const),
    { type: 'run.chosen', count: roots.length, message: `Planning ${roots.length} root(s)` },
  );
  const planned: (PlannedRoot | StepFailed)[] = [];
  for (const [index, root] of roots.entries()) {
    const folder = await makeInnerFolder(attempt.folder, `root-${index}`);
    planned.push(await planRoot({ ...attempt, folder }, root, stepsOf(root)));
  }
  return concludePlan(planned, remarks);
}

/** Resolves to the roots that the request names or the pull request changes. */
async function checkOut(attempt: Attempt): Promise<ChangedRoots> {
  const { options, context, credentials, checkout: directory } = attempt;
  const { run, signal } = context;
  const { roots, credential, cloneUrl: url, revision: ref, pullRequest, baseRef } = run.input;
  const otherRef = `refs/pull/${pullRequest}/head`;
  const done = await diagnosed(context, 'clone', (step) =>
    checkOutForRun(
      options.repositories[credential],
      step,
      { url, ref, otherRef, auth: credentials.git, directory },
      async (repository) =>
        roots === null ? rootsOfPull(repository, { head: ref, baseRef: baseRef ?? 'main' }, signal) : null,
    ),
  );
  if (done instanceof StepFailed) {
    await blockPending(context, await options.steps(run.id));
    throw done;
  }
  await openRunFolder(attempt, options.stepUser);
  return done.found ?? { roots: roots ?? [], remarks: [] };
}

/** A root that cannot be planned does not stop the others. */
async function planRoot(
  attempt: Attempt,
  root: PlanRoot,
  steps: RootSteps,
): Promise<PlannedRoot | StepFailed> {
  const { options, context, credentials, folder, checkout } = attempt;
  const { run, signal } = context;
  const planned = await diagnosed(context, steps.plan, async (step) => {
    const wanted = {
      runId: run.id,
      folder,
      checkout,
      directory: root.directory,
      tool: root.tool,
      version: await versionOf(attempt, root),
      environment: {},
      timeoutMs: options.timeoutMs,
      // Anybody can open a pull request.
      trusted: false,
      secrets: credentials.secrets,
      given: [],
      signal,
    };
    return withPreparedTool(options, wanted, async (tool, prefaceLines) => {
      await initialise(tool, step, { flags: ['-no-color'], prefaceLines, step: steps.init });
      const { summary, jsonFile } = await makePlan(tool, step, {
        planFile: path.join(folder, 'tfplan'),
        flags: [],
        step: steps.plan,
        plain: true,
        maxCharacters: MAX_PLAN_CHARACTERS,
      });
      return { summary, refusal: await findRefusal(attempt, tool, { jsonFile, root: steps.suffix }) };
    });
  });
  if (planned instanceof StepFailed) {
    const names = listSteps(steps, options.checks);
    const all = await options.steps(run.id);
    await blockPending(
      context,
      all.filter(({ id }) => names.includes(id)),
    );
  }
  return planned;
}

/**
 * The sender of a request does not know the tools of the server, so another version may be used. The operator's own
 * rules name the version that an apply would use, so only that one will do.
 */
async function versionOf({ options, context }: Attempt, root: PlanRoot): Promise<string | null> {
  if (context.run.input.credential === 'configured') return root.toolVersion;
  const { version, remark } = await versionThere(options.tools, root);
  if (remark !== null) await context.emit({ type: 'run.notice', level: 'warning', message: remark });
  return version;
}

/** Does the work. If it fails, stores a diagnosis from the end of its log and returns the error. */
async function diagnosed<T>(
  context: PipelineContext<'plan'>,
  step: string,
  work: (context: StepContext) => Promise<T>,
): Promise<T | StepFailed> {
  const { watching, tail } = watchLog(context);
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

/** The error of a required check that refuses the plan, or null. The plan is shown in both cases. */
async function findRefusal(
  { options, context }: Attempt,
  tool: PreparedTool,
  asked: { jsonFile: string; root: string | null },
): Promise<StepFailed | null> {
  try {
    await runChecks(tool, context, { checks: options.checks, ...asked });
    return null;
  } catch (error) {
    if (error instanceof StepFailed) return error;
    throw error;
  }
}

async function announce(
  { emit }: PipelineContext<'plan'>,
  steps: readonly string[],
  from = 0,
): Promise<void> {
  await emit(...steps.map((step, index) => plannedStep(step, from + index)));
}
