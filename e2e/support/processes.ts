/** Finds processes by their environment, which a process keeps in a new session or with a new parent. */

import { readdir, readFile } from 'node:fs/promises';

export interface FoundProcess {
  pid: number;
  /** Its arguments, joined by spaces. */
  command: string;
}

/** The live processes of this user whose environment contains `text`. Zombies do not count. Linux only. */
export async function processesMentioning(text: string): Promise<FoundProcess[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.filter((pid) => pid !== process.pid).map((pid) => inspect(pid, text)));
  return found.filter((entry) => entry !== null);
}

/** Ends these processes, so that no process of a test stays behind. */
export async function killProcessesMentioning(text: string): Promise<void> {
  for (const { pid } of await processesMentioning(text)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // The process ended meanwhile.
    }
  }
}

async function inspect(pid: number, text: string): Promise<FoundProcess | null> {
  try {
    // The environment of a zombie is empty.
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
    if (!environment.includes(text)) return null;
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    return { pid, command: command.split('\0').join(' ').trim() };
  } catch {
    return null;
  }
}

/** Returns whether a process of this user with this id exists. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
