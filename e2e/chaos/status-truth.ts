/** Whether the last status of each commit on GitHub has ended, and tells what really happened. */

import type { CommitStatus } from '../support/github-statuses.ts';
import type { LocalGithub } from '../support/local-github.ts';
import { completed, type Evidence, type Problem } from './evidence.ts';
import { nowNs } from './facts.ts';
import { SERVICE_FOLDERS } from './history.ts';

const SERVICES = Object.keys(SERVICE_FOLDERS);
/** The clocks of the journal and of the local GitHub are read at slightly different moments. */
const SLACK_MS = 100;

/** Every accepted push has a status, and no commit's last one is pending. */
export function unended({ facts }: Evidence, github: LocalGithub): Problem[] {
  const posts = github.requests.filter(({ method, status }) => method === 'POST' && status === 201);
  const told = posts.map(({ url }) => url.slice(url.lastIndexOf('/') + 1));
  const owed = facts.accepted.flatMap(({ commit }) => commit ?? []);
  return [...new Set([...told, ...owed])].flatMap((sha) => {
    const state = github.statuses.latest(sha)?.state ?? 'missing';
    if (state !== 'pending' && state !== 'missing') return [];
    return [{ invariant: 'every status ends', detail: `the last status of ${sha.slice(0, 8)} is ${state}` }];
  });
}

/** Only for when all statuses have ended. */
export function untrue(evidence: Evidence, github: LocalGithub): Problem[] {
  const shas = new Set(
    github.requests.flatMap(({ url }) => /\/statuses\/([0-9a-f]{40})$/.exec(url)?.[1] ?? []),
  );
  return [...shas].flatMap((sha) => {
    const status = github.statuses.latest(sha);
    const lie = status ? lieIn(evidence, status) : null;
    if (!status || lie === null) return [];
    const detail = `${sha.slice(0, 8)} shows ${status.state} "${status.description}", but ${lie}`;
    return [{ invariant: 'every status is true', detail }];
  });
}

function lieIn(evidence: Evidence, status: CommitStatus): string | null {
  const runId = /\/runs\/([0-9a-f-]+)/.exec(status.targetUrl ?? '')?.[1] ?? '';
  const { facts, history } = evidence;
  switch (status.state) {
    case 'success':
      return lieInSuccess(evidence, status, runId);
    case 'failure':
      if (facts.taskKills.some((kill) => kill.runId === runId)) return null;
      return diskTroubled(evidence, nowNs()) ? null : 'no task of its run was killed, and no disk failed';
    case 'error': {
      const wasOff = facts.pushes.some(({ forced, after }) => forced && !history.contains(after, status.sha));
      if (/is not on main/.test(status.description ?? '')) return wasOff ? null : 'it never left the branch';
      if (facts.hardships.length > 0) return null;
      const gitFailed = status.description === 'Failed to update git repository';
      return gitFailed && facts.gitKillsNs.length > 0 ? null : 'nothing happened that explains it';
    }
    case 'pending':
      return null;
  }
}

/** A success tells of the services its run was about: those asked for by name, else all. */
function lieInSuccess(evidence: Evidence, status: CommitStatus, runId: string): string | null {
  const { facts } = evidence;
  const own = facts.accepted.find((run) => run.runId === runId);
  if (own) return unsynced(evidence, status, own.services ?? SERVICES);
  // Of a run that nobody was told of: reconcile's, or one whose answer was lost.
  const candidates = facts.syncRequests.filter(({ answered }) => !answered).map(({ services }) => services);
  const problems = [SERVICES, ...candidates].map((services) => unsynced(evidence, status, services));
  return problems.includes(null) ? null : (problems[0] ?? null);
}

function unsynced(evidence: Evidence, { sha, at }: CommitStatus, services: readonly string[]): string | null {
  const { facts, history } = evidence;
  const toldNs = BigInt(at + SLACK_MS) * 1_000_000n - epochMinusMonotonicNs();
  for (const service of services) {
    const wanted = history.tree(sha, service);
    if (history.tree(facts.baseline, service) === wanted) continue;
    const fits = completed(evidence, service).some(
      ({ commit, endedNs }) =>
        endedNs !== null &&
        endedNs < toldNs &&
        (history.contains(commit, sha) || history.tree(commit, service) === wanted),
    );
    if (!fits && !isExcused(evidence, service, toldNs)) {
      return `${service} was not synced there or later by then`;
    }
  }
  return null;
}

/** Pinned by a rollback, or visibly failed before: other runs do not tell of it. */
function isExcused(evidence: Evidence, service: string, toldNs: bigint): boolean {
  const { facts, journal } = evidence;
  return (
    diskTroubled(evidence, toldNs) ||
    facts.taskKills.some((kill) => kill.service === service && kill.atNs < toldNs) ||
    journal.syncs.some((e) => e.service === service && e.endedNs === null && e.startedNs < toldNs) ||
    facts.syncRequests.some((r) => r.revision !== null && r.services.includes(service) && r.atNs < toldNs)
  );
}

/** A task fails truthfully when it cannot write: its own files are on the small disk, too. */
function diskTroubled({ facts }: Evidence, beforeNs: bigint): boolean {
  return facts.hardships.some(({ what, atNs }) => atNs < beforeNs && /disk is full|I\/O error/.test(what));
}

function epochMinusMonotonicNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();
}
