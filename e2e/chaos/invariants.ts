/** The invariants that must hold after the storm, whatever happened in it. */

import type { JournalEntry } from '../support/journal.ts';
import { completed, type Evidence, FINAL, type Problem } from './evidence.ts';
import type { RecordedPush } from './facts.ts';
import { SERVICE_FOLDERS } from './history.ts';

const SERVICES = Object.keys(SERVICE_FOLDERS);
const short = (commit: string): string => commit.slice(0, 8);

/**
 * Two syncs of a service never overlap, and a service moves back only by a rollback or a forced push. This must
 * always hold.
 */
export function unsafe(evidence: Evidence): Problem[] {
  const overlaps = evidence.journal.overlaps.map((service) => ({
    invariant: 'one at a time',
    detail: `two syncs of ${service} overlapped`,
  }));
  const surprises = evidence.facts.surprises.map((detail) => ({ invariant: 'no surprise', detail }));
  return [...overlaps, ...surprises, ...SERVICES.flatMap((service) => backwards(evidence, service))];
}

function backwards({ journal, history, facts }: Evidence, service: string): Problem[] {
  const starts = journal.syncs.filter((entry) => entry.service === service && entry.commit !== '-');
  return starts.flatMap((next, index) => {
    const previous = starts[index - 1];
    if (!previous || history.contains(next.commit, previous.commit)) return [];
    const wasForcedOff = facts.pushes.some(
      ({ forced, after, atNs }) =>
        forced && atNs < next.startedNs && !history.contains(after, previous.commit),
    );
    const wasRolledBack = facts.syncRequests.some(
      ({ services, revision, atNs }) =>
        revision === next.commit && services.includes(service) && atNs < next.startedNs,
    );
    if (wasForcedOff || wasRolledBack) return [];
    const detail = `${service} went from ${short(previous.commit)} to ${short(next.commit)}`;
    return [{ invariant: 'never backwards', detail }];
  });
}

/** Every accepted run was stored and has ended. */
export function unfinished({ facts, runs }: Evidence): Problem[] {
  const open = [...runs].flatMap(([id, state]) => {
    if (state !== null && FINAL.has(state)) return [];
    const detail = state === null ? `run ${id} was accepted and does not exist` : `run ${id} is ${state}`;
    return [{ invariant: 'accepted means stored', detail }];
  });
  const twins = facts.doubled.flatMap(({ first, second }) => {
    // Another run is right only if the first one ended badly in between.
    if (first === second || !['succeeded', 'superseded'].includes(runs.get(first) ?? '')) return [];
    return [{ invariant: 'one run per delivery', detail: `a delivery became ${first} and ${second}` }];
  });
  return [...open, ...twins];
}

/**
 * The services that an accepted push changed were synced at its commit or a later one, if the commit is still on
 * the branch. A forced push may want a state that is deployed already, or one that an earlier commit restores.
 */
export function unattempted(evidence: Evidence): Problem[] {
  const { facts, history } = evidence;
  const accepted = new Set(facts.accepted.map(({ commit }) => commit));
  const standing = facts.pushes.filter(
    ({ after }) => accepted.has(after) && history.contains(history.head, after),
  );
  return standing.flatMap((push) =>
    changedBy(evidence, push).flatMap((service) => {
      const done = completed(evidence, service).some(({ commit }) => history.contains(commit, push.after));
      if (done || stoodAsWanted(evidence, push, service)) return [];
      const detail = `${service}, changed by the accepted push ${short(push.after)}, was not synced there or later`;
      return [{ invariant: 'accepted means attempted', detail, service }];
    }),
  );
}

/** Returns whether the service has had the state that the push wants at some moment since the push, from any commit. */
function stoodAsWanted(evidence: Evidence, { after, atNs }: RecordedPush, service: string): boolean {
  const { facts, history } = evidence;
  const syncs = completed(evidence, service);
  const isEarlier = ({ endedNs }: JournalEntry) => endedNs !== null && endedNs < atNs;
  const stood = syncs.findLast(isEarlier) ?? { commit: facts.baseline };
  const since = [stood, ...syncs.filter((entry) => !isEarlier(entry))];
  return since.some(({ commit }) => history.tree(commit, service) === history.tree(after, service));
}

function changedBy({ history }: Evidence, { before, after }: RecordedPush): string[] {
  return SERVICES.filter((service) => history.tree(before, service) !== history.tree(after, service));
}

/** Each service has the state of the branch head. */
export function behind(evidence: Evidence): Problem[] {
  const { facts, history } = evidence;
  return SERVICES.flatMap((service) => {
    const { commit } = completed(evidence, service).at(-1) ?? { commit: facts.baseline };
    if (history.tree(commit, service) === history.tree(history.head, service)) return [];
    const detail = `${service} is at ${short(commit)}, not as the head ${short(history.head)} wants it`;
    return [{ invariant: 'the head is deployed', detail, service }];
  });
}

/**
 * Returns whether a service may stay behind until a person requests a sync. This is so if its last task was killed
 * or interrupted with the inputs that the service has now, because that is retried only after a minute. A task that
 * was interrupted before it wrote anything is not visible here; its run continues unless git fails it as well.
 */
export function mayStayBehind(evidence: Evidence, service: string): boolean {
  const { facts, history, journal } = evidence;
  const afterPeace = (atNs: bigint): boolean => atNs > facts.peaceNs;
  if (facts.gitKillsNs.some(afterPeace) && facts.serverKillsNs.some(afterPeace)) return true;
  if (facts.hardships.some(({ fromNs }) => afterPeace(fromNs))) return true;
  const lastEnd = completed(evidence, service).at(-1)?.endedNs ?? 0n;
  const cutOff = [
    ...facts.taskKills.map(({ atNs, ...kill }) => ({ ...kill, since: atNs })),
    ...journal.syncs.filter(({ endedNs }) => endedNs === null).map((e) => ({ ...e, since: e.startedNs })),
  ];
  const wanted = history.tree(history.head, service);
  return cutOff.some(
    (entry) =>
      entry.service === service && entry.since > lastEnd && history.tree(entry.commit, service) === wanted,
  );
}
