/** Finds processes by what stands in their environment, as nobody can shed that by a new session or parent. */

import { readdir, readFile } from 'node:fs/promises';

export interface FoundProcess {
  pid: number;
  /** Its arguments, joined by spaces. */
  command: string;
}

/** Live processes of this user whose environment mentions `text`; zombies do not count. Linux only. */
export async function processesMentioning(text: string): Promise<FoundProcess[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.filter((pid) => pid !== process.pid).map((pid) => inspect(pid, text)));
  return found.filter((entry) => entry !== null);
}

/** Ends them, so that nothing of a test outlives it. */
export async function killProcessesMentioning(text: string): Promise<void> {
  for (const { pid } of await processesMentioning(text)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone in between.
    }
  }
}

async function inspect(pid: number, text: string): Promise<FoundProcess | null> {
  try {
    // A zombie's environment reads as empty.
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8');
    if (!environment.includes(text)) return null;
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    return { pid, command: command.split('\0').join(' ').trim() };
  } catch {
    return null;
  }
}
