/** Decides which reason a run ends with after an error of git or of the disk. */

import { GitError, isDiskFull } from '../errors.ts';
import type { RunReason } from '../runs/run-reasons.ts';

/** Returns null for any other error. */
export function gitReason(
  error: unknown,
): Extract<RunReason, 'disk_full' | 'unknown_revision' | 'git_unavailable'> | null {
  if (isDiskFull(error)) return 'disk_full';
  if (!(error instanceof GitError)) return null;
  return error.kind === 'disk_full' || error.kind === 'unknown_revision' ? error.kind : 'git_unavailable';
}
