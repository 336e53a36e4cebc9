/** Checks that the statuses of production are true. Promotions end in more ways than the syncs of a branch. */

import type { CommitStatus } from '../support/github-statuses.ts';
import type { Evidence } from './evidence.ts';
import type { ProductionFacts } from './production-facts.ts';
import { runOf, sentBeforeNs, sentNs, whyUntrue } from './status-truth.ts';

/** Returns why the status is not true, or null. */
export function whyPromotionUntrue(
  requests: ProductionFacts,
  evidence: Evidence,
  status: CommitStatus,
): string | null {
  const description = status.description ?? '';
  if (sentNs(status) < evidence.facts.peaceNs || status.state === 'success') {
    return whyUntrue(evidence, status);
  }
  if (/^Rejected by /.test(description)) return whyNotRejected(requests, status);
  if (/^Nothing was promoted: /.test(description)) return whyUnchanged(evidence, status);
  if (/ is not on main any more, /.test(description)) return whyOnBranch(evidence, status);
  if (/^Nobody approved in time/.test(description)) return whyInTime(evidence);
  const [, other] = /^([0-9a-f]{8}) was promoted instead of /.exec(description) ?? [];
  if (other !== undefined) return whyContained(evidence, status, other);
  return whyUntrue(evidence, status);
}

function whyNotRejected({ decisions }: ProductionFacts, status: CommitStatus): string | null {
  const rejected = decisions.some(
    ({ runId, decision, atNs, status: answer }) =>
      runId === runOf(status) &&
      decision === 'reject' &&
      atNs < sentBeforeNs(status) &&
      (answer === 200 || answer === null),
  );
  return rejected ? null : 'nobody rejected it';
}

/** Only another run can change in production what was shown. */
function whyUnchanged({ facts, journal }: Evidence, status: CommitStatus): string | null {
  const changed = journal.syncs.some(
    ({ runId, startedNs, endedNs }) =>
      runId !== runOf(status) &&
      startedNs < sentBeforeNs(status) &&
      (endedNs === null || endedNs > facts.peaceNs),
  );
  return changed ? null : 'no other run did anything in production';
}

function whyOnBranch({ facts, history }: Evidence, { sha }: CommitStatus): string | null {
  const wasOff = facts.pushes.some(({ forced, after }) => forced && !history.contains(after, sha));
  return wasOff ? null : 'it never left the branch';
}

/** An approval is possible for much longer than a storm. */
function whyInTime({ facts }: Evidence): string | null {
  const jumped = facts.hardships.some(
    ({ kind, untilNs }) => kind === 'clock' && (untilNs === null || untilNs > facts.peaceNs),
  );
  return jumped ? null : 'the time was not over';
}

function whyContained({ facts, history }: Evidence, { sha }: CommitStatus, other: string): string | null {
  const promoted = facts.pushes.find(({ after }) => after.startsWith(other))?.after ?? facts.baseline;
  return history.contains(promoted, sha) ? `${other} contains it` : null;
}
