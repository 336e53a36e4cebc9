/** The commands of one service: the task that syncs it, and the check after a success. */

import path from 'node:path';
import type { Executor, StepResult } from '../../executor/executor.ts';
import type { Workspace } from '../../git/own/workspace.ts';
import type { LedgerFact } from '../../runs/run-events.ts';
import type { PipelineContext } from '../pipeline.ts';
import { commandOf, cwdOf, verifyOf } from '../rules/service-texts.ts';
import type { ServiceAtCommit } from '../rules/snapshot.ts';
import { stepHooks } from '../step.ts';

export interface CommandOptions {
  executor: Pick<Executor, 'run'>;
  invokeCommand: readonly [string, ...string[]];
  workspace: Pick<Workspace, 'directory'>;
  /** PATH, HOME and the like. */
  plumbing: Readonly<Record<string, string>>;
}

export interface ServiceToSync {
  service: ServiceAtCommit;
  /** The variables that its task gets, with its secrets. */
  environment: Readonly<Record<string, string>>;
  /** The secrets of the environment among them, which are masked in the output. */
  secrets: readonly string[];
  /** Replaces the usual time limit, unless it is null. */
  timeoutMs: number | null;
  ledger: LedgerFact & { configHash: string };
}

interface ServiceCommands {
  task(resultFile: string): Promise<StepResult>;
  /** Resolves to null if the rule has no check. The check gets the time that the task left. */
  verify(): Promise<StepResult | null>;
}

export function createServiceCommands(
  options: CommandOptions,
  context: PipelineContext<'sync'>,
  { service, ledger, environment, secrets }: ServiceToSync,
  timeoutMs: number,
): ServiceCommands {
  const { directory } = options.workspace;
  const texts = { ...service, revision: ledger.commit };
  const env = {
    ...options.plumbing,
    ...environment,
    PYTHONPATH: directory,
    PYTHONUNBUFFERED: '1',
    IAC_RUN_ID: context.run.id,
    IAC_SERVICE: service.id,
    IAC_ENVIRONMENT: service.environment,
    IAC_COMMIT: ledger.commit,
    IAC_CONFIG_HASH: ledger.configHash,
  };
  const hooks = stepHooks(context, service.id);
  const usual = { cwd: path.join(directory, cwdOf(texts)), env, secrets, signal: context.signal };
  let endsAt = 0;
  return {
    async task(resultFile) {
      const argv = argvOf(commandOf(texts, options.invokeCommand));
      // This is stored before the task runs, so that a service whose task was started never counts as unchanged.
      await context.emit({ type: 'step.started', step: service.id, command: argv, ledger });
      endsAt = performance.now() + timeoutMs;
      const result = { variable: 'IAC_RESULT_FILE', file: resultFile };
      return options.executor.run({ ...usual, argv, result, timeoutMs }, hooks);
    },
    async verify() {
      const command = verifyOf(texts);
      if (command === null) return null;
      const leftMs = Math.max(1, Math.ceil(endsAt - performance.now()));
      return options.executor.run({ ...usual, argv: argvOf(command), timeoutMs: leftMs }, hooks);
    },
  };
}

/** The schema of the rules refuses an empty command. */
function argvOf([program = '', ...args]: readonly string[]): [string, ...string[]] {
  return [program, ...args];
}
