/** Runs deployments without a server, with the real store, real git, and a stand-in for the tool that logs its calls. */

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import { loadPlumbing } from '../../config.ts';
import { createLocalExecutor } from '../../executor/local.ts';
import { createRemoteRepositories } from '../../git/requested/remote-repositories.ts';
import { createWorld } from '../../git/test-support.ts';
import type { DeployInput, DeploySecrets } from '../../runs/deployments/deployment.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import type { DeployRun, RunKind } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Claim, RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { createEventWriter } from '../../worker/event-writer.ts';
import { executeRun } from '../../worker/execute-run.ts';
import type { Outcome } from '../pipeline.ts';
import { writeTree } from '../terraform/terraform.fixture.ts';
import type { DeployOptions } from './attempt.ts';
import { deploy } from './deploy.ts';

const { PATH = '' } = loadPlumbing();
const NO_SECRETS: DeploySecrets = { environment: {}, git: null, initFlags: [], planFlags: [] };
const PLAN = JSON.stringify({
  resource_changes: [{ address: 'a.b', change: { actions: ['create'] } }],
  variables: { password: { value: 'CANARY-in-plan' } },
});

export type Tool = Partial<Record<'init' | 'plan' | 'show' | 'apply' | 'output', string>>;

/** `tool` has shell lines that the stand-in runs first in each command. `ofServer` are secrets of the server. */
export async function openDeploySetup(tool: Tool = {}, ofServer: readonly string[] = []) {
  const world = await createWorld();
  await world.commit({ 'main.tf': '' });
  const inRoot = (name: string): string => path.join(world.root, name);
  writeTree(inRoot('bin'), {
    terraform: `#!/bin/sh
echo "$@" >> ${inRoot('argv')}
for word in "$@"; do case "$word" in -out=*) out=\${word#-out=};; esac; done
say() { echo "$1"; echo "$1" >> ${inRoot('said')}; [ "$(wc -l < ${inRoot('said')})" -ne "$(cat ${inRoot('dies')})" ] || kill -9 $$; }
case "$1" in
  init) ${tool.init ?? ':'}; say 'Initializing'; mkdir -p "$TF_DATA_DIR"; echo CANARY-backend > "$TF_DATA_DIR/terraform.tfstate" ;;
  plan) ${tool.plan ?? ':'}; say 'Planning'; echo "a plan" >> "$out"; say 'Planned' ;;
  show) ${tool.show ?? ':'}; if [ "$2" = -json ]; then say '${PLAN}'; else say '+ a.b'; fi ;;
  apply) ${tool.apply ?? ':'}; say 'Applying'; echo applied >> ${inRoot('applied')}; say 'Applied' ;;
  output) ${tool.output ?? ':'}; say '{}' ;;
esac
`,
    '../dies': '0\n',
    '../said': '',
  });
  const store = await createSqliteStore({ directory: inRoot('data') });
  onTestFinished(() => store.close());
  const executor = createLocalExecutor({ secrets: ofServer });
  const repositories = createRemoteRepositories({
    directory: inRoot('repositories'),
    path: PATH,
    home: world.root,
    timeoutMs: 60_000,
    rules: { protocols: ['file'], hosts: [] },
    network: {},
    log: { warn: () => undefined },
    tempDir: world.root,
  });
  const searched = `${inRoot('bin')}:${PATH}`;
  const directory = inRoot('deployments');
  const lost = new Set<string>();

  function optionsFor(seen: RunStore, secrets: DeploySecrets): DeployOptions {
    return {
      executor,
      initExecutor: executor,
      stepUser: null,
      interruptGraceMs: 1_000,
      tools: { path: lost.has('tool') ? '' : searched, toolsDir: null },
      plumbing: { PATH: searched },
      gitProtocols: ['https'],
      registryUrl: null,
      providerMirrorDir: null,
      directory,
      repositories,
      ownRepository: repositories,
      withdrawn: async () => null,
      hasWall: !lost.has('wall'),
      steps: seen.steps,
      latestDecision: (id) => seen.latestEvent(id, 'run.decided'),
      latestPlan: (id) => seen.latestEvent(id, 'run.planned'),
      openSecrets: async (id) =>
        lost.has('credentials') || (await seen.sealed(id)) === null ? null : secrets,
      sealPlan: JSON.stringify,
      openPlan: async (id) => JSON.parse((await seen.keptPlan(id)) ?? 'null'),
      checks: [],
      approvalTimeoutMs: 60_000,
      now: Date.now,
    };
  }

  return {
    store,
    world,
    directory,
    optionsFor,
    /** Removes the `wall`, the `credentials` or the `tool` from now on. */
    lose: (what: string) => lost.add(what),
    /** Makes the tool die when it has printed its `n`-th line. */
    dieAt: (n: number) => writeTree(world.root, { dies: `${n}\n`, said: '' }),
    /** Returns the path of a file that the shell lines of the tool can write. */
    fileNamed: inRoot,
    applied: () => linesOf(inRoot('applied')).length,
    argv: () => linesOf(inRoot('argv')),
    async ask(input: Partial<DeployInput> = {}): Promise<DeployRun> {
      const { run } = await enqueueRun(store, 'deploy', {
        trigger: { source: 'deploy_api', actor: 'ada' },
        sealed: 'sealed',
        priority: 0,
        labels: [],
        input: {
          operation: 'apply',
          tool: 'terraform',
          toolVersion: null,
          gitUrl: `file://${world.remote}`,
          gitRef: 'main',
          path: '.',
          tfvarsFiles: [],
          timeoutMs: 60_000,
          autoApprove: true,
          callbackUrl: null,
          ...input,
        },
      });
      if (run.kind !== 'deploy') throw new Error('It is no deployment.');
      return run;
    },
    async claim(kind: RunKind = 'deploy'): Promise<Claim> {
      const claim = await store.claim({ owner: 'test', leaseMs: 600_000, kinds: [kind] });
      if (!claim) throw new Error('There is nothing to claim.');
      return claim;
    },
    /** Does one attempt of a worker, which uses the store `seen`. */
    async work({ run, lease }: Claim, seen: RunStore = store, secrets = NO_SECRETS): Promise<Outcome> {
      if (run.kind !== 'deploy') throw new Error('It is no deployment.');
      const { signal } = new AbortController();
      const writer = createEventWriter(seen, lease, signal);
      const context = { run, covers: [], signal, draining: signal, emit: writer.emit };
      try {
        return await deploy(optionsFor(seen, secrets), context);
      } finally {
        await writer.finish([]);
      }
    },
    /** Does a whole attempt as the worker does it, which also writes how the attempt ended. */
    execute(claim: Claim): Promise<void> {
      const never = async (): Promise<never> => {
        throw new Error('It is no deployment.');
      };
      const { signal } = new AbortController();
      return executeRun(
        {
          store,
          pipelines: {
            sync: never,
            preview: never,
            plan: never,
            command: never,
            deploy: (context) => deploy(optionsFor(store, NO_SECRETS), context),
          },
          leaseMs: 600_000,
          draining: signal,
          stopping: signal,
          log: pino({ level: 'silent' }),
        },
        claim,
      );
    },
    /** Stores how an attempt ended. */
    async end({ lease }: Claim, outcome: Outcome): Promise<void> {
      const { state, message } = outcome;
      if (state === 'queued') throw new Error('A deployment does not wait by itself.');
      const event: RunEventBody =
        state === 'awaiting_approval'
          ? { type: 'run.awaiting_approval', subject: outcome.subject, expiresAt: outcome.expiresAt, message }
          : { type: 'run.finished', state, reason: outcome.reason, message, coveredBy: null };
      await store.append(lease, [event], undefined, 'sealed' in outcome ? outcome.sealed : undefined);
    },
    /** Puts the run back into the queue, as it is after the store was unavailable. */
    async putBack({ lease }: Claim): Promise<void> {
      const message = 'The store was away';
      await store.append(lease, [{ type: 'run.requeued', message, countAttempt: false, notBefore: 0 }]);
    },
  };
}

function linesOf(file: string): string[] {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
}
