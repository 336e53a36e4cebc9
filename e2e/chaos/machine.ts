/** The parts of the server's machine that a storm can trouble: its disk and its clock. */

import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT_ROOT } from '../support/project-root.ts';

/** Large enough for the store and the mirror of many rounds, and small enough to fill in a moment. */
const DISK_MEGABYTES = 96;

export interface Machine {
  /** Environment variables that make a server use this machine's clock. */
  environment: Record<string, string>;
  /** False if no file system can be mounted here, so that the disk cannot be filled. */
  hasSmallDisk: boolean;
  fillDisk(): void;
  emptyDisk(): void;
  /** The offset of the server's clock in milliseconds. */
  clockOffsetMs(): number;
  setClockOffset(ms: number): void;
  /** Unmounts the disk. With `keep`, its content is copied to the mount point. */
  close(keep: boolean): void;
}

/** Mounts a small disk at `data` below the folder, before any server writes there. */
export function createMachine(folder: string): Machine {
  const data = join(folder, 'data');
  mkdirSync(data, { recursive: true });
  const options = `size=${DISK_MEGABYTES}m,mode=0700`;
  const hasSmallDisk = succeeds('mount', ['-t', 'tmpfs', '-o', options, 'iac-runner-chaos', data]);
  const filler = join(data, 'filler');
  const clockFile = join(folder, 'clock');
  let offsetMs = 0;
  writeFileSync(clockFile, '0');
  return {
    environment: {
      NODE_OPTIONS: `--import ${join(PROJECT_ROOT, 'e2e/support/shifted-clock.ts')}`,
      TEST_CLOCK_FILE: clockFile,
    },
    hasSmallDisk,
    fillDisk() {
      const { bavail, bsize } = statfsSync(data);
      try {
        writeFileSync(filler, Buffer.alloc(bavail * bsize));
      } catch (error) {
        // The server wrote at the same time, so the disk was full a little earlier.
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
      }
    },
    emptyDisk: () => rmSync(filler, { force: true }),
    clockOffsetMs: () => offsetMs,
    setClockOffset(ms) {
      offsetMs = ms;
      writeFileSync(clockFile, `${ms}`);
    },
    close(keep) {
      if (!hasSmallDisk) return;
      const copy = join(folder, 'data-copy');
      if (keep) cpSync(data, copy, { recursive: true, filter: (path) => path !== filler });
      succeeds('umount', ['--lazy', data]);
    },
  };
}

function succeeds(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}
