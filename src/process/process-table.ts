/** Finds and ends processes through /proc, telling reused process ids apart by their start time. */

import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** `startTicks` is field 22 of /proc/PID/stat: clock ticks from boot to the process's start. */
export interface ProcessIdentity {
  pid: number;
  startTicks: string;
}

interface ProcessStat extends ProcessIdentity {
  state: string;
  parent: number;
  group: number;
  session: number;
}

const POLL_MS = 50;
/** How long a killed process may take to vanish before it is given up as unkillable. */
const KILL_LIMIT_MS = 2_000;

/**
 * Names the boot of the kernel and the pid namespace of this process: where both are the same, a process id means the
 * same process. Null when that cannot be told.
 */
export function processSpace(): string | null {
  const boot = readProcFile('/proc/sys/kernel/random/boot_id')?.trim();
  try {
    return boot ? `${boot} ${readlinkSync('/proc/self/ns/pid')}` : null;
  } catch {
    return null;
  }
}

/** The start time of a process, or null when there is none with this id. A zombie still has one. */
export function startTicksOf(pid: number): string | null {
  return readStat(pid)?.startTicks ?? null;
}

/** True when exactly this process is running. A zombie counts as dead: it only waits to be reaped. */
export function isAlive(identity: ProcessIdentity): boolean {
  const stat = readStat(identity.pid);
  return stat !== null && stat.startTicks === identity.startTicks && isRunning(stat);
}

/**
 * Ends a process that leads its own session, with its group, session and children: TERM, then KILL after
 * `graceMs`. Does nothing when the process is gone or its id now belongs to another: what it may have left
 * behind is found by `endMarkedProcesses`. Resolves to the processes that could not be ended.
 */
export async function endProcessGroup(
  leader: ProcessIdentity & { graceMs: number },
): Promise<ProcessIdentity[]> {
  return isAlive(leader) ? endDescendants(leader) : [];
}

/**
 * Ends every process whose initial environment holds the entry `marker`, e.g. `IAC_RUN_ID=42`, whatever its
 * session, and what these started. Others of another user, or with a cleared environment, are not found.
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
 * Ends all that a session leader started, whether or not the leader itself still runs. The caller must know
 * that `pid` was this leader a moment ago: the kernel keeps the id taken while its group or session lives.
 */
export async function endDescendants(
  leader: ProcessIdentity & Patience & { marker?: string | undefined },
): Promise<ProcessIdentity[]> {
  const { marker } = leader;
  return endProcesses(async () => {
    const candidates = listProcesses().filter((stat) => startedSince(stat, leader));
    const family = familyOf(leader, candidates);
    if (marker === undefined) return family;
    return [...family, ...(await withMarker(without(candidates, family), marker))];
  }, leader);
}

/** How long processes get to end by themselves. */
interface Patience {
  /** From TERM to KILL. */
  graceMs: number;
  /** From INT, sent first, to TERM. Left out: no INT. */
  interruptMs?: number | undefined;
}

async function endProcesses(
  find: () => Promise<ProcessIdentity[]>,
  { graceMs, interruptMs }: Patience,
): Promise<ProcessIdentity[]> {
  const termAt = performance.now() + (interruptMs ?? 0);
  const killAt = termAt + graceMs;
  // Once found stays found: when its parent dies, a process may match no rule any more.
  const found = new Map<string, ProcessIdentity>();
  const sent = new Set<NodeJS.Signals>();
  // Each is sent once: terraform takes a second one as the order to quit without saving its state, and what is
  // started after it may be there to clean up.
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

/** Adds what is newly found; returns what is alive of all found so far, or null when we could not look. */
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
      // Gone since we looked, or another user's: the next look tells.
    }
  }
}

/** The leader, its group and session, and the children of all these by parent id. */
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
    // Not synchronous: this read waits for the other process's memory lock.
    const environment = await readFile(`/proc/${stat.pid}/environ`, 'latin1').catch(unlessShortage);
    if (environment?.split('\0').includes(entry)) marked.push(stat);
  }
  return marked;
}

function listProcesses(): ProcessStat[] {
  const processes: ProcessStat[] = [];
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? readStat(Number(name)) : null;
    if (stat) processes.push(stat);
  }
  return processes;
}

/** See proc_pid_stat(5). The second field, the program's name, may itself hold spaces and parentheses. */
function readStat(pid: number): ProcessStat | null {
  const text = readProcFile(`/proc/${pid}/stat`);
  if (text === null) return null;
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const field = (number: number): string => fields[number - 3] ?? '';
  return {
    pid,
    state: field(3),
    parent: Number(field(4)),
    group: Number(field(5)),
    session: Number(field(6)),
    startTicks: field(22),
  };
}

/** Every process that ends has all of /proc read: one buffer for all of it, as readFileSync takes 64 KiB for each. */
const buffer = Buffer.alloc(1_024);

/** The beginning of a file of /proc, which holds all that is asked for here. */
function readProcFile(path: string): string | null {
  try {
    const file = openSync(path, 'r');
    try {
      return buffer.toString('latin1', 0, readSync(file, buffer));
    } finally {
      closeSync(file);
    }
  } catch (error) {
    return unlessShortage(error);
  }
}

/** A process must not count as gone only because we cannot open files at the moment. */
function unlessShortage(error: unknown): null {
  if (isShortage(error)) throw error;
  return null;
}

function isShortage(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'EMFILE' || error.code === 'ENFILE' || error.code === 'ENOMEM')
  );
}

function isRunning(stat: ProcessStat): boolean {
  return stat.state !== 'Z' && stat.state !== 'X';
}

function startedSince(stat: ProcessStat, leader: ProcessIdentity): boolean {
  return Number(stat.startTicks) >= Number(leader.startTicks);
}

function without(all: ProcessStat[], some: ProcessStat[]): ProcessStat[] {
  const excluded = new Set(some.map(({ pid }) => pid));
  return all.filter(({ pid }) => !excluded.has(pid));
}
