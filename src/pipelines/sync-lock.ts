/** The lock `$WORKSPACE_DIR/.sync.lock`: one sync at a time works in the workspace, whoever starts it. */

import { randomUUID } from 'node:crypto';
import { lstat, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { describeError, WorkspaceBusyError } from '../errors.ts';
import { makeFolder } from '../make-folder.ts';
import { isAlive, processSpace, startTicksOf } from '../process/process-table.ts';

const STALE_MS = 30_000;
const UPDATE_MS = 5_000;
const RETRY_MS = 250;

/**
 * `folder` tells which folder was taken: after a crash somebody else may have put theirs in its place. `space` tells
 * where `pid` means this process; another container that shares the volume counts its processes by itself.
 */
const ownerSchema = z.object({
  pid: z.number().int().positive(),
  startTicks: z.string(),
  space: z.string().nullable().default(null),
  folder: z.string(),
});

type Owner = z.output<typeof ownerSchema>;

export interface SyncLockOptions {
  workspaceDir: string;
  waitMs: number;
  signal: AbortSignal;
  /** Called once when the lock is held by somebody else, with who that is. */
  onWait(holder: string): void | Promise<void>;
  /** Called when the lock was taken from us; the work must stop. */
  onLost(error: Error): void;
}

/**
 * Takes the lock and returns its release, which never rejects. A lock left by a dead process, and the plain file of
 * the earlier receiver when nobody holds it, are replaced. Throws WorkspaceBusyError after `waitMs`, naming the
 * holder, and when the file system refuses the lock.
 */
export async function takeSyncLock(options: SyncLockOptions): Promise<() => Promise<void>> {
  const lockPath = path.join(options.workspaceDir, '.sync.lock');
  await orRefused(lockPath, async () => makeFolder(options.workspaceDir));
  const deadline = performance.now() + options.waitMs;
  for (let told = false; ; ) {
    const holder = await orRefused(lockPath, () => removeLeftover(lockPath));
    const release = holder === null ? await orRefused(lockPath, () => tryLock(lockPath, options)) : null;
    if (release) return release;
    const who = holder ?? (await holderOf(lockPath));
    if (!told) await options.onWait(who);
    told = true;
    if (performance.now() > deadline) {
      throw new WorkspaceBusyError(`The workspace lock ${lockPath} is held by ${who}.`, {
        nextAction: 'Let it finish or end it, then retry the run.',
      });
    }
    await sleep(RETRY_MS, undefined, { signal: options.signal });
  }
}

/** At start: replaces what earlier programs left and nobody holds, so that no run has to wait for it. */
export async function clearLeftoverLock(workspaceDir: string): Promise<void> {
  await removeLeftover(path.join(workspaceDir, '.sync.lock'));
}

async function tryLock(lockPath: string, options: SyncLockOptions): Promise<(() => Promise<void>) | null> {
  const { default: lockfile } = await import('proper-lockfile');
  const before = await folderIdentity(lockPath);
  const release = await lockfile
    .lock(options.workspaceDir, {
      realpath: false,
      lockfilePath: lockPath,
      stale: STALE_MS,
      update: UPDATE_MS,
      onCompromised: options.onLost,
    })
    .catch(async (error: unknown) => {
      const code = error instanceof Error && 'code' in error ? error.code : null;
      // Abandoned with something in it, which proper-lockfile does not remove.
      if (code === 'ENOTEMPTY') await removeFolder(lockPath, before);
      else if (code !== 'ELOCKED') throw error;
      return null;
    });
  if (release === null) return null;
  const folder = await folderIdentity(lockPath);
  try {
    await writeFile(ownerFile(lockPath), JSON.stringify(ourselves(folder)), { mode: 0o600 });
  } catch (error) {
    await letGo(lockPath, folder, release);
    throw error;
  }
  return () => letGo(lockPath, folder, release);
}

/** Never rejects: an owner's file that stays means nothing without its folder, and a folder is not renewed any more. */
async function letGo(lockPath: string, folder: string | null, release: () => Promise<void>): Promise<void> {
  await rm(ownerFile(lockPath), { force: true }).catch(() => undefined);
  await release().catch(async () => {
    // It was taken from us, as onLost has said, or something lies in it.
    await removeFolder(lockPath, folder).catch(() => undefined);
  });
}

function ourselves(folder: string | null): Owner {
  const { pid } = process;
  return { pid, startTicks: startTicksOf(pid) ?? '', space: processSpace(), folder: folder ?? '' };
}

/** Says of an error of the file system that it was met with the lock. */
async function orRefused<T>(lockPath: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new WorkspaceBusyError(`The workspace lock ${lockPath} cannot be taken: ${describeError(cause)}.`, {
      nextAction: 'Check the owner, the permissions and the free space of the folder, then retry the run.',
      cause,
    });
  }
}

/** proper-lockfile's directory has no room for a name, so the owner stands beside it. */
function ownerFile(lockPath: string): string {
  return `${lockPath}.owner`;
}

/** Clears what no living process holds. Returns who holds it when it is a plain file in use, else null. */
async function removeLeftover(lockPath: string): Promise<string | null> {
  const found = await lstat(lockPath).catch(() => null);
  if (found === null) return null;
  if (found.isDirectory()) {
    const owner = await readOwner(lockPath);
    if (owner && isKnownDead(owner)) await removeLockOf(owner, lockPath);
    return null;
  }
  const holder = found.isFile() ? await flockHolder(lockPath) : null;
  // Removes a link itself, never what it points to.
  if (holder === null) await rm(lockPath, { force: true });
  return holder;
}

/**
 * Others may judge the same dead owner, and one of them may hold the lock by now. Only the one that gets hold of the
 * owner's file removes the folder that this file names.
 */
async function removeLockOf({ folder }: Owner, lockPath: string): Promise<void> {
  const claim = `${ownerFile(lockPath)}.${randomUUID()}`;
  if (!(await renameIfThere(ownerFile(lockPath), claim))) return;
  let isOver = false;
  try {
    if (ownerSchema.parse(JSON.parse(await readFile(claim, 'utf8'))).folder !== folder) return;
    await removeFolder(lockPath, folder);
    isOver = true;
  } finally {
    await (isOver ? rm(claim) : rename(claim, ownerFile(lockPath))).catch(() => undefined);
  }
}

/** Removes the folder of the lock, with all that lies in it, if it is the one that was judged. */
async function removeFolder(lockPath: string, judged: string | null): Promise<void> {
  if (judged === null || judged !== (await folderIdentity(lockPath))) return;
  const away = `${lockPath}.${randomUUID()}`;
  if (!(await renameIfThere(lockPath, away))) return;
  // Another process may have put its folder there after the look.
  if (judged !== (await folderIdentity(away))) await rename(away, lockPath);
  else await rm(away, { recursive: true, force: true }).catch(() => undefined);
}

async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

/** Of a process that cannot be seen from here, only the age of its lock says whether it lives. */
function isKnownDead(owner: Owner): boolean {
  return isFromHere(owner) && !isAlive(owner);
}

function isFromHere({ space }: Owner): boolean {
  return space !== null && space === processSpace();
}

/** The inode alone may be given to the next folder; together with its birth it is this one's. */
async function folderIdentity(path: string): Promise<string | null> {
  const found = await lstat(path, { bigint: true }).catch(() => null);
  return found && `${found.dev}:${found.ino}:${found.birthtimeNs}`;
}

/** Null when nobody is known to own the folder that is there now. */
async function readOwner(lockPath: string): Promise<Owner | null> {
  try {
    const owner = ownerSchema.parse(JSON.parse(await readFile(ownerFile(lockPath), 'utf8')));
    return owner.folder === (await folderIdentity(lockPath)) ? owner : null;
  } catch {
    return null;
  }
}

async function holderOf(lockPath: string): Promise<string> {
  const owner = await readOwner(lockPath);
  if (!owner) return 'another program (a folder of that name exists and is kept fresh)';
  return `process ${owner.pid}${isFromHere(owner) ? '' : ' of another container or machine'}`;
}

/** The process with an flock on the file, from /proc/locks (proc(5)), or null. */
async function flockHolder(file: string): Promise<string | null> {
  const { ino } = await stat(file);
  const locks = await readFile('/proc/locks', 'utf8').catch(() => '');
  for (const line of locks.split('\n')) {
    const [, pid, inode] = /^\d+: \S+\s+\S+\s+\S+\s+(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? [];
    if (inode === String(ino)) return `process ${pid}`;
  }
  return null;
}
