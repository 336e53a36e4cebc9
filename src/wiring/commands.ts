/** Builds what comment commands need: a reader of GitHub, the pipeline, and the check before their deployments. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.ts';
import { createPullReader, type PullReader } from '../github/pull-reader.ts';
import { command } from '../pipelines/comment-command/command.ts';
import { commandVerdict } from '../pipelines/comment-command/command-rules.ts';
import type { DeployOptions } from '../pipelines/deploy/attempt.ts';
import type { Outcome, Pipeline } from '../pipelines/pipeline.ts';
import type { CommandInput } from '../runs/command.ts';
import { environmentProblem } from '../runs/deployments/tool-flags.ts';
import type { RunStore } from '../runs/run-store.ts';
import type { CommentOptions } from '../triggers/github/comment-command.ts';
import type { Sealer } from '../triggers/seal.ts';
import { HOUR, SECOND } from '../units.ts';
import { type GitHubRepository, githubRepository } from './repositories/github.ts';

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

/** The repositories whose comments are obeyed, for the webhook. */
export function commandSources(
  { plans }: Pick<Config, 'plans'>,
  repositories: readonly GitHubRepository[],
): NonNullable<CommentOptions['commands']> {
  if (!plans.commentCommands) return [];
  return repositories.map(({ fullName, cloneUrl, access: { apiUrl }, first }) => ({
    repository: fullName,
    cloneUrl,
    apiUrl,
    branch: first.place.branch,
  }));
}

interface CommandParts {
  sealer: Sealer;
  repository: DeployOptions['ownRepository'];
  github: readonly GitHubRepository[];
}

export function buildCommands(
  config: Config,
  store: RunStore,
  { sealer, repository, github }: CommandParts,
): Commands {
  const off: Outcome = { state: 'errored', reason: 'github_unavailable', message: OFF };
  const isObeyed = (input: CommandInput) =>
    config.plans.commentCommands && githubRepository(github, input.repository) !== undefined;
  const reader = (input: CommandInput) => {
    const own = githubRepository(github, input.repository);
    if (!own) throw new Error(`No comment of ${input.repository} is obeyed.`);
    return createPullReader(own.access, input);
  };
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
    pipeline: async (context) => (isObeyed(context.run.input) ? command(options, context) : off),
    withdrawn: async (asked, commit, signal) =>
      isObeyed(asked) ? withdrawn(reader(asked), asked, commit, signal) : OFF,
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
