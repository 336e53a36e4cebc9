/** How a sync ends: what became of its services, or what failed around them. */

import { GitError, isDiskFull, WorkspaceBusyError } from '../../errors.ts';
import type { Step } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Ledger } from '../../runs/run-store.ts';
import type { Outcome } from '../pipeline.ts';
import type { Explained } from '../selection/explain.ts';
import type { ServiceOutcome } from './sync-service.ts';

export function conclude(
  { selected, loaded }: Explained,
  outcomes: readonly ServiceOutcome[],
  count: number,
  ledger: Ledger,
): Outcome {
  const refused = selected.filter(({ decision }) => decision === 'invalid');
  const invalid = refused.length;
  const blocked = selected.filter(({ decision }) => decision === 'blocked').length;
  const bad = outcomes.filter(({ state }) => state !== 'succeeded');
  const ours = outcomes.find(({ ourFailure }) => ourFailure !== null);
  if (ours) return { state: 'errored', reason: ours.ourFailure, message: ours.message };
  if (bad.length + blocked + invalid > 0) {
    const message = `${bad.length + blocked + invalid}/${count} service(s) failed to sync`;
    if (bad.length + blocked === 0) {
      const isMissing = refused.every(({ folder }) => folder === '');
      return { state: 'failed', reason: isMissing ? 'service_missing' : 'repository_invalid', message };
    }
    const allTimedOut = invalid + blocked === 0 && bad.every(({ state }) => state === 'timed_out');
    return allTimedOut
      ? { state: 'timed_out', reason: 'step_timed_out', message }
      : { state: 'failed', reason: 'step_failed', message };
  }
  // What was synced stays synced, but a file that is not heeded must not go unseen.
  const [problem] = loaded.problems;
  if (problem !== undefined) return { state: 'failed', reason: 'rules_invalid', message: problem };
  if (count > 0)
    return { state: 'succeeded', reason: null, message: `${count} service(s) synced successfully` };
  const message = 'No services required sync';
  const newer = selected.filter(({ decision }) => decision === 'newer_synced');
  if (newer.length === 0) return { state: 'succeeded', reason: null, message };
  const entries = newer.flatMap(({ service }) => ledger.entries.get(service) ?? []);
  // What became of these services is the outcome of who tried last; most of all when it failed.
  const failed = entries.find(({ outcome }) => outcome === 'failed')?.attemptedRunId;
  const coveredBy = failed ?? ledger.examined?.runId ?? entries[0]?.attemptedRunId ?? null;
  return { state: 'superseded', reason: 'newer_already_synced', message, coveredBy };
}

/** What failed around the tasks, in the words of the commit status; null for our own defects. */
export function outcomeOf(error: unknown): Outcome | null {
  const errored = { state: 'errored', message: 'Failed to update git repository' } as const;
  if (isDiskFull(error) || (error instanceof GitError && error.kind === 'disk_full')) {
    return { ...errored, message: `${errored.message}: the disk is full`, reason: 'disk_full' };
  }
  if (error instanceof GitError) {
    return { ...errored, reason: error.kind === 'unknown_revision' ? 'unknown_revision' : 'git_unavailable' };
  }
  if (error instanceof WorkspaceBusyError || isFileError(error)) {
    const message = `${errored.message}: the workspace cannot be used`;
    return { ...errored, message, reason: 'workspace_unavailable' };
  }
  return null;
}

/** Of a file or folder of ours; the message names it. */
function isFileError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'path' in error;
}

/** The ends of the steps that a run leaves open when it ends before them. */
export function endsOfOpenSteps(steps: readonly Step[]): RunEventBody[] {
  return steps
    .filter(({ state }) => state === 'pending' || state === 'running')
    .map(({ id: step }) => ({
      type: 'step.finished',
      step,
      state: 'cancelled',
      message: 'The run ended before this',
      exitCode: null,
      ledger: null,
    }));
}
