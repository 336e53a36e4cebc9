/** The folders of jobs on this machine: no two attempts share one, and what a dead worker left goes. */

import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { endMarkedProcesses } from '../../process/process-table.ts';
import { isJobId } from '../../runs/job.ts';

export interface JobFolder {
  /** Not made yet. */
  checkout: string;
  /** Not made yet: for what git needs on the way. */
  scratch: string;
  /** For the environment of all that the attempt starts: by this it is found when its worker is dead. */
  marker: { name: string; value: string };
  /** Call it at the end of the attempt, however it ended. */
  release(): Promise<void>;
}

export interface JobFolders {
  /**
   * Ends and removes what earlier attempts at the job have left here. Their workers may still be alive, asleep for so
   * long that they lost the job: what these do to their own folders when they wake must not touch the new ones.
   */
  claim(jobId: string): Promise<JobFolder>;
  /** Does so for all jobs that nobody holds. */
  sweep(heldBySomebody: (jobIds: string[]) => Promise<Set<string>>): Promise<void>;
}

export interface JobFoldersOptions {
  /** Holds the checkouts; they are named by their jobs. Others may have theirs there, too. */
  checkouts: string;
  /** Ours alone; says which folders among the checkouts are. */
  scratch: string;
  /** Checkouts are removed, too. */
  cleanUp: boolean;
}

const MARKER = 'IAC_JOB_ATTEMPT';
const GRACE_MS = 1_000;

export function createJobFolders({ checkouts, scratch, cleanUp }: JobFoldersOptions): JobFolders {
  const checkoutOf = (name: string) => path.join(checkouts, name);
  const scratchOf = (name: string) => path.join(scratch, `${name}.git`);

  async function clear(name: string): Promise<void> {
    await endMarkedProcesses({ marker: `${MARKER}=${name}`, graceMs: GRACE_MS });
    if (cleanUp) await remove(checkoutOf(name));
    await remove(scratchOf(name));
  }

  /** `<job id>` or `<job id>.<digits>`, of attempts that were not released. */
  async function names(): Promise<{ name: string; jobId: string }[]> {
    const found = await readdir(scratch).catch(() => []);
    return found.flatMap((file) => {
      const [, name = '', jobId = ''] = /^(([^.]+)(?:\.[0-9a-f]+)?)\.git$/.exec(file) ?? [];
      return isJobId(jobId) ? [{ name, jobId }] : [];
    });
  }

  return {
    async claim(jobId) {
      const earlier = (await names()).filter((found) => found.jobId === jobId);
      const isFree = earlier.length === 0 && (await isMissing(checkoutOf(jobId)));
      const name = isFree ? jobId : `${jobId}.${randomBytes(4).toString('hex')}`;
      await mkdir(checkouts, { recursive: true, mode: 0o700 });
      // Made at once, so that a crash from now on leaves a trace.
      await mkdir(scratchOf(name), { recursive: true, mode: 0o700 });
      for (const { name: other } of earlier) await clear(other);
      return {
        checkout: checkoutOf(name),
        scratch: scratchOf(name),
        marker: { name: MARKER, value: name },
        async release() {
          if (cleanUp) await remove(checkoutOf(name));
          await remove(scratchOf(name));
        },
      };
    },
    async sweep(heldBySomebody) {
      const found = await names();
      if (found.length === 0) return;
      const held = await heldBySomebody(found.map(({ jobId }) => jobId));
      for (const { name, jobId } of found) if (!held.has(jobId)) await clear(name);
    },
  };
}

async function isMissing(file: string): Promise<boolean> {
  return (await lstat(file).catch(() => null)) === null;
}

async function remove(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
}
