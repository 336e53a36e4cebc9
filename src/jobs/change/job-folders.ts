/** The folders of jobs on this machine: no two attempts share one, and what a dead worker left goes. */

import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { copyMadeFolder } from '../../isolation/foreign-files.ts';
import {
  gitTrust,
  isOpen,
  openWorkFolder,
  removeFolder,
  type StepUser,
} from '../../isolation/open-folder.ts';
import { endMarkedProcesses } from '../../process/process-table.ts';
import { isJobId } from '../../runs/job.ts';

export interface JobFolder {
  /** Not made yet. */
  checkout: string;
  /** Not made yet: for what git needs on the way. */
  scratch: string;
  /** For all that the attempt starts: by the marker it is found when its worker is dead. */
  environment: Record<string, string>;
  /** Once the checkout is there: lets the agent's user come, where TEMP_DIR allows it. */
  open(): Promise<void>;
  /**
   * Once the agent has ended: the folder that holds what it made, and where nobody changes it any more. Throws
   * RunnerError for more than may be copied, GitError `disk_full`, and the reason of `signal`.
   */
  takeBack(signal: AbortSignal): Promise<string>;
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
  /** Who runs the agent, when that may be another user; null: we do. */
  stepUser: StepUser | null;
}

const MARKER = 'IAC_JOB_ATTEMPT';
const GRACE_MS = 1_000;
/** Of what is copied of a checkout. */
const COPY_LIMITS = { maxBytes: 4 * 1024 ** 3, maxEntries: 1_000_000 };

export function createJobFolders(options: JobFoldersOptions): JobFolders {
  const { checkouts, scratch, cleanUp, stepUser } = options;
  const checkoutOf = (name: string) => path.join(checkouts, name);
  const scratchOf = (name: string) => path.join(scratch, `${name}.git`);
  const copyOf = (name: string) => path.join(scratch, `${name}.files`);

  async function clear(name: string): Promise<void> {
    await endMarkedProcesses({ marker: `${MARKER}=${name}`, graceMs: GRACE_MS });
    await removeAll(name);
  }

  /** What says that there is something goes last. */
  async function removeAll(name: string): Promise<void> {
    if (cleanUp) await removeFolder(checkoutOf(name), stepUser);
    await remove(copyOf(name));
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
      // What cannot be cleared now is swept later; it is in nobody's way.
      for (const { name: other } of earlier) await clear(other).catch(() => undefined);
      const isShared = stepUser !== null && (await isOpen(checkouts));
      return {
        checkout: checkoutOf(name),
        scratch: scratchOf(name),
        environment: { ...(isShared ? gitTrust(checkoutOf(name)) : {}), [MARKER]: name },
        async open() {
          if (isShared) await openWorkFolder(checkoutOf(name));
        },
        async takeBack(signal) {
          if (!isShared || stepUser === null) return checkoutOf(name);
          // What it made for itself alone is to be seen, too; the rest is ours, and is so already.
          await stepUser(['chmod', '-R', 'g+rX', '--', checkoutOf(name)], signal);
          await copyMadeFolder(checkoutOf(name), copyOf(name), { ...COPY_LIMITS, signal });
          return copyOf(name);
        },
        async release() {
          // What stays, stays named in `scratch`, and is swept.
          await removeAll(name).catch(() => undefined);
        },
      };
    },
    async sweep(heldBySomebody) {
      const found = await names();
      if (found.length === 0) return;
      const held = await heldBySomebody(found.map(({ jobId }) => jobId));
      const problems: unknown[] = [];
      for (const { name, jobId } of found) {
        if (!held.has(jobId)) await clear(name).catch((error: unknown) => problems.push(error));
      }
      if (problems.length > 0) throw problems[0];
    },
  };
}

async function isMissing(file: string): Promise<boolean> {
  return (await lstat(file).catch(() => null)) === null;
}

async function remove(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
}
