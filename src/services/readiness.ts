/** What the server needs to do its work, and how each of it is looked at. */

import { access, constants } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { makeFolder } from '../make-folder.ts';
import { isOpen } from '../pipelines/open-folder.ts';
import { stepFolderProblem } from '../pipelines/try-step-folder.ts';
import { captureProcess } from '../process/capture.ts';
import type { RunStore } from '../runs/run-store.ts';
import { createReadiness, type ReadinessProbe } from '../web/readiness.ts';
import { buildExecutor, buildStepUser, stepPlumbing } from './executor.ts';
import { requireSpace, secretsOf } from './sync.ts';

const PROBE_TIMEOUT_MS = 5_000;
/** Through ssh or a container. */
const EXECUTOR_PROBE_TIMEOUT_MS = 20_000;

export interface ReadinessRoom extends Pick<ReadinessProbe, 'look'> {
  /** Ends what is still being looked at. */
  stop(): Promise<void>;
  /** Aborted by that. */
  signal: AbortSignal;
}

export function buildReadiness(config: Config, store: RunStore): ReadinessRoom {
  const ending = new AbortController();
  const { signal } = ending;
  const git = { argv: ['git', '--version'], remedy: 'Install git.', signal } as const;
  const stepFolders = checkStepFolders(config, signal);
  const { look, settled } = createReadiness(
    {
      store: () => store.check(),
      workspace: () => checkWorkspace(config),
      disk: () => requireSpace(config),
      git: () => checkProgram(config, git),
      task_runner: () => checkTaskRunner(config, signal),
      ...(stepFolders && { step_folders: stepFolders }),
    },
    Date.now,
  );
  return {
    look,
    signal,
    async stop() {
      ending.abort();
      await settled();
    },
  };
}

async function checkWorkspace({ workspaceDir }: Config): Promise<void> {
  makeFolder(workspaceDir);
  await access(workspaceDir, constants.W_OK | constants.X_OK);
}

/** Where it will run. */
async function checkTaskRunner(config: Config, signal: AbortSignal): Promise<void> {
  const argv: [string, ...string[]] = [...config.invokeCommand, '--version'];
  const remedy = 'Install invoke or set INVOKE_COMMAND.';
  if (config.executor.command === null) return checkProgram(config, { argv, remedy, signal });
  const result = await buildExecutor(config, secretsOf(config)).capture({
    argv,
    cwd: '/',
    env: { ...stepPlumbing(config), IAC_RUNNER_DATA: config.dataDir },
    timeoutMs: EXECUTOR_PROBE_TIMEOUT_MS,
    signal: AbortSignal.any([signal, AbortSignal.timeout(EXECUTOR_PROBE_TIMEOUT_MS)]),
  });
  if (result.kind === 'exited' && result.exitCode === 0) return;
  const problem = result.kind === 'failed' ? result.problem : `${argv.join(' ')} did not succeed`;
  throw new Error(`${problem}. ${remedy} Or look at EXECUTOR_COMMAND.`);
}

/** Null when nobody else is to work in DEPLOY_DIR. Once it was well it is not tried again. */
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
  /** What to do when it cannot be run. */
  remedy: string;
  signal: AbortSignal;
}

async function checkProgram(config: Config, { argv, remedy, signal }: ProgramCheck): Promise<void> {
  const result = await captureProcess({
    argv,
    cwd: '/',
    // As with git: one that outlives a killed server is ended by the next.
    env: { ...config.plumbing, IAC_RUNNER_DATA: config.dataDir },
    timeoutMs: PROBE_TIMEOUT_MS,
    signal,
  });
  if (result.kind === 'exited' && result.exitCode === 0) return;
  const problem = result.kind === 'not_started' ? result.message : `${argv.join(' ')} did not succeed.`;
  throw new Error(`${problem} ${remedy}`);
}

export async function sayWhatIsMissing({ look, signal }: ReadinessRoom, log: Logger): Promise<void> {
  const { checks } = await look();
  if (signal.aborted) return;
  for (const [part, check] of Object.entries(checks)) {
    if (check.status === 'failed') log.warn({ part, problem: check.problem }, 'not ready');
  }
}
