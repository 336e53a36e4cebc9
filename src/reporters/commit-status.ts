/** What a run says on GitHub: the state, the words and the commits of its status. Pure. */

import {
  askedRevision,
  isFinal,
  type PlanRun,
  type PreviewRun,
  type Run,
  type RunState,
} from '../runs/run.ts';
import { replaceUnseen } from '../runs/unseen-characters.ts';

export interface CommitStatus {
  state: 'pending' | 'success' | 'failure' | 'error';
  description: string;
}

/** GitHub answers 422 to a longer description. */
const MAX_DESCRIPTION = 140;
const WAITING = 'Waiting for previous sync to complete';

/** True when the run has no outcome of its own: what it tells is the outcome of `run.coveredBy`. */
export function sharesOutcome(run: Run): run is Run & { coveredBy: string } {
  return (
    run.kind === 'sync' &&
    run.state === 'superseded' &&
    run.coveredBy !== null &&
    run.reason !== 'not_on_branch'
  );
}

/**
 * The status that `run` should have now, or null when it is none of GitHub's business. `covering` is the run at
 * the end of the chain of `coveredBy`, or null when there is none.
 */
export function commitStatus(run: Run, covering: Run | null): CommitStatus | null {
  if (run.kind === 'preview') return previewStatus(run);
  if (run.kind === 'plan') return run.input.credential === 'configured' ? planStatus(run) : null;
  if (run.kind === 'deploy' || run.kind === 'command' || run.input.dryRun) return null;
  const { state, description } = statusOf(sharesOutcome(run) && covering ? covering : run);
  return { state, description: cleanDescription(description) };
}

function planStatus(run: PlanRun): CommitStatus {
  const description = cleanDescription(run.message);
  switch (run.state) {
    case 'queued':
    case 'running':
    case 'awaiting_approval':
      return { state: 'pending', description };
    case 'succeeded':
    case 'superseded':
      return { state: 'success', description };
    case 'failed':
      return { state: 'failure', description };
    default:
      return { state: 'error', description };
  }
}

function statusOf(run: Run): CommitStatus {
  switch (run.state) {
    case 'queued':
      // One that has to wait until some time says until when.
      return { state: 'pending', description: run.notBefore > 0 ? run.message : WAITING };
    case 'running':
      return { state: 'pending', description: run.chosen > 0 ? run.message : WAITING };
    case 'awaiting_approval':
      return { state: 'pending', description: run.message };
    case 'succeeded':
      return { state: 'success', description: run.message };
    case 'failed':
    case 'timed_out':
      return { state: 'failure', description: run.message };
    case 'cancelled':
      return { state: 'error', description: run.message };
    case 'errored':
      return {
        state: 'error',
        description: gitFailure(run) ?? run.message,
      };
    case 'superseded':
      // Named as covered or off the branch, it ends on its own words; else it only had nothing left to do.
      return run.coveredBy !== null || run.reason === 'not_on_branch'
        ? { state: 'error', description: run.message }
        : { state: 'success', description: 'No services required sync' };
  }
}

/** A preview speaks about its own commit only, so a newer one does not stand for it. */
function previewStatus(run: PreviewRun): CommitStatus {
  const description = isFinal(run.state) ? run.message : 'Working out what merging this will sync';
  return { state: PREVIEW_STATES[run.state], description: cleanDescription(description) };
}

const PREVIEW_STATES: Record<RunState, CommitStatus['state']> = {
  queued: 'pending',
  running: 'pending',
  awaiting_approval: 'pending',
  succeeded: 'success',
  failed: 'failure',
  timed_out: 'failure',
  errored: 'error',
  cancelled: 'error',
  superseded: 'success',
};

/** Null when it was not on the way to the commit that the run failed. */
function gitFailure({ reason, chosen }: Run): string | null {
  const failed = 'Failed to update git repository';
  switch (reason) {
    case 'git_unavailable':
    case 'unknown_revision':
      return failed;
    case 'workspace_unavailable':
      return `${failed}: the workspace cannot be used`;
    case 'disk_full':
      return chosen === 0 ? `${failed}: the disk is full` : null;
    default:
      return null;
  }
}

/**
 * The commits the run's status stands on now: the one really worked on once that is known, else the one asked
 * for. A run that has ended ends both, so that neither is left pending.
 */
export function statusTargets(run: Run): string[] {
  const { revision } = run;
  const asked = askedRevision(run);
  const targets = isFinal(run.state) ? [revision, asked] : [revision ?? asked];
  return [...new Set(targets.filter((target) => target !== null))];
}

/**
 * One line of at most 140 characters. Characters beyond U+FFFF become U+FFFD, because GitHub refuses the whole
 * status for one of them ("description doesn't accept 4-byte Unicode").
 */
function cleanDescription(text: string): string {
  const line = replaceUnseen(text.toWellFormed().replace(/\s+/g, ' '), '')
    .replace(/[\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .trim();
  return line.length > MAX_DESCRIPTION ? `${line.slice(0, MAX_DESCRIPTION - 1)}…` : line;
}
