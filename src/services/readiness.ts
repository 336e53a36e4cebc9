/** What the server needs to do its work, and how each of it is looked at. */

import { access, constants } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { makeFolder } from '../make-folder.ts';
import { isOpen } from '../pipelines/open-folder.ts';
import { stepFolderProblem } from '../pipelines/try-step-folder.ts';
import { captureProcess } from '../process/capture.ts';
import type { RunStore } from '../runs/run-store.ts';
import { createReadiness, type Readiness } from '../web/readiness.ts';
import { buildExecutor, buildStepUser, stepPlumbing } from './executor.ts';
import { requireSpace, secretsOf } from './sync.ts';

const PROBE_TIMEOUT_MS = 5_000;
/** Through ssh or a container. */
const EXECUTOR_PROBE_TIMEOUT_MS = 20_000;

export function buildReadiness(config: Config, store: RunStore): () => Promise<Readiness> {
  const stepFolders = checkStepFolders(config);
  return createReadiness(
    {
      store: () => store.check(),
      workspace: () => checkWorkspace(config),
      disk: () => requireSpace(config),
      git: () => checkProgram(config, ['git', '--version'], 'Install git.'),
      task_runner: () => checkTaskRunner(config),
      ...(stepFolders && { step_folders: stepFolders }),
    },
    Date.now,
  );
}

async function checkWorkspace({ workspaceDir }: Config): Promise<void> {
  makeFolder(workspaceDir);
  await access(workspaceDir, constants.W_OK | constants.X_OK);
}

/** Where it will run. */
async function checkTaskRunner(config: Config): Promise<void> {
  const argv: [string, ...string[]] = [...config.invokeCommand, '--version'];
  const remedy = 'Install invoke or set INVOKE_COMMAND.';
  if (config.executor.command === null) return checkProgram(config, argv, remedy);
  const result = await buildExecutor(config, secretsOf(config)).capture({
    argv,
    cwd: '/',
    env: { ...stepPlumbing(config), IAC_RUNNER_DATA: config.dataDir },
    timeoutMs: EXECUTOR_PROBE_TIMEOUT_MS,
    signal: AbortSignal.timeout(EXECUTOR_PROBE_TIMEOUT_MS),
  });
  if (result.kind === 'exited' && result.exitCode === 0) return;
  const problem = result.kind === 'failed' ? result.problem : `${argv.join(' ')} did not succeed`;
  throw new Error(`${problem}. ${remedy} Or look at EXECUTOR_COMMAND.`);
}

/** Null when nobody else is to work in DEPLOY_DIR. Once it was well it is not tried again. */
function checkStepFolders(config: Config): (() => Promise<void>) | null {
  const stepUser = buildStepUser(config, buildExecutor(config, secretsOf(config)));
  if (stepUser === null) return null;
  const { directory } = config.deploy;
  let isWell = false;
  return async () => {
    if (isWell || !(await isOpen(directory))) return;
    const problem = await stepFolderProblem('DEPLOY_DIR', directory, stepUser);
    if (problem !== null) throw new Error(problem);
    isWell = true;
  };
}

async function checkProgram(config: Config, argv: [string, ...string[]], remedy: string): Promise<void> {
  const result = await captureProcess({
    argv,
    cwd: '/',
    // As with git: one that outlives a killed server is ended by the next.
    env: { ...config.plumbing, IAC_RUNNER_DATA: config.dataDir },
    timeoutMs: PROBE_TIMEOUT_MS,
  });
  if (result.kind === 'exited' && result.exitCode === 0) return;
  const problem = result.kind === 'not_started' ? result.message : `${argv.join(' ')} did not succeed.`;
  throw new Error(`${problem} ${remedy}`);
}

export async function sayWhatIsMissing(readiness: () => Promise<Readiness>, log: Logger): Promise<void> {
  const { checks } = await readiness();
  for (const [part, check] of Object.entries(checks)) {
    if (check.status === 'failed') log.warn({ part, problem: check.problem }, 'not ready');
  }
}
