/** Builds what comment commands need: a reader of GitHub, the pipeline, and the check before their deployments. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.ts';
import { createPullReader, type PullReader } from '../github/pull-reader.ts';
import { command } from '../pipelines/comment-command/command.ts';
import { commandVerdict } from '../pipelines/comment-command/command-rules.ts';
import type { DeployOptions } from '../pipelines/deploy/attempt.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import type { CommandInput } from '../runs/command.ts';
import { environmentProblem } from '../runs/deployments/tool-flags.ts';
import type { RunStore } from '../runs/run-store.ts';
import type { CommentOptions } from '../triggers/github/comment-command.ts';
import type { Sealer } from '../triggers/seal.ts';
import { HOUR, SECOND } from '../units.ts';
import { VERSION } from '../version.ts';
import { ownSource } from './plans.ts';

/** The time limit of each command of a deployment. */
const COMMAND_TIMEOUT_MS = HOUR;
/**
 * A deployment asks in this interval whether its comment still counts, and gives up after TRIES answers without a
 * result.
 */
const ASK_AGAIN_MS = 5 * SECOND;
const TRIES = 12;
const OFF = 'Comments are not obeyed any more: COMMENT_COMMANDS or GITHUB_TOKEN is not set';

export interface Commands {
  pipeline: Pipeline<'command'>;
  withdrawn: DeployOptions['withdrawn'];
}

/** The repository whose comments are obeyed, for the webhook; null if none are. */
export function commandSource(config: Config): NonNullable<CommentOptions['commands']> | null {
  const { plans, github } = config;
  const source = ownSource(config);
  if (!plans.commentCommands || github === null || source === null) return null;
  return { ...source, repository: `${github.owner}/${github.repo}` };
}

export function buildCommands(
  config: Config,
  store: RunStore,
  { sealer, repository }: { sealer: Sealer; repository: DeployOptions['ownRepository'] },
): Commands {
  const { github } = config;
  if (github === null || commandSource(config) === null) {
    return {
      pipeline: async () => ({ state: 'errored', reason: 'github_unavailable', message: OFF }),
      withdrawn: async () => OFF,
    };
  }
  const { apiUrl, token } = github;
  const reader = (input: CommandInput) => createPullReader({ apiUrl, token, version: VERSION }, input);
  const { publicUrl } = config.server;
  const options = {
    store,
    github: reader,
    repository,
    sealSecrets: (secrets: object) => sealer.seal(JSON.stringify(secrets)),
    environment: toolVariables(config.taskEnvironment),
    timeoutMs: COMMAND_TIMEOUT_MS,
    runUrl: (runId: string) => `${publicUrl ?? ''}/runs/${runId}`,
    now: Date.now,
  };
  return {
    pipeline: (context) => command(options, context),
    withdrawn: (asked, commit, signal) => withdrawn(reader(asked), asked, commit, signal),
  };
}

async function withdrawn(
  github: PullReader,
  asked: CommandInput,
  commit: string,
  signal: AbortSignal,
): Promise<string | null> {
  for (let tries = 1; ; tries += 1) {
    const verdict = await commandVerdict(github, asked, commit);
    if (verdict.kind === 'granted') return null;
    if (verdict.kind === 'refused' || tries === TRIES) return verdict.message;
    await sleep(ASK_AGAIN_MS, undefined, { signal });
  }
}

/** Returns the variables that tasks get, without those that would change the tool itself. */
function toolVariables(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).filter(([name, value]) => environmentProblem(name, value) === null),
  );
}
