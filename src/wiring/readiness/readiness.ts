/** Builds the checks of everything that the server needs to do its work. */

import type { Logger } from 'pino';
import type { Config } from '../../config.ts';
import { describeError, MustEndError } from '../../errors.ts';
import { isOpen } from '../../isolation/open-folder.ts';
import { stepFolderProblem } from '../../isolation/try-step-folder.ts';
import { captureProcess } from '../../process/capture.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { SECOND } from '../../units.ts';
import { type Checks, createReadiness, type ReadinessProbe } from '../../web/frame/readiness.ts';
import { buildExecutor, buildStepUser, isElsewhere } from '../executor.ts';
import { buildGit, requireSpace } from '../repositories/git.ts';
import type { OpenPlace } from '../repositories/places.ts';
import { secretsOf } from '../sync.ts';
import { type BranchChecksOptions, branchChecks, needsTaskRunner } from './branch-checks.ts';
import { checkExecutor, checkTaskRunner, checkWorkspace } from './program-checks.ts';

const PROBE_TIMEOUT_MS = 5 * SECOND;

export interface Readiness extends Pick<ReadinessProbe, 'look'> {
  /** Ends the checks that are under way. */
  stop(): Promise<void>;
  /** Aborted by `stop`. */
  signal: AbortSignal;
}

export function buildReadiness(config: Config, store: RunStore, places: readonly OpenPlace[]): Readiness {
  const ending = new AbortController();
  const { signal } = ending;
  const git = { argv: ['git', '--version'], remedy: 'Install git.', signal } as const;
  const stepFolders = checkStepFolders(config, signal);
  const checkout = places[0]?.checkout ?? '/';
  const programs = { executor: buildExecutor(config, secretsOf(config)), checkout, signal };
  const common = { ledger: store.ledger, now: Date.now, signal };
  const looks = places.map((open) => ({
    ...open,
    ...common,
    git: buildGit(config, open.repository, PROBE_TIMEOUT_MS),
  }));
  const { look, settled } = createReadiness(
    {
      store: () => store.check(),
      workspace: () => checkWorkspace(config),
      disk: () => requireSpace(config),
      git: () => checkProgram(config, git),
      ...checksOfPlaces(config, looks),
      async task_runner() {
        const needed = await Promise.all(looks.map(needsTaskRunner));
        return needed.includes(true) ? checkTaskRunner(config, programs) : null;
      },
      ...(isElsewhere(config.executor.command) && { executor: () => checkExecutor(config, programs) }),
      ...(stepFolders && { step_folders: stepFolders }),
    },
    Date.now,
  );
  return {
    look,
    signal,
    async stop() {
      ending.abort(new MustEndError('The server stops.', 0));
      await settled();
    },
  };
}

/** The checks of a named environment have its name, as each follows a branch of its own. */
function checksOfPlaces(config: Config, looks: readonly (OpenPlace & BranchChecksOptions)[]): Checks {
  const isOne = config.repositories.length === 1;
  const following = looks.filter(({ promotion }) => promotion === null);
  const all = following.flatMap((look) => {
    const { environment, repository } = look.place;
    const where = isOne ? environment : `${repository} ${environment}`;
    const suffix = environment === null ? '' : ` (${where})`;
    return Object.entries(branchChecks(config, look)).map(([name, check]) => [name + suffix, check] as const);
  });
  return following.length > 1 ? eachForItself(Object.fromEntries(all)) : Object.fromEntries(all);
}

/** One broken environment must not take the others out of service. Only if all checks fail has the server failed. */
function eachForItself(checks: Checks): Checks {
  const look = async (check: Checks[string]): Promise<string | null> => {
    try {
      const said = await check();
      return typeof said === 'string' ? said : null;
    } catch (error) {
      return describeError(error);
    }
  };
  const all = Object.entries(checks);
  return {
    ...Object.fromEntries(all.map(([name, check]) => [name, async () => (await look(check)) ?? undefined])),
    async environments() {
      const remotes = all.filter(([name]) => name.startsWith('remote'));
      const problems = await Promise.all(remotes.map(([, check]) => look(check)));
      if (problems.every((problem) => problem !== null)) throw new Error(problems[0] ?? 'No remote answers.');
    },
  };
}

/** Returns null if no other user works in DEPLOY_DIR. After a success the check is not repeated. */
function checkStepFolders(config: Config, signal: AbortSignal): (() => Promise<void>) | null {
  const stepUser = buildStepUser(config, buildExecutor(config, secretsOf(config)));
  if (stepUser === null) return null;
  const { directory } = config.deploy;
  let isWell = false;
  return async () => {
    if (isWell || !(await isOpen(directory))) return;
    const problem = await stepFolderProblem('DEPLOY_DIR', directory, stepUser, signal);
    if (problem !== null) throw new Error(problem);
    isWell = true;
  };
}

interface ProgramCheck {
  argv: readonly [string, ...string[]];
  /** The next action if the program cannot be run. */
  remedy: string;
  signal: AbortSignal;
}

async function checkProgram(config: Config, { argv, remedy, signal }: ProgramCheck): Promise<void> {
  const result = await captureProcess({
    argv,
    cwd: '/',
    // With this variable, the next server finds a process that outlives a killed one.
    env: { ...config.plumbing, IAC_RUNNER_DATA: config.dataDir },
    timeoutMs: PROBE_TIMEOUT_MS,
    signal,
  });
  if (result.kind === 'exited' && result.exitCode === 0) return;
  const problem = result.kind === 'not_started' ? result.message : `${argv.join(' ')} did not succeed.`;
  throw new Error(`${problem} ${remedy}`);
}

export async function sayWhatIsMissing({ look, signal }: Readiness, log: Logger): Promise<void> {
  const { checks } = await look();
  if (signal.aborted) return;
  for (const [part, check] of Object.entries(checks)) {
    if (check.status === 'failed') log.warn({ part, problem: check.problem }, 'not ready');
    if (check.status === 'degraded') log.warn({ part, problem: check.problem }, 'degraded');
  }
}
