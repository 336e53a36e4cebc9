/** A file system of a few megabytes that tests fill and empty. Needs root. */

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync, statfsSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export interface SmallDisk {
  path: string;
  /** Fills the disk until about this many bytes are free. */
  fill(leaveBytes?: number): void;
  empty(): Promise<void>;
}

/** Returns null if a disk can be mounted here, else the reason, for the title of a skipped test. */
export function noSmallDisk(): string | null {
  if (process.getuid?.() !== 0) return 'only root may mount a file system';
  const path = mkdtempSync(join(tmpdir(), 'iac-runner-mount-'));
  const mounted = mount(path, 1);
  if (mounted) unmount(path);
  rmdirSync(path);
  return mounted ? null : 'no file system can be mounted here';
}

/** Creates `path` and mounts a disk there until the test ends. */
export function mountSmallDisk(path: string, megabytes: number): SmallDisk {
  mkdirSync(path, { recursive: true });
  if (!mount(path, megabytes)) throw new Error(`No file system could be mounted at ${path}.`);
  onTestFinished(() => unmount(path));
  const filler = join(path, 'filler');
  return {
    path,
    fill(leaveBytes = 0) {
      const { bavail, bsize } = statfsSync(path);
      const bytes = bavail * bsize - leaveBytes;
      try {
        writeFileSync(filler, Buffer.alloc(Math.max(0, bytes)));
      } catch (error) {
        // Another process wrote meanwhile, so the disk is full all the same.
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
      }
    },
    empty: () => rm(filler, { force: true }),
  };
}

function mount(path: string, megabytes: number): boolean {
  const args = ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'iac-runner-test', path];
  return spawnSync('mount', args, { stdio: 'ignore' }).status === 0;
}

/** Works also while a process still has open files there. */
function unmount(path: string): void {
  spawnSync('umount', ['--lazy', path], { stdio: 'ignore' });
}
