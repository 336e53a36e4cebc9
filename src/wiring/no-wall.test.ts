/** Tests runs that need a wall. A server that has one accepts them, and a machine that has none gets them. */

import path from 'node:path';
import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { type Config, loadConfig } from '../config.ts';
import { createWorld } from '../git/test-support.ts';
import type { Pipelines } from '../pipelines/pipeline.ts';
import { enqueueRun } from '../runs/enqueue.ts';
import type { RunStore } from '../runs/run-store.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { executeRun } from '../worker/execute-run.ts';
import { buildDeploy, buildToolSetup } from './deployments.ts';
import { buildPlans } from './plans.ts';

const log = pino({ level: 'silent' });
const { signal } = new AbortController();

/** The pipelines as a machine with these settings builds them. */
async function openMachine(settings: Record<string, string>) {
  const world = await createWorld();
  const config: Config = loadConfig({
    PATH: process.env.PATH,
    WEBHOOK_SECRET: 'a-secret-of-a-test-0123',
    GIT_REPO_URL: world.remote,
    DATA_DIR: path.join(world.root, 'data'),
    DEPLOY_DIR: path.join(world.root, 'deployments'),
    ...settings,
  });
  const store = await createSqliteStore({ directory: config.dataDir });
  onTestFinished(() => store.close());
  const setup = await buildToolSetup(config, null, log);
  const plans = await buildPlans(config, store, { setup, github: [] }, log);
  const comments = { ownRepository: plans.repository, withdrawn: async () => null };
  const never = async (): Promise<never> => {
    throw new Error('Nobody asked for it.');
  };
  const pipelines: Pipelines = {
    sync: never,
    preview: never,
    command: never,
    deploy: buildDeploy(config, store, setup, comments),
    plan: plans.pipeline,
  };
  return { store, work: () => workOnNext(store, pipelines) };
}

async function workOnNext(store: RunStore, pipelines: Pipelines) {
  const claim = await store.claim({ owner: 'test', leaseMs: 600_000 });
  if (!claim) throw new Error('There is nothing to claim.');
  await executeRun({ store, pipelines, leaseMs: 600_000, draining: signal, stopping: signal, log }, claim);
  const { state, reason, message } = (await store.run(claim.run.id)) ?? {};
  return { state, reason, message, steps: await store.steps(claim.run.id) };
}

async function askForDeployment(store: RunStore, needsWall: boolean): Promise<void> {
  await enqueueRun(store, 'deploy', {
    trigger: { source: 'deploy_api', actor: 'ada' },
    // The secrets cannot be opened, so a deployment that was not refused ends with that error.
    sealed: 'sealed',
    priority: 0,
    labels: [],
    input: {
      operation: 'apply',
      tool: 'terraform',
      toolVersion: null,
      gitUrl: 'https://github.com/acme/infra.git',
      gitRef: 'main',
      path: '.',
      tfvarsFiles: [],
      timeoutMs: 60_000,
      autoApprove: false,
      callbackUrl: null,
      ...(needsWall && { needsWall }),
    },
  });
}

async function askForPlan(store: RunStore): Promise<void> {
  await enqueueRun(store, 'plan', {
    trigger: { source: 'pubsub' },
    sealed: 'sealed',
    input: {
      repository: 'acme/infra',
      pullRequest: 7,
      revision: 'a'.repeat(40),
      headRef: 'topic',
      baseRef: 'main',
      cloneUrl: 'https://github.com/acme/infra.git',
      apiUrl: 'https://api.github.com',
      planId: 'p1',
      roots: null,
      fromFork: false,
      credential: 'sealed',
      requestId: null,
    },
  });
}

const LET_THROUGH = { state: 'errored', reason: 'credentials_lost', steps: [] };

it('A machine without a wall ends the deployment of an operator, and begins nothing of it', async () => {
  const { store, work } = await openMachine({});
  await askForDeployment(store, true);
  expect(await work()).toEqual({
    state: 'errored',
    reason: 'no_wall',
    message: 'An operator requested it, and neither EXECUTOR_COMMAND nor TRUST_OPERATORS is set here',
    steps: [],
  });
  await askForDeployment(store, false);
  expect(await work()).toMatchObject(LET_THROUGH);
});

it('A machine without a wall ends the plan of a pull request, and begins nothing of it', async () => {
  // Trust in operators does not mean trust in everybody.
  const { store, work } = await openMachine({ TRUST_OPERATORS: 'true' });
  await askForPlan(store);
  expect(await work()).toEqual({
    state: 'errored',
    reason: 'no_wall',
    message: 'Neither EXECUTOR_COMMAND nor TRUST_PULL_REQUEST_AUTHORS is set here',
    steps: [],
  });
});

it.each([
  { TRUST_OPERATORS: 'true', TRUST_PULL_REQUEST_AUTHORS: 'true' },
  { EXECUTOR: 'isolated', EXECUTOR_COMMAND: 'setpriv --reuid=65534 iac-runner exec' },
])('A machine with %j takes both', async (settings) => {
  const { store, work } = await openMachine(settings);
  await askForDeployment(store, true);
  expect(await work()).toMatchObject(LET_THROUGH);
  await askForPlan(store);
  expect(await work()).toMatchObject(LET_THROUGH);
});
