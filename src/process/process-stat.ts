/** Reads processes from /proc. Distinguishes processes with the same id by their start time. */

import { closeSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { uptime } from 'node:os';
import { errorCode } from '../errors.ts';
import { SECOND } from '../units.ts';

/** `startTicks` is field 22 of /proc/PID/stat: the clock ticks between the boot and the start of the process. */
export interface ProcessIdentity {
  pid: number;
  startTicks: string;
}

export interface ProcessStat extends ProcessIdentity {
  state: string;
  parent: number;
  group: number;
  session: number;
}

/** Linux gives times in hundredths of a second to every program (sysconf(3), _SC_CLK_TCK). */
const TICK_MS = 10;
/** No machine starts 32,000 processes in this time. */
const YOUNG_MS = SECOND;

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

/** With `since`, only processes that may be younger than this one: each read of /proc costs time on the main thread. */
export function listProcesses(since?: ProcessIdentity): ProcessStat[] {
  const ids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  const mayBeYounger = since ? idsSince(since) : () => true;
  return ids.filter(mayBeYounger).flatMap((pid) => readStat(pid) ?? []);
}

/**
 * The kernel counts process ids upwards and starts again after the highest one, by default 32,768 or more
 * (proc_sys_kernel(5), ns_last_pid and pid_max). So as long as a process is young and its id is not above the newest one,
 * younger processes have ids between the two. If one of this is not sure, every id may belong to a younger process.
 */
function idsSince({ pid, startTicks }: ProcessIdentity): (other: number) => boolean {
  const newest = Number(readProcFile('/proc/sys/kernel/ns_last_pid') ?? Number.NaN);
  const ageMs = uptime() * SECOND - Number(startTicks) * TICK_MS;
  if (!(newest >= pid && Math.abs(ageMs) < YOUNG_MS)) return () => true;
  return (other) => other >= pid && other <= newest;
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
export function unlessShortage(error: unknown): null {
  if (isShortage(error)) throw error;
  return null;
}

export function isShortage(error: unknown): boolean {
  return ['EMFILE', 'ENFILE', 'ENOMEM'].includes(errorCode(error));
}

export function isRunning(stat: ProcessStat): boolean {
  return stat.state !== 'Z' && stat.state !== 'X';
}
