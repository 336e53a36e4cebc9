/** The step `clone`: fetches what a request names and lays it out in the run's own folder. */

import { describeError, GitError, isDiskFull, RunnerError } from '../errors.ts';
import type { RemoteRepositories, RemoteRepository } from '../git/requested/remote-repositories.ts';
import type { GitAuth } from '../runs/deployments/deployment.ts';
import type { RunReason } from '../runs/run.ts';
import { finishStep, type StepContext, StepFailed } from './tool-step.ts';

export interface Wanted {
  url: string;
  /** Branch, tag or commit. */
  ref: string;
  /** Where else the commit `ref` is looked for when the server does not give it by its id: `refs/pull/7/head`. */
  otherRef?: string;
  auth: GitAuth | null;
  directory: string;
}

/** Resolves to the commit. Throws StepFailed, or the signal's reason. `look` may read the repository before it is let go. */
export async function checkOutForRun<T = null>(
  repositories: Pick<RemoteRepositories, 'open'>,
  context: StepContext,
  { url, ref, otherRef, auth, directory }: Wanted,
  look?: (repository: RemoteRepository, commit: string) => Promise<T>,
): Promise<{ commit: string; found: T | null }> {
  const { emit, signal, draining } = context;
  draining.throwIfAborted();
  await emit({ type: 'step.started', step: 'clone', command: ['git', 'fetch', url, ref], ledger: null });
  let repository: RemoteRepository | null = null;
  try {
    repository = await repositories.open({ url, auth, signal });
    const { commit, subject } = await fetchEither(repository, ref, otherRef, signal);
    await repository.checkOut(commit, directory, signal);
    const found = look ? await look(repository, commit) : null;
    const line = `Checked out ${commit} (${ref}): ${subject}`;
    await emit(
      { type: 'run.revision', revision: commit, subject },
      { type: 'step.log', step: 'clone', stream: 'stdout', lines: [line] },
    );
    await finishStep(context, 'clone', 'succeeded', `At ${commit.slice(0, 8)}`);
    return { commit, found };
  } catch (error) {
    signal.throwIfAborted();
    const reason = reasonOf(error);
    if (reason === null) throw error;
    const message = describeError(error);
    await emit({ type: 'step.log', step: 'clone', stream: 'stderr', lines: message.split('\n') });
    await finishStep(context, 'clone', 'failed', message);
    throw new StepFailed({ state: 'errored', reason, message });
  } finally {
    await repository?.release();
  }
}

/** The commit `ref`, or by `otherRef` when the server does not give it by its id. */
export async function fetchEither(
  repository: RemoteRepository,
  ref: string,
  otherRef: string | undefined,
  signal: AbortSignal,
): ReturnType<RemoteRepository['fetch']> {
  try {
    return await repository.fetch(ref, signal);
  } catch (error) {
    if (otherRef === undefined || !(error instanceof GitError) || error.kind !== 'unknown_revision')
      throw error;
    const found = await repository.fetch(otherRef, signal).catch(() => null);
    if (found?.commit === ref) return found;
    throw error;
  }
}

function reasonOf(error: unknown): RunReason | null {
  if (isDiskFull(error)) return 'disk_full';
  if (error instanceof GitError) {
    if (error.kind === 'disk_full') return 'disk_full';
    return error.kind === 'unknown_revision' ? 'unknown_revision' : 'git_unavailable';
  }
  return error instanceof RunnerError ? 'request_invalid' : null;
}
