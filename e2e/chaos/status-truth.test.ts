/** The check of the statuses accepts some failures while the disk is full, and must not excuse others. */

import { expect, it } from 'vitest';
import type { JournalEntry } from '../support/journal.ts';
import type { Evidence } from './evidence.ts';
import { createFacts, type Hardship, nowNs } from './facts.ts';
import type { History } from './history.ts';
import { whyUntrue } from './status-truth.ts';

const REDIS = 'platform/redis';
const VAULT = 'platform/vault';

/** Three commits in a row. The second one changes redis, and the third one vault. */
const COMMITS = ['baseline', 'redis', 'vault'];
const history: History = {
  head: 'vault',
  contains: (descendant, ancestor) => COMMITS.indexOf(descendant) >= COMMITS.indexOf(ancestor),
  tree(commit, service) {
    const changedBy = service === REDIS ? 1 : service === VAULT ? 2 : COMMITS.length;
    return `${service} ${COMMITS.indexOf(commit) >= changedBy ? 'changed' : 'as before'}`;
  },
};

const originNs = nowNs() - 60_000_000_000n;
const second = (seconds: number): bigint => originNs + BigInt(seconds) * 1_000_000_000n;

/** A hardship that lasts from one second to another. */
function hardship(kind: Hardship['kind'], from: number, until: number): Hardship {
  return { kind, fromNs: second(from), untilNs: second(until) };
}

/** A sync of run `runId` that takes a second. */
function sync(service: string, commit: string, at: number, how: Partial<JournalEntry> = {}): JournalEntry {
  const times = { startedNs: second(at), endedNs: second(at + 1) };
  return { service, commit, pid: 1, runId: 'a', failed: false, ...times, ...how };
}

interface Row {
  title: string;
  /** The syncs that happened. The status is about run `b`, which the server started by itself. */
  syncs?: JournalEntry[];
  hardships?: Hardship[];
  /** The second at which all invariants last held. */
  peace?: number;
  /** The seconds of the round in which run `b` had ended before the last peace. */
  endedIn?: [from: number, until: number];
  /** Left out: the status is sent now. */
  sentBeforePeaceMs?: number;
  status: { state: 'error' | 'failure' | 'success'; description?: string };
  why: string | null;
}

const FULL = hardship('full disk', 10, 20);
const NO_FAILURE = 'no task of its run was killed or failed on a full disk';
const NO_REDIS = `${REDIS} was not synced there or later by then`;
const NO_VAULT = `${VAULT} was not synced there or later by then`;
const failed = { failed: true };
const ofTheRun = { failed: true, runId: 'b' };
const redis = sync(REDIS, 'redis', 1);

const TABLE: Row[] = [
  {
    title: 'a failure is true when a task of its run failed while the disk was full',
    syncs: [sync(VAULT, 'vault', 12, ofTheRun)],
    hardships: [FULL],
    status: { state: 'failure' },
    why: null,
  },
  {
    title: 'a failure is not true because the disk was full if no task failed',
    syncs: [sync(VAULT, 'vault', 12, { runId: 'b' })],
    hardships: [FULL],
    status: { state: 'failure' },
    why: NO_FAILURE,
  },
  {
    title: 'a failure is not true because a task of another run failed',
    syncs: [sync(VAULT, 'vault', 12, failed)],
    hardships: [FULL],
    status: { state: 'failure' },
    why: NO_FAILURE,
  },
  {
    title: 'a failure is not true if its task failed before the disk was full',
    syncs: [sync(VAULT, 'vault', 8, ofTheRun)],
    hardships: [FULL],
    status: { state: 'failure' },
    why: NO_FAILURE,
  },
  {
    title: 'a failure is not true if its task failed after the disk had space again',
    syncs: [sync(VAULT, 'vault', 21, ofTheRun)],
    hardships: [FULL],
    status: { state: 'failure' },
    why: NO_FAILURE,
  },
  {
    title: 'a failure is not true because another fault than a full disk happened',
    syncs: [sync(VAULT, 'vault', 12, ofTheRun)],
    hardships: [hardship('I/O error', 10, 20), hardship('clock', 10, 20)],
    status: { state: 'failure' },
    why: NO_FAILURE,
  },
  {
    title: 'a failure is not true that says that its commit left the branch, if nobody forced a push',
    status: {
      state: 'failure',
      description: 'a34b4a5f is not on main any more, so nothing was taken back',
    },
    why: 'it never left the branch',
  },
  {
    title: 'a success is true if every service was synced',
    syncs: [redis, sync(VAULT, 'vault', 12)],
    status: { state: 'success' },
    why: null,
  },
  {
    title: 'a success may leave out a service that failed in another run on the full disk',
    syncs: [redis, sync(VAULT, 'vault', 12, failed)],
    hardships: [FULL],
    status: { state: 'success' },
    why: null,
  },
  {
    title: 'a success must not leave out a service that did not meet the full disk',
    syncs: [redis],
    hardships: [FULL],
    status: { state: 'success' },
    why: NO_VAULT,
  },
  {
    title: 'a success must not leave out a service because another one failed',
    syncs: [sync(VAULT, 'vault', 12, failed)],
    hardships: [FULL],
    status: { state: 'success' },
    why: NO_REDIS,
  },
  {
    title: 'a success must not leave out a service that its own run failed to sync',
    syncs: [redis, sync(VAULT, 'vault', 12, ofTheRun)],
    hardships: [FULL],
    status: { state: 'success' },
    why: NO_VAULT,
  },
  {
    title: 'a success must not leave out a service that failed at an earlier commit, with other files',
    syncs: [redis, sync(VAULT, 'redis', 12, failed)],
    hardships: [FULL],
    status: { state: 'success' },
    why: NO_VAULT,
  },
  {
    title: 'a success must not leave out a service that failed while the disk had space',
    syncs: [redis, sync(VAULT, 'vault', 25, failed)],
    hardships: [FULL],
    status: { state: 'success' },
    why: NO_VAULT,
  },
  {
    title: 'an error is true after a full disk',
    hardships: [FULL],
    status: { state: 'error', description: 'Failed to update git repository: the disk is full' },
    why: null,
  },
  {
    title: 'an error is not true because the disk was full in an earlier round',
    hardships: [FULL],
    peace: 30,
    status: { state: 'error', description: 'Failed to update git repository: the disk is full' },
    why: 'nothing happened that explains it',
  },
  {
    title: 'an error that was sent a moment before the peace was checked then',
    peace: 30,
    sentBeforePeaceMs: 50,
    status: { state: 'error', description: 'Failed to update git repository: the disk is full' },
    why: null,
  },
  {
    title: 'an error that is sent late is true if the disk was full in the round in which its run ended',
    hardships: [FULL],
    peace: 30,
    endedIn: [5, 30],
    status: { state: 'error', description: 'Failed to update git repository: the disk is full' },
    why: null,
  },
  {
    title: 'an error that is sent late is not true because the disk was full after its run had ended',
    hardships: [hardship('full disk', 31, 32)],
    peace: 30,
    endedIn: [5, 30],
    status: { state: 'error', description: 'Failed to update git repository: the disk is full' },
    why: 'nothing happened that explains it',
  },
  {
    title: 'an error is not true because the clock jumped or the store was locked',
    hardships: [hardship('clock', 10, 20), hardship('locked store', 10, 20)],
    status: { state: 'error', description: 'Failed to update git repository' },
    why: 'nothing happened that explains it',
  },
];

it.for(TABLE)('$title', ({ syncs = [], hardships = [], peace, endedIn, sentBeforePeaceMs, status, why }) => {
  const facts = { ...createFacts('baseline'), hardships };
  if (peace !== undefined) facts.peaceNs = second(peace);
  if (endedIn) facts.endedIn.set('b', { fromNs: second(endedIn[0]), untilNs: second(endedIn[1]) });
  const journal = { syncs, overlaps: [] };
  const evidence: Evidence = { facts, journal, history, runs: new Map(), restOf: new Map() };
  const sincePeaceMs = Number((nowNs() - facts.peaceNs) / 1_000_000n);
  const agoMs = sentBeforePeaceMs === undefined ? 0 : sincePeaceMs + sentBeforePeaceMs;
  const sent = {
    id: 1,
    sha: 'vault',
    context: 'IaC Runner / Sync',
    state: status.state,
    description: status.description ?? null,
    targetUrl: 'http://localhost/runs/b',
    at: Date.now() - agoMs,
  };
  expect(whyUntrue(evidence, sent)).toBe(why);
});
