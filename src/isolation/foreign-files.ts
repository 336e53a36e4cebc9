/** Reads what a step has made, where its user may put links, pipes and other things in place of files at any moment. */

import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, opendir, readlink, realpath, symlink } from 'node:fs/promises';
import path from 'node:path';
import { RunnerError } from '../errors.ts';
import { requireSpaceFor } from '../git/disk-space.ts';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;
const READABLE = { nextAction: 'Let the umask of the user of EXECUTOR_COMMAND be 022 or 027.' };
const CHUNK_BYTES = 256 * 1024;
const GIB = 1024 ** 3;

/** What a copy may take of our disk, whatever its maker does meanwhile. */
export interface CopyLimits {
  /** Of all files: a hole, which takes no space there, counts as if it were filled. */
  maxBytes: number;
  /** Ends the copying with its reason. */
  signal: AbortSignal;
}

export interface FolderLimits extends CopyLimits {
  /** Files, folders and links. */
  maxEntries: number;
}

/** Throws RunnerError for what is no file below `root`, or larger; the system's error when there is none. */
export async function readMadeFile(root: string, file: string, maxBytes: number): Promise<Buffer> {
  return withMadeFile(root, file, async (handle, size) => {
    if (size > maxBytes) throw new RunnerError(`${shown(file)} is larger than ${maxBytes} bytes.`);
    const content = Buffer.alloc(size);
    const { bytesRead } = await handle.read(content, 0, size, 0);
    return content.subarray(0, bytesRead);
  });
}

/** Copies it to a new file of ours, mode 0600. Throws as above, and GitError `disk_full` before anything is written. */
export async function copyMadeFile(
  root: string,
  file: string,
  target: string,
  { maxBytes, signal }: CopyLimits,
): Promise<void> {
  await withMadeFile(root, file, async (handle, size) => {
    if (size > maxBytes) throw new RunnerError(`${shown(file)} is larger than ${inGib(maxBytes)}.`);
    await requireSpaceFor(path.dirname(target), size);
    await copyContent(handle, { target, mode: 0o600, size, signal });
  });
}

async function withMadeFile<T>(
  root: string,
  file: string,
  work: (handle: FileHandle, size: number) => Promise<T>,
): Promise<T> {
  return withFile(file, async (handle) => {
    // Where that is what we have open: whatever leads there, or stands at the path by now.
    const real = await readlink(`/proc/self/fd/${handle.fd}`);
    if (!real.startsWith(`${await realpath(root)}${path.sep}`)) {
      throw new RunnerError(`${shown(file)} leads out of the folder of the run.`);
    }
    return work(handle, (await handle.stat()).size);
  });
}

/**
 * Copies a folder to a new one of ours: folders, files and links, these as they are; what else there is, such as
 * sockets, and the topmost `.git` are left out. Each folder is entered by what was opened, not by its path, as openat(2)
 * does: no link that is put there meanwhile leads us elsewhere. Throws before anything is written when it is too much
 * by then: RunnerError, or GitError `disk_full`.
 */
export async function copyMadeFolder(from: string, to: string, limits: FolderLimits): Promise<void> {
  const [source, target] = [Buffer.from(from), Buffer.from(to)];
  const { signal } = limits;
  const measured = createBudget(limits);
  await eachEntry(source, (entry) => measureEntry(entry, measured), isNotGit);
  await requireSpaceFor(path.dirname(to), measured.taken());
  await copyFolder({ from: source, to: target, signal, budget: createBudget(limits) }, isNotGit);
}

/** Counts what is found, and throws when it is too much. */
interface Budget {
  takeEntry(): void;
  takeBytes(size: number): void;
  taken(): number;
}

function createBudget({ maxBytes, maxEntries, signal }: FolderLimits): Budget {
  let [bytes, entries] = [0, 0];
  const advice = { nextAction: 'Remove large files and what was only built before the agent ends.' };
  return {
    takeEntry() {
      signal.throwIfAborted();
      entries += 1;
      if (entries > maxEntries)
        throw new RunnerError(`The folder has more than ${maxEntries} files.`, advice);
    },
    takeBytes(size) {
      bytes += size;
      if (bytes <= maxBytes) return;
      throw new RunnerError(`The files of the folder are larger than ${inGib(maxBytes)}.`, advice);
    },
    taken: () => bytes,
  };
}

/** Names need not be UTF-8: here each character is a byte. */
type IsWanted = (name: string) => boolean;
const isNotGit: IsWanted = (name) => name !== '.git';

/** `visit` gets paths that lead through the opened folder. */
async function eachEntry(
  folder: Buffer,
  visit: (entry: Buffer, name: string) => Promise<void>,
  isWanted: IsWanted = () => true,
): Promise<void> {
  const handle = await open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const opened = Buffer.from(`/proc/self/fd/${handle.fd}`);
    // Not all names at once: there may be more than fit into memory.
    for await (const { name } of await opendir(opened, { encoding: 'latin1' })) {
      if (isWanted(name)) await visit(inside(opened, name), name);
    }
  } finally {
    await handle.close();
  }
}

async function measureEntry(entry: Buffer, budget: Budget): Promise<void> {
  budget.takeEntry();
  const found = await lstat(entry);
  if (found.isFile()) budget.takeBytes(found.size);
  if (found.isDirectory()) await eachEntry(entry, (inner) => measureEntry(inner, budget));
}

interface Copying {
  from: Buffer;
  to: Buffer;
  signal: AbortSignal;
  budget: Budget;
}

async function copyFolder({ from, to, ...rest }: Copying, isWanted?: IsWanted): Promise<void> {
  await mkdir(to, { mode: 0o700 });
  await eachEntry(from, (entry, name) => copyEntry({ from: entry, to: inside(to, name), ...rest }), isWanted);
}

function inside(folder: Buffer, name: string): Buffer {
  return Buffer.concat([folder, Buffer.from(path.sep), Buffer.from(name, 'latin1')]);
}

async function copyEntry(copying: Copying): Promise<void> {
  const { from, to, signal, budget } = copying;
  budget.takeEntry();
  const found = await lstat(from);
  if (found.isSymbolicLink()) return symlink(await readlink(from, { encoding: 'buffer' }), to);
  if (found.isDirectory()) return copyFolder(copying);
  if (!found.isFile()) return;
  await withFile(from, async (handle) => {
    const { mode, size } = await handle.stat();
    budget.takeBytes(size);
    await copyContent(handle, { target: to, mode: (mode & 0o100) === 0 ? 0o600 : 0o700, size, signal });
  });
}

async function withFile<T>(file: string | Buffer, work: (handle: FileHandle) => Promise<T>): Promise<T> {
  const handle = await open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ELOOP') throw new RunnerError(`${shown(file)} is a link.`);
      if (error.code === 'EACCES') throw new RunnerError(`${shown(file)} may not be read by us.`, READABLE);
      throw error;
    },
  );
  try {
    const found = await handle.stat();
    // A second name of a file of ours could lead us to one that they may not read.
    const hasOtherName = found.nlink > 1 && found.uid === process.geteuid?.();
    if (!found.isFile() || hasOtherName) throw new RunnerError(`${shown(file)} is no file of its own.`);
    return await work(handle);
  } finally {
    await handle.close();
  }
}

function shown(file: string | Buffer): string {
  return JSON.stringify(path.basename(file.toString()).slice(0, 200));
}

function inGib(bytes: number): string {
  return `${bytes / GIB} GiB`;
}

/** Who made it may go on writing: no more than `size` is taken. */
async function copyContent(
  source: FileHandle,
  {
    target,
    mode,
    size,
    signal,
  }: { target: string | Buffer; mode: number; size: number; signal: AbortSignal },
): Promise<void> {
  const copy = await open(target, 'wx', mode);
  try {
    const chunk = Buffer.alloc(Math.min(size, CHUNK_BYTES));
    for (let copied = 0; copied < size; ) {
      signal.throwIfAborted();
      const { bytesRead } = await source.read(chunk, 0, Math.min(chunk.length, size - copied), copied);
      if (bytesRead === 0) return;
      await copy.writeFile(chunk.subarray(0, bytesRead));
      copied += bytesRead;
    }
  } finally {
    await copy.close();
  }
}
