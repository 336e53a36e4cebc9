/** Finds and ends processes through /proc. Distinguishes processes with the same id by their start time. */

import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { errorCode } from '../errors.ts';
import { SECOND } from '../units.ts';

/** `startTicks` is field 22 of /proc/PID/stat: the clock ticks between the boot and the start of the process. */
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
/** A killed process that still exists after this time cannot be killed. */
const KILL_LIMIT_MS = 2 * SECOND;

/**
 * Names the boot of the kernel and the pid namespace of this process. If both are equal, a process id means the same
 * process. Returns null if /proc does not say it.
 */
export function processSpace(): string | null {
  const boot = readProcFile('/proc/sys/kernel/random/boot_id')?.trim();
  try {
    return boot ? `${boot} ${readlinkSync('/proc/self/ns/pid')}` : null;
  } catch {
    return null;
  }
}

/** The start time of the process, or null if there is no process with this id. A zombie has a start time too. */
export function startTicksOf(pid: number): string | null {
  return readStat(pid)?.startTicks ?? null;
}

/** True if exactly this process is running. A zombie does not count as running. */
export function isAlive(identity: ProcessIdentity): boolean {
  const stat = readStat(identity.pid);
  return stat !== null && stat.startTicks === identity.startTicks && isRunning(stat);
}

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
    const candidates = listProcesses().filter((stat) => startedSince(stat, leader));
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

function listProcesses(): ProcessStat[] {
  const processes: ProcessStat[] = [];
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? readStat(Number(name)) : null;
    if (stat) processes.push(stat);
  }
  return processes;
}

/** See proc_pid_stat(5). The second field, the program's name, may contain spaces and parentheses. */
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

/** One buffer for all files, because readFileSync takes 64 KiB for each, and /proc is read at the end of every process. */
const buffer = Buffer.alloc(1_024);

/** The first bytes of a file of /proc, which are enough here. */
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

/** A process must not count as ended only because this process cannot open files now. */
function unlessShortage(error: unknown): null {
  if (isShortage(error)) throw error;
  return null;
}

function isShortage(error: unknown): boolean {
  return ['EMFILE', 'ENFILE', 'ENOMEM'].includes(errorCode(error));
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
