/** The invariants of promotions. They must always hold, whatever happened. */

import type { JournalEntry } from '../support/journal.ts';
import type { Evidence, Problem } from './evidence.ts';
import type { Hardship } from './facts.ts';
import type { ProductionFacts } from './production-facts.ts';

export interface PromotionEvidence {
  staging: Evidence;
  production: Evidence;
  requests: ProductionFacts;
}

const short = (commit: string): string => commit.slice(0, 8);
const nameOf = (runId: string): string => runId.slice(-8);

export function unsafePromotions(evidence: PromotionEvidence): Problem[] {
  const { production, requests } = evidence;
  const starts = asApproved(production).filter(({ commit }) => commit !== '-');
  return [
    ...starts.flatMap((start) => [
      ...unheld(evidence, start),
      ...unapproved(requests, start),
      ...unlikeShown(requests, start),
      ...despiteHold(requests, start),
    ]),
    ...overlapping(evidence.staging, 'staging'),
    ...overlapping(production, 'production'),
    ...repeated(evidence),
    ...decidedTwice(requests),
    ...cancelledAfterApproval(evidence),
    ...requests.waits.map((detail) => ({ invariant: 'environments never wait for each other', detail })),
  ];
}

/** A run that does the rest of another one has its approval, shows what that one showed, and repeats nothing of it. */
function asApproved({ journal, restOf }: Evidence): JournalEntry[] {
  return journal.syncs.map((entry) => ({ ...entry, runId: restOf.get(entry.runId) ?? entry.runId }));
}

/** The tasks of two runs of an environment never overlap, whatever their services are. */
function overlapping({ journal }: Evidence, environment: string): Problem[] {
  const ended = journal.syncs.flatMap((entry) =>
    entry.endedNs === null ? [] : { ...entry, endedNs: entry.endedNs },
  );
  return ended.flatMap((entry) => {
    const other = journal.syncs.find(
      ({ runId, startedNs }) =>
        runId !== entry.runId && entry.startedNs < startedNs && startedNs < entry.endedNs,
    );
    if (!other) return [];
    const detail = `in ${environment}, run ${nameOf(other.runId)} ran ${other.service} while run ${nameOf(entry.runId)} ran ${entry.service}`;
    return [{ invariant: 'one run at a time', detail }];
  });
}

/** A success in staging is what production gets. */
function unheld({ staging }: PromotionEvidence, { service, commit, startedNs }: JournalEntry): Problem[] {
  const { history, journal } = staging;
  const wanted = history.tree(commit, service);
  const held = journal.syncs.some(
    (entry) =>
      entry.service === service &&
      entry.endedNs !== null &&
      entry.endedNs < startedNs &&
      !entry.failed &&
      history.tree(entry.commit, service) === wanted,
  );
  if (held) return [];
  const detail = `production got ${service} of ${short(commit)}, which staging never had`;
  return [{ invariant: 'nothing is promoted that was not held', detail }];
}

/** Somebody else than the asker has sent an approval before, unless it is a rollback. */
function unapproved(requests: ProductionFacts, start: JournalEntry): Problem[] {
  const { asked, decisions } = requests;
  if (isRollback(requests, start)) return [];
  const asker = asked.find(({ runId }) => runId === start.runId)?.asker;
  const approved = decisions.some(
    ({ runId, decision, by, atNs, status }) =>
      runId === start.runId &&
      decision === 'approve' &&
      by !== asker &&
      atNs < start.startedNs &&
      (status === 200 || status === null),
  );
  if (approved) return [];
  const detail = `run ${nameOf(start.runId)} ran ${start.service} in production, and nobody had approved it`;
  return [{ invariant: 'nothing runs that was not approved', detail }];
}

function isRollback(
  { asked, rollbacks }: ProductionFacts,
  { runId, service, commit, startedNs }: JournalEntry,
): boolean {
  if (asked.some((one) => one.runId === runId)) return false;
  return rollbacks.some(
    (rollback) => rollback.service === service && rollback.revision === commit && rollback.atNs < startedNs,
  );
}

/** A run does no more than what was shown before the approval. */
function unlikeShown({ asked }: ProductionFacts, { runId, service, commit }: JournalEntry): Problem[] {
  const shown = asked.find((one) => one.runId === runId)?.shown;
  if (!shown || (shown.revision === commit && shown.services.includes(service))) return [];
  const detail = `run ${nameOf(runId)} ran ${service} at ${short(commit)}, which was not shown before the approval`;
  return [{ invariant: 'nothing runs that was not approved', detail }];
}

/** A run that was approved under a hold runs nothing that is held. */
function despiteHold(
  { decisions, holds }: ProductionFacts,
  { runId, service, startedNs }: JournalEntry,
): Problem[] {
  const approvedNs = decisions.flatMap((one) =>
    one.runId === runId && one.decision === 'approve' && one.atNs < startedNs ? one.atNs : [],
  );
  const [firstNs] = approvedNs;
  const isHeld = holds.some(
    ({ environment, services, fromNs, untilNs }) =>
      environment !== 'staging' &&
      (services === null || services.includes(service)) &&
      firstNs !== undefined &&
      fromNs < firstNs &&
      (untilNs === null || startedNs < untilNs),
  );
  if (!isHeld) return [];
  return [
    { invariant: 'holds hold', detail: `run ${nameOf(runId)} ran ${service} although production was held` },
  ];
}

/** A run runs a service once, unless the server or its machine failed in between. */
function repeated({ production }: PromotionEvidence): Problem[] {
  const { facts } = production;
  const done = asApproved(production).filter(({ endedNs, failed }) => endedNs !== null && !failed);
  return done.flatMap((first, index) => {
    const again = done
      .slice(index + 1)
      .find((next) => next.runId === first.runId && next.service === first.service);
    if (!again) return [];
    const isBetween = (atNs: bigint): boolean => first.startedNs < atNs && atNs < again.startedNs;
    const lasts = ({ fromNs, untilNs }: Hardship): boolean =>
      fromNs < again.startedNs && (untilNs === null || first.startedNs < untilNs);
    if (facts.serverKillsNs.some(isBetween) || facts.hardships.some(lasts)) return [];
    const detail = `run ${nameOf(first.runId)} ran ${first.service} in production twice, and nothing had cut it off`;
    return [{ invariant: 'an approved promotion runs once', detail }];
  });
}

/** Of all decisions about a run, only the first one counts. */
function decidedTwice({ decisions }: ProductionFacts): Problem[] {
  const counted = decisions.filter(({ status }) => status === 200);
  return [...Map.groupBy(counted, ({ runId }) => runId)].flatMap(([runId, all]) => {
    if (all.length === 1) return [];
    const said = all.map(({ by, decision }) => `${by}: ${decision}`).join(', ');
    return [{ invariant: 'one decision counts', detail: `of run ${nameOf(runId)} several did: ${said}` }];
  });
}

/** Nobody cancels a run in this storm, so only a rejection can do so. */
function cancelledAfterApproval({
  production: { runs },
  requests: { decisions },
}: PromotionEvidence): Problem[] {
  const approved = decisions.filter(({ decision, status }) => decision === 'approve' && status === 200);
  return approved.flatMap(({ runId, by }) => {
    const state = runs.get(runId);
    if (state !== null && state !== 'cancelled' && state !== undefined) return [];
    const detail = `${by} approved run ${nameOf(runId)}, which is ${state ?? 'lost'}`;
    return [{ invariant: 'an approved promotion runs once', detail }];
  });
}
