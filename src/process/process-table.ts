/** Finds and ends processes through /proc. */

import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { SECOND } from '../units.ts';
import {
  isAlive,
  isRunning,
  isShortage,
  listProcesses,
  type ProcessIdentity,
  type ProcessStat,
  unlessShortage,
} from './process-stat.ts';

const POLL_MS = 50;
/** A killed process that still exists after this time cannot be killed. */
const KILL_LIMIT_MS = 2 * SECOND;

/**
 * Ends a session leader with its group, session and children: sends TERM, then KILL after `graceMs`. Does nothing if the
 * process has ended or its id belongs to another one. `endMarkedProcesses` finds the processes that such a leader has left.
 * Resolves to the processes that could not be ended.
 */
export async function endProcessGroup(
  leader: ProcessIdentity & { graceMs: number },
): Promise<ProcessIdentity[]> {
  return isAlive(leader) ? endDescendants(leader) : [];
}

/**
 * Ends every process whose initial environment contains the entry `marker`, such as `IAC_RUN_ID=42`, in any session,
 * together with its group, session and children. It cannot find processes of another user, or with a cleared environment.
 * Resolves to the processes that could not be ended.
 */
export async function endMarkedProcesses(options: {
  marker: string;
  graceMs: number;
}): Promise<ProcessIdentity[]> {
  return endProcesses(async () => {
    const candidates = listProcesses().filter(({ pid }) => pid !== process.pid);
    const marked = await withMarker(candidates, options.marker);
    return marked.flatMap((leader) => [leader, ...familyOf(leader, candidates)]);
  }, options);
}

/**
 * Ends all processes that a session leader started, even if the leader itself has ended. The caller must know that `pid`
 * was this leader a moment ago. The kernel does not reuse the id while a process of its group or session lives.
 */
export async function endDescendants(
  leader: ProcessIdentity & Patience & { marker?: string | undefined },
): Promise<ProcessIdentity[]> {
  const { marker } = leader;
  return endProcesses(async () => {
    const candidates = listProcesses(leader).filter((stat) => startedSince(stat, leader));
    const family = familyOf(leader, candidates);
    if (marker === undefined) return family;
    return [...family, ...(await withMarker(without(candidates, family), marker))];
  }, leader);
}

/** The time that processes get to end by themselves. */
interface Patience {
  /** The time between TERM and KILL. */
  graceMs: number;
  /** The time between INT and TERM. Without it no INT is sent. */
  interruptMs?: number | undefined;
}

async function endProcesses(
  find: () => Promise<ProcessIdentity[]>,
  { graceMs, interruptMs }: Patience,
): Promise<ProcessIdentity[]> {
  const termAt = performance.now() + (interruptMs ?? 0);
  const killAt = termAt + graceMs;
  // Processes stay in the list, because one may not match any more after its parent has died.
  const found = new Map<string, ProcessIdentity>();
  const sent = new Set<NodeJS.Signals>();
  // Each signal is sent once. A second one makes terraform quit without saving its state, and a process that was started
  // after the signal may be there to clean up.
  const ask = (alive: ProcessIdentity[], signal: NodeJS.Signals): void => {
    if (!sent.has(signal)) sendSignal(alive, signal);
    sent.add(signal);
  };
  for (; ; await delay(POLL_MS)) {
    const alive = await lookAgain(find, found);
    if (alive === null) continue;
    const now = performance.now();
    if (alive.length === 0 || now > killAt + KILL_LIMIT_MS) return alive;
    if (now < termAt) ask(alive, 'SIGINT');
    else ask(alive, 'SIGTERM');
    if (now >= killAt) sendSignal(alive, 'SIGKILL');
  }
}

/** Adds new processes to `found`. Resolves to those of `found` that are alive, or to null if /proc cannot be read now. */
async function lookAgain(
  find: () => Promise<ProcessIdentity[]>,
  found: Map<string, ProcessIdentity>,
): Promise<ProcessIdentity[] | null> {
  try {
    for (const identity of await find()) found.set(`${identity.pid}@${identity.startTicks}`, identity);
    return [...found.values()].filter(isAlive);
  } catch (error) {
    if (isShortage(error)) return null;
    throw error;
  }
}

function sendSignal(processes: ProcessIdentity[], signal: NodeJS.Signals): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended, or belongs to another user. The next look shows which.
    }
  }
}

/** The leader, its group and session, and the children of all of them. */
function familyOf(leader: ProcessIdentity, candidates: ProcessStat[]): ProcessStat[] {
  const isReused = candidates.some(
    (stat) => stat.pid === leader.pid && stat.startTicks !== leader.startTicks,
  );
  if (isReused) return [];
  const pids = new Set([leader.pid]);
  let family: ProcessStat[] = [];
  for (let before = -1; before !== family.length; ) {
    before = family.length;
    family = candidates.filter(
      (stat) =>
        pids.has(stat.pid) ||
        stat.group === leader.pid ||
        stat.session === leader.pid ||
        pids.has(stat.parent),
    );
    for (const stat of family) pids.add(stat.pid);
  }
  return family;
}

async function withMarker(candidates: ProcessStat[], marker: string): Promise<ProcessIdentity[]> {
  const entry = Buffer.from(marker).toString('latin1');
  const marked: ProcessIdentity[] = [];
  for (const stat of candidates) {
    if (stat.pid === process.pid || !isRunning(stat)) continue;
    // This read is not synchronous, because it waits for the memory lock of the other process.
    const environment = await readFile(`/proc/${stat.pid}/environ`, 'latin1').catch(unlessShortage);
    if (environment?.split('\0').includes(entry)) marked.push(stat);
  }
  return marked;
}

function startedSince(stat: ProcessStat, leader: ProcessIdentity): boolean {
  return Number(stat.startTicks) >= Number(leader.startTicks);
}

function without(all: ProcessStat[], some: ProcessStat[]): ProcessStat[] {
  const excluded = new Set(some.map(({ pid }) => pid));
  return all.filter(({ pid }) => !excluded.has(pid));
}
