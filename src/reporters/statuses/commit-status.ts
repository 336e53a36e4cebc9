/** What a run says on GitHub: the state, the words and the commits of its status. Pure. */

import type { CommitStatus } from '../../runs/kinds/kind.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import { askedRevision, isFinal, type Run } from '../../runs/run.ts';
import { replaceUnseen } from '../../runs/texts/unseen-characters.ts';

/** GitHub answers 422 to a longer description. */
const MAX_DESCRIPTION = 140;

/** True when the run has no outcome of its own: what it tells is the outcome of `run.coveredBy`. */
export function sharesOutcome(run: Run): run is Run & { coveredBy: string } {
  return (
    isPromise(run) && run.state === 'superseded' && run.coveredBy !== null && run.reason !== 'not_on_branch'
  );
}

/**
 * The status that `run` should have now, or null when it is none of GitHub's business. `covering` is the run at
 * the end of the chain of `coveredBy`, or null when there is none.
 */
export function commitStatus(run: Run, covering: Run | null): CommitStatus | null {
  const { status } = kindOf(run);
  const words = status?.of(run, (sharesOutcome(run) && covering) || run);
  return status && words
    ? { context: status.context, state: words.state, description: cleanDescription(words.description) }
    : null;
}

/** Whether people wait for what it says: that a commit is deployed. */
export function isPromise(run: Run): boolean {
  return kindOf(run).status?.isPromise === true;
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
