/** The memory of a process, by proc_pid_status(5). */

import { readFile } from 'node:fs/promises';

const MIB_PER_KIB = 1 / 1024;

/** The resident memory now and its maximum so far, in MiB. Linux only. */
export async function memoryOf(pid: number): Promise<{ nowMib: number; peakMib: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const field = (name: string): number => {
    const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    if (kib === undefined) throw new Error(`/proc/${pid}/status has no ${name}.`);
    return Math.round(Number(kib) * MIB_PER_KIB);
  };
  return { nowMib: field('VmRSS'), peakMib: field('VmHWM') };
}
