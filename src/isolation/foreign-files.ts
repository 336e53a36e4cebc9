/** Reads files that a step has made. The step's user may replace them with links or pipes at any moment. */

import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, opendir, readlink, realpath, symlink } from 'node:fs/promises';
import path from 'node:path';
import { RunnerError } from '../errors.ts';
import { requireSpaceFor } from '../git/disk-space.ts';
import { KIBIBYTE, MEBIBYTE } from '../units.ts';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;
const READABLE = { nextAction: 'Let the umask of the user of EXECUTOR_COMMAND be 022 or 027.' };
const CHUNK_BYTES = 256 * KIBIBYTE;
const GIB = 1024 * MEBIBYTE;

/** How much of the disk a copy may take, whatever the other user does in the meantime. */
interface CopyLimits {
  /** For all files together. A hole in a file counts as if it were filled. */
  maxBytes: number;
  /** An abort ends the copying, which then throws the reason. */
  signal: AbortSignal;
}

interface FolderLimits extends CopyLimits {
  /** Files, folders and links. */
  maxEntries: number;
}

/** Throws RunnerError if it is no file below `root` or too large, and the system's error if there is none. */
export async function readMadeFile(root: string, file: string, maxBytes: number): Promise<Buffer> {
  return withMadeFile(root, file, async (handle, size) => {
    if (size > maxBytes) throw new RunnerError(`${shown(file)} is larger than ${maxBytes} bytes.`);
    const content = Buffer.alloc(size);
    const { bytesRead } = await handle.read(content, 0, size, 0);
    return content.subarray(0, bytesRead);
  });
}

/** Copies the file to a new one with the mode 0600. Throws like `readMadeFile`, and GitError `disk_full` before it writes. */
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
    // The real path of the open file, whatever is at the path by now.
    const real = await readlink(`/proc/self/fd/${handle.fd}`);
    if (!real.startsWith(`${await realpath(root)}${path.sep}`)) {
      throw new RunnerError(`${shown(file)} leads out of the folder of the run.`);
    }
    return work(handle, (await handle.stat()).size);
  });
}

/**
 * Copies the folders, files and links of a folder to a new one. Links are not followed. Other things, such as sockets,
 * and the topmost `.git` are left out. Each folder is entered through its open file descriptor and not by its path, as
 * openat(2) does, so that a new link cannot lead elsewhere. Throws before it writes if the folder is too large:
 * RunnerError, or GitError `disk_full`.
 */
export async function copyMadeFolder(from: string, to: string, limits: FolderLimits): Promise<void> {
  const [source, target] = [Buffer.from(from), Buffer.from(to)];
  const { signal } = limits;
  const measured = createBudget(limits);
  await eachEntry(source, (entry) => measureEntry(entry, measured), isNotGit);
  await requireSpaceFor(path.dirname(to), measured.taken());
  await copyFolder({ from: source, to: target, signal, budget: createBudget(limits) }, isNotGit);
}

/** Counts entries and bytes, and throws if there are too many. */
interface Budget {
  takeEntry(): void;
  takeBytes(size: number): void;
  taken(): number;
}

function createBudget({ maxBytes, maxEntries, signal }: FolderLimits): Budget {
  let [bytes, entries] = [0, 0];
  const advice = { nextAction: 'Remove large files and build results before the agent ends.' };
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

/** A name need not be UTF-8, so each character stands for one byte. */
type IsWanted = (name: string) => boolean;
const isNotGit: IsWanted = (name) => name !== '.git';

/** The paths that `visit` gets lead through the open folder. */
async function eachEntry(
  folder: Buffer,
  visit: (entry: Buffer, name: string) => Promise<void>,
  isWanted: IsWanted = () => true,
): Promise<void> {
  const handle = await open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const opened = Buffer.from(`/proc/self/fd/${handle.fd}`);
    // The names are not read all at once, because they may not fit into memory.
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
      if (error.code === 'EACCES')
        throw new RunnerError(`${shown(file)} cannot be read by this process.`, READABLE);
      throw error;
    },
  );
  try {
    const found = await handle.stat();
    // A hard link to one of our files could show a file that the other user may not read.
    const hasOtherName = found.nlink > 1 && found.uid === process.geteuid?.();
    if (!found.isFile() || hasOtherName)
      throw new RunnerError(`${shown(file)} is not a plain file with only one name.`);
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

/** Copies no more than `size` bytes, because the file may still grow. */
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
