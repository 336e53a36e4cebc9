/** A job of the stream `jobs:stream`: a prompt whose changes become a branch of a user's repository. */

/** A job that was started, as in its hash. */
export interface Job {
  /** Safe as a folder's name. */
  id: string;
  userId: string;
  providerId: string;
  repositoryUrl: string;
  /** The branch that the change starts from, or null for the default branch of the repository. */
  branch: string | null;
  prompt: string;
  environment: string;
  /** 1 for the first attempt. Each attempt starts again. */
  attempt: number;
}

/** The numbers of jobs, as Redis knows them. */
export interface JobQueue {
  /** The entries of `jobs:stream`: jobs that wait, and jobs that run. */
  depth: number;
  running: number;
  /** How long the oldest waiting job has waited, by the clock of Redis; null if none waits. */
  oldestWaitingMs: number | null;
}

/** The git provider whose token opens a repository. */
export interface GitProvider {
  type: 'github' | 'gitlab';
  /** The address that the user gave, or null. */
  url: string | null;
  /** The token is encrypted. */
  token: string;
}

export type JobLineStream = 'stdout' | 'stderr';

/** How a job ended, in the fields of its hash. */
export type JobEnd =
  | {
      status: 'success';
      /** Null if there was nothing to commit. */
      branch: string | null;
      linesAdded: number;
      linesRemoved: number;
      changeRequestUrl: string | null;
      changeRequestProblem: string | null;
    }
  | { status: 'failed'; message: string };

const SUBJECT_CHARACTERS = 50;
/** A character may have many code units, but not so many. */
const SUBJECT_UNITS = 4_096;

/** Checks an id, because ids come from outside and are used in paths, refs and keys. */
export function isJobId(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(text);
}

export function jobBranch(jobId: string): string {
  return `repobox/${jobId.slice(0, 8)}`;
}

/** Returns the whole message of the commit: one line, with 50 characters of the prompt, as people count them (UAX 29). */
export function commitMessage(prompt: string): string {
  const line = prompt
    .slice(0, SUBJECT_UNITS)
    .toWellFormed()
    .replace(/\r\n|[\p{Cc}\u2028\u2029]/gu, ' ');
  let cut = '';
  let count = 0;
  for (const { segment } of new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(line)) {
    count += 1;
    if (count > SUBJECT_CHARACTERS) break;
    cut += segment;
  }
  return `repobox: ${cut}`.trimEnd();
}

/** Returns a form of the token that may be shown. */
export function maskToken(token: string): string {
  return token.length <= 12 ? '****' : `${token.slice(0, 4)}****${token.slice(-4)}`;
}
