/** Reads what a step has made, where its user may put links, pipes and other things in place of files at any moment. */

import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readlink, realpath, symlink } from 'node:fs/promises';
import path from 'node:path';
import { RunnerError } from '../errors.ts';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK, O_DIRECTORY } = constants;
const READABLE = { nextAction: 'Let the umask of the user of EXECUTOR_COMMAND be 022 or 027.' };
const CHUNK_BYTES = 256 * 1024;

/** Throws RunnerError for what is no file below `root`, or larger; the system's error when there is none. */
export async function readMadeFile(root: string, file: string, maxBytes: number): Promise<Buffer> {
  return withMadeFile(root, file, async (handle, size) => {
    if (size > maxBytes) throw new RunnerError(`${shown(file)} is larger than ${maxBytes} bytes.`);
    const content = Buffer.alloc(size);
    const { bytesRead } = await handle.read(content, 0, size, 0);
    return content.subarray(0, bytesRead);
  });
}

/** Copies it to a new file of ours, mode 0600. Throws as above. */
export async function copyMadeFile(root: string, file: string, target: string): Promise<void> {
  await withMadeFile(root, file, (handle) => copyContent(handle, target, 0o600));
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
 * does: no link that is put there meanwhile leads us elsewhere.
 */
export async function copyMadeFolder(from: string, to: string): Promise<void> {
  await copyFolder(Buffer.from(from), Buffer.from(to), (name) => name !== '.git');
}

async function copyFolder(from: Buffer, to: Buffer, isWanted: (name: string) => boolean): Promise<void> {
  const folder = await open(from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    await mkdir(to, { mode: 0o700 });
    const opened = Buffer.from(`/proc/self/fd/${folder.fd}`);
    for (const name of await readdir(opened, { encoding: 'buffer' })) {
      if (isWanted(name.toString('latin1'))) await copyEntry(inside(opened, name), inside(to, name));
    }
  } finally {
    await folder.close();
  }
}

/** Names need not be UTF-8. */
function inside(folder: Buffer, name: Buffer): Buffer {
  return Buffer.concat([folder, Buffer.from(path.sep), name]);
}

async function copyEntry(from: Buffer, to: Buffer): Promise<void> {
  const found = await lstat(from);
  if (found.isSymbolicLink()) return symlink(await readlink(from, { encoding: 'buffer' }), to);
  if (found.isDirectory()) return copyFolder(from, to, () => true);
  if (!found.isFile()) return;
  await withFile(from, async (handle) => {
    const { mode } = await handle.stat();
    await copyContent(handle, to, (mode & 0o100) === 0 ? 0o600 : 0o700);
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

/** As much as there is now: who made it may go on writing. */
async function copyContent(source: FileHandle, target: string | Buffer, mode: number): Promise<void> {
  const { size } = await source.stat();
  const copy = await open(target, 'wx', mode);
  try {
    const chunk = Buffer.alloc(Math.min(size, CHUNK_BYTES));
    for (let copied = 0; copied < size; ) {
      const { bytesRead } = await source.read(chunk, 0, Math.min(chunk.length, size - copied), copied);
      if (bytesRead === 0) return;
      await copy.writeFile(chunk.subarray(0, bytesRead));
      copied += bytesRead;
    }
  } finally {
    await copy.close();
  }
}
