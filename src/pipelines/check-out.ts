/** The step `clone`: fetches the commit that a request names, and checks it out in the run's own folder. */

import { describeError, GitError, RunnerError } from '../errors.ts';
import type { RemoteRepositories, RemoteRepository } from '../git/requested/remote-repositories.ts';
import type { GitAuth } from '../runs/deployments/deployment.ts';
import { shortCommit } from '../runs/texts/short-commit.ts';
import { gitReason } from './git-reason.ts';
import { finishStep, type StepContext, StepFailed } from './step.ts';

interface WantedCheckout {
  url: string;
  /** Branch, tag or commit. */
  ref: string;
  /** Another ref that leads to the commit, such as `refs/pull/7/head`, for a server that does not give it by its id. */
  otherRef?: string;
  auth: GitAuth | null;
  directory: string;
}

/**
 * Resolves to the commit, and to the result of `look`, which may read the repository. Throws StepFailed, or the
 * signal's reason.
 */
export async function checkOutForRun<T = null>(
  repositories: Pick<RemoteRepositories, 'open'>,
  context: StepContext,
  { url, ref, otherRef, auth, directory }: WantedCheckout,
  look?: (repository: RemoteRepository) => Promise<T>,
): Promise<{ commit: string; found: T | null }> {
  const { emit, signal, draining } = context;
  draining.throwIfAborted();
  await emit({ type: 'step.started', step: 'clone', command: ['git', 'fetch', url, ref], ledger: null });
  let repository: RemoteRepository | null = null;
  try {
    repository = await repositories.open({ url, auth, signal });
    const { commit, subject } = await fetchEither(repository, ref, otherRef, signal);
    await repository.checkOut(commit, directory, signal);
    const found = look ? await look(repository) : null;
    const line = `Checked out ${commit} (${ref}): ${subject}`;
    await emit(
      { type: 'run.revision', revision: commit, subject },
      { type: 'step.log', step: 'clone', stream: 'stdout', lines: [line] },
    );
    await finishStep(context, 'clone', { state: 'succeeded', message: `At ${shortCommit(commit)}` });
    return { commit, found };
  } catch (error) {
    signal.throwIfAborted();
    const reason = gitReason(error) ?? (error instanceof RunnerError ? 'request_invalid' : null);
    if (reason === null) throw error;
    const message = describeError(error);
    await emit({ type: 'step.log', step: 'clone', stream: 'stderr', lines: message.split('\n') });
    await finishStep(context, 'clone', { state: 'failed', message });
    throw new StepFailed({ state: 'errored', reason, message });
  } finally {
    await repository?.release();
  }
}

/** Fetches the commit `ref`. If the server does not give it by its id, fetches it by `otherRef`. */
export async function fetchEither(
  repository: RemoteRepository,
  ref: string,
  otherRef: string | undefined,
  signal: AbortSignal,
): ReturnType<RemoteRepository['fetch']> {
  try {
    return await repository.fetch(ref, signal);
  } catch (error) {
    const isUnknown = error instanceof GitError && error.kind === 'unknown_revision';
    if (otherRef === undefined || !isUnknown) throw error;
    const found = await repository.fetch(otherRef, signal).catch(() => null);
    if (found?.commit === ref) return found;
    throw error;
  }
}
