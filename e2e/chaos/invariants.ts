/** What must hold once it is calm, whatever happened in the storm. */

import type { JournalEntry } from '../support/journal.ts';
import { completed, type Evidence, FINAL, type Problem } from './evidence.ts';
import type { RecordedPush } from './facts.ts';
import { SERVICE_FOLDERS } from './history.ts';

const SERVICES = Object.keys(SERVICE_FOLDERS);
const short = (commit: string): string => commit.slice(0, 8);

/** No two syncs of a service at once, and no service moved back but by whoever may. True at every moment. */
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

/** What was accepted was stored and has ended. */
export function unfinished({ facts, runs }: Evidence): Problem[] {
  const open = [...runs].flatMap(([id, state]) => {
    if (state !== null && FINAL.has(state)) return [];
    const detail = state === null ? `run ${id} was accepted and does not exist` : `run ${id} is ${state}`;
    return [{ invariant: 'accepted means stored', detail }];
  });
  const twins = facts.doubled.flatMap(({ first, second }) => {
    // Another run is right only when the first one ended badly in between.
    if (first === second || !['succeeded', 'superseded'].includes(runs.get(first) ?? '')) return [];
    return [{ invariant: 'one run per delivery', detail: `a delivery became ${first} and ${second}` }];
  });
  return [...open, ...twins];
}

/**
 * Each accepted push's changed services were synced at its commit or a later one, as long as it is on the branch.
 * A forced push may want what stands there already, or what an earlier commit brings back.
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

/** Whether the service was as the push wants it at some moment since, whichever commit of the branch it came from. */
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

/** Each service stands where the branch head wants it. */
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
 * Whether a service may stay behind until somebody asks for it: its last task was killed or cut off with the
 * inputs that it has now, which is retried only after a minute. A task that was cut off before it wrote anything
 * cannot be told from here; its run goes on unless git fails it as well.
 */
export function maySulk(evidence: Evidence, service: string): boolean {
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
