/** Checks that the last status of each commit on GitHub has ended and that it is true. */

import type { CommitStatus } from '../support/github-statuses.ts';
import type { JournalEntry } from '../support/journal.ts';
import type { EnvironmentStatuses } from './environment-statuses.ts';
import type { Evidence, Problem } from './evidence.ts';
import type { Facts } from './facts.ts';
import { SERVICE_FOLDERS } from './history.ts';

const SERVICES = Object.keys(SERVICE_FOLDERS);
/** The clocks of the journal and of the local GitHub are read at slightly different moments. */
const SLACK_MS = 100;

/** Every accepted push has a status, and the last status of no commit is pending. */
export function unended({ facts }: Evidence, statuses: EnvironmentStatuses): Problem[] {
  const owed = facts.accepted.flatMap(({ commit }) => commit ?? []);
  return [...new Set([...statuses.commits, ...owed])].flatMap((sha) => {
    const state = statuses.latest(sha)?.state ?? 'missing';
    if (state !== 'pending' && state !== 'missing') return [];
    return [{ invariant: 'every status ends', detail: `the last status of ${sha.slice(0, 8)} is ${state}` }];
  });
}

/** Works only when all statuses have ended. `judge` says why a status is not true, or returns null. */
export function untrue(
  evidence: Evidence,
  { commits, latest }: EnvironmentStatuses,
  judge: typeof whyUntrue = whyUntrue,
): Problem[] {
  return commits.flatMap((sha) => {
    const status = latest(sha);
    const why = status ? judge(evidence, status) : null;
    if (!status || why === null) return [];
    const detail = `${sha.slice(0, 8)} shows ${status.state} "${status.description}", but ${why}`;
    return [{ invariant: 'every status is true', detail }];
  });
}

/** Returns why the status is not true, or null. A status before the last peace was checked then. */
export function whyUntrue(evidence: Evidence, status: CommitStatus): string | null {
  const { facts, journal } = evidence;
  if (sentNs(status) < facts.peaceNs) return null;
  switch (status.state) {
    case 'success':
      return whySuccessIsUntrue(evidence, status);
    case 'failure': {
      if (saysThatItIsOff(status)) return whyItIsNotOff(evidence, status);
      const runId = runOf(status);
      const failed = journal.syncs.some((entry) => entry.runId === runId && metFullDisk(facts, entry));
      const killed = facts.taskKills.some((kill) => kill.runId === runId);
      return failed || killed ? null : 'no task of its run was killed or failed on a full disk';
    }
    case 'error':
      return whyErrorIsUntrue(evidence, status);
    case 'pending':
      return null;
  }
}

/**
 * Git and the server itself fail when they are killed, or when a disk refuses their writes. The status is sent when
 * GitHub's limits allow it, perhaps rounds after its run ended, so the troubles of that round explain it.
 */
function whyErrorIsUntrue(evidence: Evidence, status: CommitStatus): string | null {
  const { facts } = evidence;
  if (saysThatItIsOff(status)) return whyItIsNotOff(evidence, status);
  const thisRound = { fromNs: facts.peaceNs, untilNs: sentBeforeNs(status) };
  const { fromNs, untilNs } = facts.endedIn.get(runOf(status)) ?? thisRound;
  const isOfRound = (atNs: bigint): boolean => fromNs < atNs && atNs < untilNs;
  const troubles = facts.hardships.filter(({ kind }) => kind === 'full disk' || kind === 'I/O error');
  if (troubles.some((trouble) => isOfRound(trouble.fromNs))) return null;
  const gitFailed = status.description === 'Failed to update git repository';
  return gitFailed && facts.gitKillsNs.some(isOfRound) ? null : 'nothing happened that explains it';
}

function saysThatItIsOff({ description }: CommitStatus): boolean {
  return /is not on main/.test(description ?? '');
}

function whyItIsNotOff({ facts, history }: Evidence, { sha }: CommitStatus): string | null {
  const wasOff = facts.pushes.some(({ forced, after }) => forced && !history.contains(after, sha));
  return wasOff ? null : 'it never left the branch';
}

/** A success covers the services of its run: those that were requested by name, else all. */
function whySuccessIsUntrue(evidence: Evidence, status: CommitStatus): string | null {
  const { facts } = evidence;
  const runId = runOf(status);
  const own = facts.accepted.find((run) => run.runId === runId);
  if (own) return unsynced(evidence, status, own.services ?? SERVICES);
  // Nobody knows this run: reconcile made it, or its answer was lost.
  const candidates = facts.syncRequests.filter(({ answered }) => !answered).map(({ services }) => services);
  const problems = [SERVICES, ...candidates].map((services) => unsynced(evidence, status, services));
  return problems.includes(null) ? null : (problems[0] ?? null);
}

function unsynced(evidence: Evidence, status: CommitStatus, services: readonly string[]): string | null {
  const { facts, journal, history } = evidence;
  const { sha } = status;
  const sentNs = sentBeforeNs(status);
  for (const service of services) {
    const wanted = history.tree(sha, service);
    if (history.tree(facts.baseline, service) === wanted) continue;
    const fits = journal.syncs.some(
      (entry) =>
        entry.service === service &&
        entry.endedNs !== null &&
        entry.endedNs < sentNs &&
        (history.contains(entry.commit, sha) || history.tree(entry.commit, service) === wanted) &&
        (!entry.failed || (metFullDisk(facts, entry) && entry.runId !== runOf(status))),
    );
    if (!fits && !isExcused(evidence, service, sentNs)) {
      return `${service} was not synced there or later by then`;
    }
  }
  return null;
}

/** Runs leave out services that a rollback pinned and services that have visibly failed before. */
function isExcused({ facts, journal }: Evidence, service: string, sentNs: bigint): boolean {
  return (
    facts.taskKills.some((kill) => kill.service === service && kill.atNs < sentNs) ||
    journal.syncs.some((e) => e.service === service && e.endedNs === null && e.startedNs < sentNs) ||
    facts.syncRequests.some((r) => r.revision !== null && r.services.includes(service) && r.atNs < sentNs)
  );
}

/**
 * A task that cannot write its result file to the small disk fails truthfully. No other service fails with it,
 * because no service of this platform needs another one.
 */
function metFullDisk({ hardships }: Facts, { failed, startedNs, endedNs }: JournalEntry): boolean {
  if (!failed || endedNs === null) return false;
  const fullDisks = hardships.filter(({ kind }) => kind === 'full disk');
  return fullDisks.some(
    ({ fromNs, untilNs }) => fromNs < endedNs && (untilNs === null || startedNs < untilNs),
  );
}

export function runOf({ targetUrl }: CommitStatus): string {
  return /\/runs\/([0-9a-f-]+)/.exec(targetUrl ?? '')?.[1] ?? '';
}

export function sentBeforeNs(status: CommitStatus): bigint {
  return sentNs(status) + BigInt(SLACK_MS) * 1_000_000n;
}

export function sentNs({ at }: CommitStatus): bigint {
  return BigInt(at) * 1_000_000n - epochMinusMonotonicNs();
}

function epochMinusMonotonicNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
}
