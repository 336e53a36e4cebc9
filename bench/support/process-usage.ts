/** Reads the resource use of a running process from /proc, so it works only on Linux. */

import { readFileSync, writeFileSync } from 'node:fs';

export interface Memory {
  /** Resident set: all pages in memory, also those shared with other processes. */
  rssBytes: number;
  /** Proportional set: a shared page counts as its size divided by the number of processes that share it. */
  pssBytes: number;
}

/** See proc_pid_smaps(5). */
export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return { rssBytes: kilobytes(text, 'Rss'), pssBytes: kilobytes(text, 'Pss') };
}

/** The highest resident set since the start, or since `forgetPeak`. */
export function peakRssBytes(pid: number): number {
  return kilobytes(readFileSync(`/proc/${pid}/status`, 'utf8'), 'VmHWM');
}

/** See clear_refs in proc_pid_clear_refs(5): 5 sets the peak to what is resident now. */
export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/** User and system time of all its threads, in ms; a clock tick is 10 ms (proc_pid_stat(5)). */
export function cpuMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function kilobytes(text: string, name: string): number {
  const [, value] = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text) ?? [];
  if (value === undefined) throw new Error(`There is no ${name} to be read.`);
  return Number(value) * 1024;
}
