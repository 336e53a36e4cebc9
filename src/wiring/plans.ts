/** Builds what plans of pull requests need: the door of Pub/Sub, the pipeline, and who writes the comments. */

import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Handler } from 'hono';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { Mirror } from '../git/own/mirror.ts';
import { createOwnRepository } from '../git/own/own-repository.ts';
import { parseRemote } from '../git/requested/remote.ts';
import {
  clearRemoteLocks,
  createRemoteRepositories,
  type RemoteRepositories,
} from '../git/requested/remote-repositories.ts';
import { createScratchRepository } from '../git/requested/scratch-repository.ts';
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
import { DAY, MINUTE } from '../units.ts';
import { VERSION } from '../version.ts';
import type { ToolRoom } from './deployments.ts';
import { buildGit, networkOf, requireSpace } from './sync.ts';

const GIT_TIMEOUT_MS = 10 * MINUTE;
/** Of each command of the tool. */
const COMMAND_TIMEOUT_MS = 30 * MINUTE;
const UNUSED_MIRROR_MS = 30 * DAY;
/** GitHub takes any user name with a token: https://docs.github.com/en/get-started/git-basics/about-remote-repositories */
const TOKEN_USER = 'x-access-token';

/** It was accepted while the server, or another one, had a wall. */
const NO_WALL = 'Neither EXECUTOR_COMMAND nor TRUST_PULL_REQUEST_AUTHORS is set here';

export interface Plans {
  pipeline: Pipeline<'plan'>;
  pubsubPush(gate: Gate): Handler;
  /** The operator's own, for heads of pull requests. */
  repository: Pick<RemoteRepositories, 'open'>;
  /** For the webhook: where heads of our own pull requests come from; null when they are not planned. */
  ownPulls: PullRequestOptions['plans'];
  /** Writes the comments of plans whose requests brought a token. Resolves when none is being written any more. */
  startComments(runUrl: (runId: string) => string, onFailure: (error: unknown) => void): () => Promise<void>;
}

export async function buildPlans(
  config: Config,
  store: RunStore,
  { room, mirror }: { room: ToolRoom; mirror: Mirror },
  log: Logger,
): Promise<Plans> {
  const tokenOf = (run: PlanRun) => readToken(config, store, room, run);
  const repositories = await buildRepositories(config, log);
  const repository = await ownRepository(config, mirror);
  const options: PlanOptions = {
    ...room,
    // A stranger's head gets no token of ours.
    registryUrl: null,
    repositories: { configured: repository, sealed: repositories },
    steps: store.steps,
    latestEvent: store.latestEvent,
    async credentials(run) {
      // Our own repository is read as it always is.
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
    checks: config.deploy.checks,
    timeoutMs: COMMAND_TIMEOUT_MS,
    approvalTimeoutMs: config.deploy.approvalTimeoutMs,
    now: Date.now,
  };
  const pushes = pubsubPushes(config, store, room, log);
  return {
    pipeline: async (context) =>
      config.wall.pullRequests
        ? plan(options, context)
        : { state: 'errored', reason: 'no_wall', message: NO_WALL },
    pubsubPush: (gate) => createPubsubPush({ ...pushes, gate }),
    repository,
    ownPulls: config.plans.pullRequests ? ownSource(config) : null,
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

/** Null when it is not to be had. */
async function readToken(
  { github }: Config,
  store: RunStore,
  { sealer }: ToolRoom,
  { id, input }: PlanRun,
): Promise<string | null> {
  if (input.credential === 'configured') return github?.token ?? null;
  return openPlanSecrets(await store.sealed(id), sealer.open)?.token ?? null;
}

async function ownRepository(config: Config, mirror: Mirror) {
  const git = buildGit(config, GIT_TIMEOUT_MS);
  const directory = path.join(config.dataDir, 'plans');
  // What a killed server left there.
  await rm(directory, { recursive: true, force: true });
  return createOwnRepository({
    git,
    mirror,
    async openScratch() {
      await requireSpace(config);
      const objects = path.join(mirror.directory, 'objects');
      return createScratchRepository({ git, directory: path.join(directory, randomUUID()), objects });
    },
  });
}

/** The comments are written with our token, so without one there is nothing to be planned for. */
export function ownSource({ github, git }: Config): { cloneUrl: string; apiUrl: string } | null {
  return github && { cloneUrl: parseRemote(git).url, apiUrl: github.apiUrl };
}

/** Apart from those of deployments: other hosts are allowed. */
async function buildRepositories(config: Config, log: Logger) {
  const directory = path.join(config.dataDir, 'plan-repositories');
  await clearRemoteLocks(directory);
  const repositories = createRemoteRepositories({
    directory,
    path: config.plumbing.PATH ?? '',
    home: config.plumbing.HOME ?? config.dataDir,
    timeoutMs: GIT_TIMEOUT_MS,
    rules: { protocols: config.remotes.protocols, hosts: config.plans.allowedHosts },
    network: { ...networkOf(config.plumbing), IAC_RUNNER_DATA: config.dataDir },
    tempDir: path.join(config.dataDir, 'sessions'),
    requireSpace: () => requireSpace(config),
    log,
  });
  repositories.removeUnused(UNUSED_MIRROR_MS).catch((err: unknown) => {
    log.warn({ err }, 'mirrors that nobody uses could not be removed');
  });
  return repositories;
}

function pubsubPushes(
  config: Config,
  store: RunStore,
  { sealer }: ToolRoom,
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
