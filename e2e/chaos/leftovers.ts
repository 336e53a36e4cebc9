/** Processes, locks and incomplete clones that stay when nothing works any more. */

import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processesMentioning } from '../support/processes.ts';
import type { Problem } from './evidence.ts';

/** The server looks at the branch every second, which needs processes and locks. None of them lives this long. */
const WATCH_MS = 6_000;
const POLL_MS = 200;
/** The kernel holds this lock as long as the server lives, so the file alone means nothing. */
const OWNERSHIP_FILE = 'owner.lock';

/** Lists the leftovers that exist during the whole watch. Ends as soon as there are none. */
export async function leftovers(folder: string, serverPid: number): Promise<Problem[]> {
  const deadline = performance.now() + WATCH_MS;
  let staying = await look(folder, serverPid);
  while (staying.size > 0 && performance.now() < deadline) {
    await sleep(POLL_MS);
    const now = await look(folder, serverPid);
    staying = new Map([...staying].filter(([identity]) => now.has(identity)));
  }
  return [...staying.values()].map((detail) => ({ invariant: 'nothing is left behind', detail }));
}

/** Maps an identity to a description. A successor with the same name has another identity. */
async function look(folder: string, serverPid: number): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { pid, command } of await processesMentioning(folder)) {
    if (pid !== serverPid) found.set(`process ${pid} ${command}`, `process ${pid} lives: ${command}`);
  }
  for (const place of ['workspace', 'data']) await lookBelow(join(folder, place), found);
  return found;
}

async function lookBelow(folder: string, found: Map<string, string>): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (isSuspicious(entry.name, folder)) {
      const stat = await lstat(path).catch(() => null);
      if (stat) found.set(`${path} ${stat.ino} ${stat.birthtimeMs}`, `${path} is left`);
    } else if (entry.isDirectory()) {
      await lookBelow(path, found);
    }
  }
}

function isSuspicious(name: string, folder: string): boolean {
  if (name === OWNERSHIP_FILE) return false;
  return (
    /\.lock(\.owner)?$/.test(name) || // locks of git, of the workspace and of the mirror
    /^(tmp_|\.tmp-)/.test(name) || // incomplete packs
    /\.git\.(new|old)-/.test(name) || // incomplete mirrors
    folder.endsWith('/data/tmp') // files of tasks
  );
}
