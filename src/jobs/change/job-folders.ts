/** The folders of jobs on this machine. No two attempts share one, and the folders of dead workers are removed. */

import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { errorCode } from '../../errors.ts';
import { copyMadeFolder } from '../../isolation/foreign-files.ts';
import {
  gitTrust,
  isOpen,
  openWorkFolder,
  removeFolder,
  type StepUser,
} from '../../isolation/open-folder.ts';
import { endMarkedProcesses } from '../../process/process-table.ts';
import { isJobId, type Job } from '../../runs/job.ts';
import { MEBIBYTE, SECOND } from '../../units.ts';

export type JobFolders = ReturnType<typeof createJobFolders>;
export type JobFolder = Awaited<ReturnType<typeof openFolder>>;

export interface JobFoldersOptions {
  /** The folder of the checkouts, which are named after their jobs. Other programs may have folders there too. */
  checkouts: string;
  /** Our own folder. It records which of the checkouts are ours. */
  scratch: string;
  /** True if the checkouts are removed, too. */
  cleanUp: boolean;
  /** The user who runs the agent, or null if it is our own user. */
  stepUser: StepUser | null;
}

const MARKER = 'IAC_JOB_ATTEMPT';
const GRACE_MS = SECOND;
/** The most that is copied of a checkout. */
const COPY_LIMITS = { maxBytes: 4 * 1024 * MEBIBYTE, maxEntries: 1_000_000 };

export function createJobFolders(options: JobFoldersOptions) {
  const { checkouts, scratch } = options;

  /** Finds the folders of attempts that were not released: `<job id>` or `<job id>.<digits>`. */
  async function names(): Promise<{ name: string; jobId: string }[]> {
    const found = await readdir(scratch).catch(() => []);
    return found.flatMap((file) => {
      const [, name = '', jobId = ''] = /^(([^.]+)(?:\.[0-9a-f]+)?)\.git$/.exec(file) ?? [];
      return isJobId(jobId) ? [{ name, jobId }] : [];
    });
  }

  return {
    /**
     * Ends and removes everything that earlier attempts at the job have left here, and returns a new folder. Workers of
     * earlier attempts may still be alive, but paused. When they resume, they must not touch the new folder. `confirm`
     * throws if the job is not ours any more.
     */
    async claim({ id: jobId, attempt }: Pick<Job, 'id' | 'attempt'>, confirm: () => Promise<void>) {
      const earlier = (await names()).filter((found) => found.jobId === jobId);
      // If we were paused, the list may hold the folder of a later attempt. If the job is ours after the list was read,
      // it holds none.
      if (earlier.length > 0) await confirm();
      await mkdir(checkouts, { recursive: true, mode: 0o700 });
      await mkdir(scratch, { recursive: true, mode: 0o700 });
      const name = await makeScratch(options, jobId, attempt);
      // A folder that cannot be cleared now does no harm, and is removed later.
      for (const { name: other } of earlier) await clear(options, other).catch(() => undefined);
      return openFolder(options, name);
    },
    /** Clears the folders of all jobs that nobody holds. */
    async sweep(heldBySomebody: (jobIds: string[]) => Promise<Set<string>>): Promise<void> {
      const found = await names();
      if (found.length === 0) return;
      const held = await heldBySomebody(found.map(({ jobId }) => jobId));
      const problems: unknown[] = [];
      for (const { name, jobId } of found) {
        if (!held.has(jobId)) await clear(options, name).catch((error: unknown) => problems.push(error));
      }
      if (problems.length > 0) throw problems[0];
    },
  };
}

function placesOf({ checkouts, scratch }: JobFoldersOptions, name: string) {
  return {
    checkout: path.join(checkouts, name),
    scratch: path.join(scratch, `${name}.git`),
    copy: path.join(scratch, `${name}.files`),
  };
}

/** Returns the name of the attempt. The folder is made at once, so that a crash from now on leaves a trace. */
async function makeScratch(options: JobFoldersOptions, jobId: string, attempt: number): Promise<string> {
  // Only the first attempt gets the plain name. If a later one had it, a late worker of the first would remove its folder.
  const isFree = attempt === 1 && (await isMissing(path.join(options.checkouts, jobId)));
  if (isFree && (await makeNew(placesOf(options, jobId).scratch))) return jobId;
  const name = `${jobId}.${randomBytes(4).toString('hex')}`;
  await mkdir(placesOf(options, name).scratch, { mode: 0o700 });
  return name;
}

/** Returns false if there is one already. */
async function makeNew(folder: string): Promise<boolean> {
  try {
    await mkdir(folder, { mode: 0o700 });
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

async function openFolder(options: JobFoldersOptions, name: string) {
  const { checkouts, stepUser } = options;
  const { checkout, scratch, copy } = placesOf(options, name);
  const isShared = stepUser !== null && (await isOpen(checkouts));
  return {
    /** Does not exist yet. */
    checkout,
    /** A folder for the objects of git. It exists. */
    scratch,
    /** Every process of the attempt gets this. It holds a marker, by which they are found if the worker dies. */
    environment: { ...(isShared ? gitTrust(checkout) : {}), [MARKER]: name } as Record<string, string>,
    /** Called once the checkout exists. Opens it for the agent's user, if TEMP_DIR allows that. */
    async open(): Promise<void> {
      if (isShared) await openWorkFolder(checkout);
    },
    /**
     * Called once the agent has ended. Returns the folder that holds its work and that nobody can change any more. Throws
     * RunnerError if there is more than may be copied, GitError `disk_full`, and the reason of `signal`.
     */
    async takeBack(signal: AbortSignal): Promise<string> {
      if (!isShared || stepUser === null) return checkout;
      // The agent may have made files that only its user can read. All other files are readable already.
      await stepUser(['chmod', '-R', 'g+rX', '--', checkout], signal);
      await copyMadeFolder(checkout, copy, { ...COPY_LIMITS, signal });
      return copy;
    },
    /** Called at the end of the attempt, however it ended. */
    async release(): Promise<void> {
      // Anything that stays is still named in `scratch`, and is removed later.
      await removeAll(options, name).catch(() => undefined);
    },
  };
}

async function clear(options: JobFoldersOptions, name: string): Promise<void> {
  await endMarkedProcesses({ marker: `${MARKER}=${name}`, graceMs: GRACE_MS });
  await removeAll(options, name);
}

/** Removes the scratch folder last, because it records that there is something to remove. */
async function removeAll(options: JobFoldersOptions, name: string): Promise<void> {
  const { checkout, scratch, copy } = placesOf(options, name);
  if (options.cleanUp) await removeFolder(checkout, options.stepUser);
  await remove(copy);
  await remove(scratch);
}

async function isMissing(file: string): Promise<boolean> {
  return (await lstat(file).catch(() => null)) === null;
}

async function remove(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
}
