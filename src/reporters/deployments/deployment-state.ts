/** Decides when a run is a deployment on GitHub, and the state that it shows there. Pure. */

import type { DeploymentStatusRequest } from '../../github/github-deployments.ts';
import type { Report } from '../../runs/report.ts';
import type { Run, RunState } from '../../runs/run.ts';
import { commitStatus } from '../statuses/commit-status.ts';

export type DeploymentWords = Pick<DeploymentStatusRequest, 'state' | 'description'>;

const STATES: Record<RunState, DeploymentWords['state']> = {
  queued: 'queued',
  running: 'in_progress',
  awaiting_approval: 'queued',
  succeeded: 'success',
  failed: 'failure',
  timed_out: 'failure',
  errored: 'error',
  cancelled: 'error',
  superseded: 'inactive',
};

const MOVED_ON: DeploymentWords = { state: 'inactive', description: 'The run went on at another commit' };

/** True if the run has chosen services at this commit, so that it deploys something there. */
export function deploys({ chosen, revision, state }: Run, sha: string): boolean {
  return chosen > 0 && revision === sha && state !== 'superseded';
}

/** Returns what the run's deployment of `sha` shows now. Null: it goes on to show what it does. */
export function deploymentWords(run: Run, sha: string): DeploymentWords | null {
  const { revision, state, chosen } = run;
  if (revision !== sha) return MOVED_ON;
  // A run that was cut off chooses its services again.
  if (state === 'running' && chosen === 0) return null;
  return { state: STATES[state], description: commitStatus(run, null)?.description ?? '' };
}

/** Returns the state that GitHub shows before the outcome, also if the run ended before GitHub was told. */
export function underWay({ chosen }: Run): DeploymentWords {
  return { state: 'in_progress', description: `Syncing ${chosen} service(s)...` };
}

/** `Report.sent` before the answer to the creation is known. */
export const ASKED = 'asked';

/** What a report says about the deployment. */
interface KnownDeployment {
  /** Null until it is known. */
  id: number | null;
  /** GitHub was asked to create it. */
  mayExist: boolean;
  /** The status that was last sent, or ''. */
  words: string;
}

/** `Report.sent` after a success. */
export function sentDeployment(id: number, words: DeploymentWords | null): string {
  return words === null ? String(id) : `${id} ${describe(words)}`;
}

export function knownDeployment({ sent }: Report): KnownDeployment {
  const [, id, words = ''] = /^(\d+)(?: (.*))?$/.exec(sent ?? '') ?? [];
  return { id: id === undefined ? null : Number(id), mayExist: sent !== null, words };
}

export function describe({ state, description }: DeploymentWords): string {
  return `${state}: ${description}`;
}
