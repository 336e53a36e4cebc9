/** Decides how a sync ends, from the outcomes of its services, its holds, or an error around them. */

import { describeError, SecretMissingError, WorkspaceBusyError } from '../../errors.ts';
import type { SyncRun } from '../../runs/run.ts';
import type { Ledger } from '../../runs/run-store.ts';
import { UNTIL_RELEASED } from '../../runs/sync/hold.ts';
import { meaningOf } from '../../runs/sync/sync-intent.ts';
import { gitReason } from '../git-reason.ts';
import type { Ended, Outcome } from '../pipeline.ts';
import type { Explained } from '../selection/explain.ts';
import type { HeldBack } from '../selection/held.ts';
import type { ServiceOutcome } from './sync-service.ts';

export function conclude(
  { selected, loaded }: Explained,
  outcomes: readonly ServiceOutcome[],
  count: number,
  ledger: Ledger,
): Ended {
  const refused = selected.filter(({ decision }) => decision === 'invalid');
  const blocked = selected.filter(({ decision }) => decision === 'blocked').length;
  const bad = outcomes.filter(({ state }) => state !== 'succeeded');
  const ours = outcomes.find(({ ourFailure }) => ourFailure !== null);
  if (ours) return { state: 'errored', reason: ours.ourFailure, message: ours.message };
  const failures = bad.length + blocked + refused.length;
  if (failures > 0) {
    const message = `${failures}/${count} service(s) failed to sync`;
    if (failures === refused.length) {
      const isMissing = refused.every(({ folder }) => folder === '');
      return { state: 'failed', reason: isMissing ? 'service_missing' : 'repository_invalid', message };
    }
    const allTimedOut = bad.length === failures && bad.every(({ state }) => state === 'timed_out');
    return allTimedOut
      ? { state: 'timed_out', reason: 'step_timed_out', message }
      : { state: 'failed', reason: 'step_failed', message };
  }
  // The services are synced, but people must see that their rules file was not used.
  const [problem] = loaded.problems;
  if (problem !== undefined) return { state: 'failed', reason: 'rules_invalid', message: problem };
  if (count > 0)
    return { state: 'succeeded', reason: null, message: `${count} service(s) synced successfully` };
  const message = 'No services required sync';
  const newer = selected.filter(({ decision }) => decision === 'newer_synced');
  if (newer.length === 0) return { state: 'succeeded', reason: null, message };
  const entries = newer.flatMap(({ service }) => ledger.entries.get(service) ?? []);
  // The run takes the outcome of a run that tried these services last. If one of those runs failed, its outcome counts.
  const failed = entries.find(({ outcome }) => outcome === 'failed')?.attemptedRunId;
  const coveredBy = failed ?? ledger.examined?.runId ?? entries[0]?.attemptedRunId ?? null;
  return { state: 'superseded', reason: 'newer_already_synced', message, coveredBy };
}

export function untilReleased({ message, holds }: HeldBack): Outcome {
  return { state: 'queued', notBefore: UNTIL_RELEASED, message, holds };
}

/**
 * After a success the run waits for the held services, because that success would also be shown for the commits that
 * changed them. A failure is shown at once.
 */
export function endWithHeld(run: SyncRun, ended: Ended, held: HeldBack | null): Outcome {
  if (held === null) return ended;
  const { coalesces, intent } = meaningOf(run);
  // What was approved runs in this run, or after its failure in one that does the rest.
  const isBound = intent === 'promote' || run.input.repeats === true;
  if (ended.state === 'succeeded') return coalesces || isBound ? untilReleased(held) : ended;
  return isBound ? { ...ended, leftOut: { holds: held.holds, services: held.services } } : ended;
}

/** The outcome of an error around the tasks. Returns null for our own defects. */
export function outcomeOf(error: unknown): Outcome | null {
  if (error instanceof SecretMissingError) {
    return { state: 'errored', reason: 'secret_missing', message: describeError(error) };
  }
  const message = 'Failed to update git repository';
  const reason = gitReason(error);
  if (reason === 'disk_full') return { state: 'errored', reason, message: `${message}: the disk is full` };
  if (reason !== null) return { state: 'errored', reason, message };
  if (!(error instanceof WorkspaceBusyError || isFileError(error))) return null;
  return {
    state: 'errored',
    reason: 'workspace_unavailable',
    message: `${message}: the workspace cannot be used`,
  };
}

/** The message of such an error names the file or folder. */
function isFileError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'path' in error;
}
