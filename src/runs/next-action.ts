/** What the reader of a bad ending should do now, in words that fit the kind of run. Pure. */

import { RUN_REASONS, type Run, type RunKind, type RunReason } from './run.ts';

/** Where the words of RUN_REASONS, which speak of syncs or deployments, would send the reader the wrong way. */
const WORDS_OF: Partial<Record<RunKind, Partial<Record<RunReason, string>>>> = {
  deploy: {
    step_failed: 'Open the failed step, mend what it says, then deploy again.',
    step_timed_out: 'Find what the command waits for, or ask for a longer timeout, then deploy again.',
    disk_full: 'Free space on the disk, then deploy again.',
    attempts_exhausted: 'Read the log of the last attempt, then deploy again.',
    handed_back_too_often:
      'See why the server is stopped so often, and look at the state. Then deploy again.',
    cancelled_by_request: 'Deploy again when it is wanted after all.',
  },
  plan: {
    step_failed: 'Open the failed step, mend what it says, then push.',
    step_timed_out: 'Find what the command waits for, then push again.',
    tool_missing: 'Install the tool, or ask for a version that is there, then push again.',
    check_failed: 'Open the failed check; change the configuration, or the check, then push again.',
    request_invalid: 'Mend what the message names, then push.',
    credentials_lost: 'Push again: the token of the request cannot be read any more.',
    rejected: 'Nothing of the head was run. Push again when its plan is wanted after all.',
    approval_expired: 'Nothing of the head was run: nobody approved in time. Push again.',
    disk_full: 'Free space on the disk, then push again.',
    attempts_exhausted: 'Read the log of the last attempt, then push again.',
    handed_back_too_often: 'See why the server is stopped so often, then push again.',
    cancelled_by_request: 'Push again when the plan is wanted after all.',
  },
};

/** Null when there is nothing to do. */
export function nextActionOf({ kind, reason }: Pick<Run, 'kind' | 'reason'>): string | null {
  return reason === null ? null : (WORDS_OF[kind]?.[reason] ?? RUN_REASONS[reason]);
}
