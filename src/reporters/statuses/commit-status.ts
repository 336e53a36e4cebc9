/** Decides the state, the words and the commits of a run's status on GitHub. Pure. */

import type { CommitStatus } from '../../runs/kinds/kind.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import { askedRevision, isFinal, type Run } from '../../runs/run.ts';
import { replaceUnseen } from '../../runs/texts/unseen-characters.ts';

/** GitHub answers 422 to a longer description. */
const MAX_DESCRIPTION = 140;

/** True if the run has no outcome of its own, and shows that of `run.coveredBy`. */
export function sharesOutcome(run: Run): run is Run & { coveredBy: string } {
  return (
    isPromise(run) && run.state === 'superseded' && run.coveredBy !== null && run.reason !== 'not_on_branch'
  );
}

/**
 * Returns the status that `run` should have now, or null if it has none. `covering` is the run at the end of the chain
 * of `coveredBy`, or null if there is none.
 */
export function commitStatus(run: Run, covering: Run | null): CommitStatus | null {
  const { status } = kindOf(run);
  const words = status?.of(run, (sharesOutcome(run) && covering) || run);
  return status && words
    ? {
        context: status.context(run.input),
        state: words.state,
        description: cleanDescription(words.description),
      }
    : null;
}

/** True if people wait for the status, because it says that a commit is deployed. */
export function isPromise(run: Run): boolean {
  return kindOf(run).status?.isPromise === true;
}

/**
 * Returns the commits that show the run's status now: the commit that is worked on, or the requested one until that is
 * known. A run that has ended gives both their final status, so that neither stays pending.
 */
export function statusTargets(run: Run): string[] {
  const { revision } = run;
  const requested = askedRevision(run);
  const targets = isFinal(run.state) ? [revision, requested] : [revision ?? requested];
  return [...new Set(targets.filter((target) => target !== null))];
}

/** Returns one line of at most 140 characters. */
export function cleanDescription(text: string): string {
  const line = cleanLine(text);
  return line.length > MAX_DESCRIPTION ? `${line.slice(0, MAX_DESCRIPTION - 1)}…` : line;
}

/**
 * Returns one line. Characters beyond U+FFFF become U+FFFD, because GitHub refuses the whole status for one of them
 * ("description doesn't accept 4-byte Unicode").
 */
export function cleanLine(text: string): string {
  return replaceUnseen(text.toWellFormed().replace(/\s+/g, ' '), '')
    .replace(/[\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .trim();
}
