/** Builds what plans of pull requests need: the endpoint for Pub/Sub, the pipeline, and the reporter of comments. */

import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Handler } from 'hono';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { GitError } from '../errors.ts';
import type { Git } from '../git/git.ts';
import type { Mirror } from '../git/own/mirror.ts';
import { createOwnRepository } from '../git/own/own-repository.ts';
import type { RemoteRepositories } from '../git/requested/remote-repositories.ts';
import { createScratchRepository, type ScratchRepository } from '../git/requested/scratch-repository.ts';
import { createGitHubComments } from '../github/github-comments.ts';
import { createPullReader } from '../github/pull-reader.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import { type PlanOptions, plan } from '../pipelines/plan/plan.ts';
import { startRequestComments } from '../reporters/github-reporters.ts';
import type { PlanRun } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import type { PullRequestOptions } from '../triggers/github/pull-request.ts';
import { createOidcVerifier } from '../triggers/plan/oidc.ts';
import { openPlanSecrets } from '../triggers/plan/plan-secrets.ts';
import { createPubsubPush, type PubsubPushOptions } from '../triggers/plan/pubsub-push.ts';
import type { Gate } from '../triggers/signed-body.ts';
import { MINUTE } from '../units.ts';
import { VERSION } from '../version.ts';
import type { ToolSetup } from './deployments.ts';
import { buildGit, buildServerRepositories, GIT_TIMEOUT_MS, requireSpace } from './repositories/git.ts';
import { type GitHubRepository, githubRepository } from './repositories/github.ts';

/** The time limit of each command of the tool. */
const COMMAND_TIMEOUT_MS = 30 * MINUTE;
/** GitHub takes any user name with a token: https://docs.github.com/en/get-started/git-basics/about-remote-repositories */
const TOKEN_USER = 'x-access-token';

/** A plan may have been accepted while this server, or another one, had a wall. */
const NO_WALL = 'Neither EXECUTOR_COMMAND nor TRUST_PULL_REQUEST_AUTHORS is set here';

export interface Plans {
  pipeline: Pipeline<'plan'>;
  pubsubPush(gate: Gate): Handler;
  /** The operator's own repositories, for heads of pull requests. */
  repository: Pick<RemoteRepositories, 'open'>;
  /** The repositories with the heads of our own pull requests, for the webhook. */
  ownPulls: PullRequestOptions['plans'];
  /** Starts to write the comments of plans whose requests sent a token. Returns the function that ends this. */
  startComments(runUrl: (runId: string) => string, onFailure: (error: unknown) => void): () => Promise<void>;
}

export async function buildPlans(
  config: Config,
  store: RunStore,
  { setup, github }: { setup: ToolSetup; github: readonly GitHubRepository[] },
  log: Logger,
): Promise<Plans> {
  const tokenOf = (run: PlanRun) => readToken(github, store, setup, run);
  // Requests for plans may name other hosts than deployments, so they have repositories of their own.
  const repositories = await buildServerRepositories(
    config,
    {
      directory: path.join(config.dataDir, 'plan-repositories'),
      rules: { protocols: config.remotes.protocols, hosts: config.plans.allowedHosts },
      tempDir: path.join(config.dataDir, 'sessions'),
    },
    log,
  );
  const own = await ownRepositories(config, github);
  const options = planOptions(setup, { configured: own, sealed: repositories }, { store, tokenOf });
  const pushes = pubsubPushes(config, store, setup, log);
  return {
    pipeline: async (context) =>
      config.wall.pullRequests
        ? plan(options, context)
        : { state: 'errored', reason: 'no_wall', message: NO_WALL },
    pubsubPush: (gate) => createPubsubPush({ ...pushes, gate }),
    repository: own,
    ownPulls: config.plans.pullRequests && github.length > 0 ? (name) => sourceOf(github, name) : undefined,
    startComments(runUrl, onFailure) {
      const comments = startRequestComments({
        store,
        log,
        runUrl,
        onFailure,
        async openClient(run) {
          const token = await tokenOf(run);
          if (token === null) return null;
          const { apiUrl } = run.input;
          return createGitHubComments({ apiUrl, token, version: VERSION, ofRequest: true });
        },
      });
      return () => comments.stop();
    },
  };
}

function planOptions(
  setup: ToolSetup,
  repositories: PlanOptions['repositories'],
  { store, tokenOf }: { store: RunStore; tokenOf(run: PlanRun): Promise<string | null> },
): PlanOptions {
  return {
    ...setup,
    // The head of a stranger gets none of the operator's tokens.
    registryUrl: null,
    repositories,
    steps: store.steps,
    latestEvent: store.latestEvent,
    async credentials(run) {
      // The operator's own repository is read with the configured credentials.
      if (run.input.credential === 'configured') return { git: null, secrets: [] };
      const token = await tokenOf(run);
      return token === null
        ? null
        : { git: { type: 'http', username: TOKEN_USER, password: token }, secrets: [token] };
    },
    async lookUp(run) {
      const token = await tokenOf(run);
      if (token === null) return null;
      const access = { apiUrl: run.input.apiUrl, token, version: VERSION, ofRequest: true };
      return createPullReader(access, run.input).pull();
    },
    timeoutMs: COMMAND_TIMEOUT_MS,
  };
}

/** Returns null if there is no token. */
async function readToken(
  github: readonly GitHubRepository[],
  store: RunStore,
  { sealer }: ToolSetup,
  { id, input }: PlanRun,
): Promise<string | null> {
  if (input.credential === 'configured')
    return githubRepository(github, input.repository)?.access.token ?? null;
  return openPlanSecrets(await store.sealed(id), sealer.open)?.token ?? null;
}

/** Opens our own repositories by their addresses without credentials. */
async function ownRepositories(
  config: Config,
  github: readonly GitHubRepository[],
): Promise<Pick<RemoteRepositories, 'open'>> {
  const directory = path.join(config.dataDir, 'plans');
  // A killed server may have left files there.
  await rm(directory, { recursive: true, force: true });
  const opened = new Map(
    github.map(({ cloneUrl, first }) => {
      const git = buildGit(config, first.repository, GIT_TIMEOUT_MS);
      const openScratch = () => openScratchOn(config, first.mirror, git, directory);
      return [cloneUrl, createOwnRepository({ git, mirror: first.mirror, openScratch })];
    }),
  );
  return {
    async open(wanted) {
      const own = opened.get(wanted.url);
      if (own) return own.open(wanted);
      throw new GitError('unavailable', `${wanted.url} is not a repository of this server.`, {
        nextAction: 'Put it back into the configuration, with a token.',
      });
    },
  };
}

async function openScratchOn(
  config: Config,
  mirror: Mirror,
  git: Git,
  directory: string,
): Promise<ScratchRepository> {
  await requireSpace(config);
  const objects = path.join(mirror.directory, 'objects');
  return createScratchRepository({ git, directory: path.join(directory, randomUUID()), objects });
}

/** Returns null without a token, as nobody could write the comments then. */
function sourceOf(
  github: readonly GitHubRepository[],
  name: string,
): { cloneUrl: string; apiUrl: string } | null {
  const own = githubRepository(github, name);
  return own ? { cloneUrl: own.cloneUrl, apiUrl: own.access.apiUrl } : null;
}

function pubsubPushes(
  config: Config,
  store: RunStore,
  { sealer }: ToolSetup,
  log: Logger,
): Omit<PubsubPushOptions, 'gate'> {
  const { pubsub, allowedHosts } = config.plans;
  return {
    store,
    pubsub: pubsub && { verify: pubsub.oidc && createOidcVerifier(pubsub.oidc) },
    seal: sealer.seal,
    protocols: config.remotes.protocols,
    allowedHosts,
    apiUrl: config.githubApiUrl,
    log,
  };
}
