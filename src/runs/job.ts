/** A job of the stream `jobs:stream`: a prompt whose changes become a branch of a user's repository. */

/** What its hash says of a job that was begun. */
export interface Job {
  /** Safe as a folder's name. */
  id: string;
  userId: string;
  providerId: string;
  repositoryUrl: string;
  /** Where the change begins, or null for the branch that the repository shows first. */
  branch: string | null;
  prompt: string;
  environment: string;
  /** 1 for the first; each begins anew. */
  attempt: number;
}

/** How many jobs there are, by Redis. */
export interface JobQueue {
  /** Entries of `jobs:stream`: of jobs that wait and of those that run. */
  depth: number;
  running: number;
  /** How long the oldest waits that does not run; null when none does. By the clock of Redis. */
  oldestWaitingMs: number | null;
}

/** Whose token opens a repository. */
export interface GitProvider {
  type: 'github' | 'gitlab';
  /** As the user gave it, or null. */
  url: string | null;
  /** Encrypted. */
  token: string;
}

export type JobLineStream = 'stdout' | 'stderr';

/** How a job ended, in the fields of its hash. */
export type JobEnd =
  | {
      status: 'success';
      /** Null when nothing was to be committed. */
      branch: string | null;
      linesAdded: number;
      linesRemoved: number;
      changeRequestUrl: string | null;
      changeRequestProblem: string | null;
    }
  | { status: 'failed'; message: string };

const SUBJECT_CHARACTERS = 50;
/** A character may consist of many code units, but not of so many. */
const SUBJECT_UNITS = 4_096;

/** Ids come from outside and stand in paths, refs and keys. */
export function isJobId(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(text);
}

export function jobBranch(jobId: string): string {
  return `repobox/${jobId.slice(0, 8)}`;
}

/** The commit's whole message: one line, the prompt cut at 50 characters as people count them (UAX 29). */
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

/** A token as it may be shown. */
export function maskToken(token: string): string {
  return token.length <= 12 ? '****' : `${token.slice(0, 4)}****${token.slice(-4)}`;
}
