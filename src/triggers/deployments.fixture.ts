/** Deployments in a real store, and functions that do what a worker would do. For tests. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { createDeployApi } from './deploy/deploy-api.ts';
import { createSealer } from './seal.ts';

export const DEPLOY_BODY = {
  tool: 'terraform',
  git_url: 'https://github.com/acme/infra.git',
  git_ref: 'main',
  path: 'stacks/network',
};

export const SILENT = pino({ level: 'silent' });

export async function openDeployments() {
  const directory = await mkdtemp(path.join(tmpdir(), 'iac-deployments-'));
  let store = await createSqliteStore({ directory });
  const sealer = createSealer(['the-secret-of-this-test']);
  const clock = { now: Date.now() };
  const makeApi = ({ operatorsMayDeploy = true } = {}) =>
    createDeployApi({
      store,
      seal: sealer.seal,
      toolProblem: async ({ tool, toolVersion: version }) =>
        version === null || version === '1.11.4'
          ? null
          : `${tool} ${version} is not installed; there is 1.11.4`,
      rules: { protocols: ['https', 'ssh'], hosts: [] },
      operatorsMayDeploy,
      now: () => clock.now,
    });
  return {
    directory,
    clock,
    open: sealer.open,
    store: () => store,
    api: makeApi,
    async reopen() {
      await store.close();
      store = await createSqliteStore({ directory });
    },
    async close() {
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export async function claimNext(store: RunStore): Promise<Claim> {
  const claim = await store.claim({ owner: 'worker', leaseMs: 600_000, kinds: ['deploy'] });
  if (!claim) throw new Error('There is nothing to claim.');
  return claim;
}

export function planned(...steps: string[]): RunEventBody[] {
  return steps.map((step, position) => ({
    type: 'step.planned',
    step,
    position,
    wave: position,
    message: '',
  }));
}

export function stepStarted(step: string): RunEventBody {
  return { type: 'step.started', step, command: ['terraform', step], ledger: null };
}

export function done(step: string): RunEventBody {
  return { type: 'step.finished', step, state: 'succeeded', message: 'Done', exitCode: 0, ledger: null };
}

export function logged(step: string, ...lines: string[]): RunEventBody {
  return { type: 'step.log', step, stream: 'stdout', lines };
}

export function awaiting(expiresAt: number): RunEventBody {
  return { type: 'run.awaiting_approval', subject: 'digest', expiresAt, message: 'Awaiting approval' };
}

export function ended(
  state: 'succeeded' | 'failed' | 'timed_out' | 'errored',
  message = 'Applied',
): RunEventBody {
  return { type: 'run.finished', state, reason: null, message, coveredBy: null };
}

/** The events 2 to 16, from the claim to the approval. */
export function toApproval(expiresAt: number): RunEventBody[] {
  return [
    ...planned('clone', 'init', 'plan', 'apply', 'output'),
    stepStarted('clone'),
    done('clone'),
    stepStarted('init'),
    logged('init', '\u001b[1mInitializing\u001b[0m', ''),
    done('init'),
    stepStarted('plan'),
    logged('plan', '  \u001b[32m+\u001b[0m create'),
    {
      type: 'run.planned',
      step: 'plan',
      summary: { add: 1, change: 0, destroy: 0, replace: 0, resources: [], omitted: 0, outputs: [] },
      text: '  + create',
    },
    done('plan'),
    awaiting(expiresAt),
  ];
}
