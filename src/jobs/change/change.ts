/** The pipeline of a job: clone, let the agent work, commit, push a branch, and offer it for review. */

import { describeError } from '../../errors.ts';
import type { Executor, StepResult } from '../../executor/executor.ts';
import type { NewBranch, Recorded } from '../../git/own/new-branch.ts';
import type { WritableRepositories, WritableRepository } from '../../git/requested/remote-repositories.ts';
import type { OpenChangeRequest } from '../../github/change-requests.ts';
import { commitMessage, type Job, type JobEnd, jobBranch } from '../../runs/job.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import type { JobContext } from '../worker/run-job.ts';
import {
  createTokenMask,
  type JobAccess,
  type JobAccessOptions,
  JobFailed,
  openAccess,
  providerOrigin,
} from './job-access.ts';
import type { JobFolder, JobFolders } from './job-folders.ts';

export interface ChangeOptions extends JobAccessOptions {
  repositories: Pick<WritableRepositories, 'open'>;
  executor: Executor;
  /**
   * The program that works in the checkout. `env` is its whole environment, except for the variables that name the job.
   * Null means that nothing is changed.
   */
  agent: { argv: readonly [string, ...string[]]; env: Readonly<Record<string, string>> } | null;
  /** Null means that no change requests are opened. */
  changeRequests: OpenChangeRequest | null;
  folders: Pick<JobFolders, 'claim'>;
  /** The time limit of a job, which is also that of its agent. */
  timeoutMs: number;
}

/** One attempt at a job. Its context masks the token. */
interface Attempt {
  options: ChangeOptions;
  job: Job;
  access: JobAccess;
  context: JobContext;
}

const AUTHOR = { name: 'repobox', email: 'repobox@users.noreply.iac-runner.invalid' };

/**
 * Throws only the reason of `signal`. Any other problem is the end of the job. The branch of a job is made once: if two
 * workers both believe that the job is theirs, the server accepts one, and the other finds the branch of the first.
 */
export async function change(options: ChangeOptions, job: Job, context: JobContext): Promise<JobEnd> {
  let mask = (text: string): string => text;
  try {
    const access = await openAccess(options, job);
    mask = createTokenMask(access.token);
    const output: JobContext['output'] = (stream, lines) => context.output(stream, lines.map(mask));
    const end = await runAttempt({ options, job, access, context: { ...context, output } });
    return maskEnd(end, mask);
  } catch (error) {
    context.signal.throwIfAborted();
    return { status: 'failed', message: mask(describeError(error)) };
  }
}

async function runAttempt(attempt: Attempt): Promise<JobEnd> {
  const { options, job, access, context } = attempt;
  const { signal } = context;
  const auth = { type: 'http', username: 'oauth2', password: access.token } as const;
  const folder = await options.folders.claim(job, context.confirm);
  let repository: WritableRepository | null = null;
  try {
    repository = await options.repositories.open({ url: access.url, auth, signal });
    await say(context, `Cloning ${access.url}${job.branch === null ? '' : ` (${job.branch})`}`);
    const ref = job.branch === null ? 'HEAD' : `refs/heads/${job.branch}`;
    const { commit: base, subject } = await repository.fetch(ref, signal);
    const branch = await repository.openNewBranch(folder.scratch, signal);
    const earlier = job.attempt > 1 ? await madeBefore(branch, job) : null;
    if (earlier !== null) return await succeed(attempt, earlier);
    await repository.checkOut(base, folder.checkout, signal);
    await folder.open();
    await say(context, `At ${shortCommit(base)}: ${subject}`);
    await runAgent(attempt, folder);
    const recorded = await branch.record({
      folder: await folder.takeBack(signal),
      base,
      message: commitMessage(job.prompt),
      author: AUTHOR,
      committer: committerOf(job),
    });
    if (recorded === null) {
      await say(context, 'nothing to commit');
      return successOf(null);
    }
    // If this worker was paused since the agent ended, the job may belong to another attempt by now.
    await context.confirm();
    return await succeed(attempt, await pushed(branch, job, recorded));
  } finally {
    await folder.release();
    await repository?.release();
  }
}

async function runAgent(
  { options: { executor, agent, timeoutMs }, job, context: { signal, output } }: Attempt,
  { checkout, environment }: JobFolder,
): Promise<void> {
  if (agent === null) return;
  const env = { ...agent.env, IAC_JOB_ID: job.id, IAC_JOB_ENVIRONMENT: job.environment, ...environment };
  const result = await executor.run(
    { argv: agent.argv, cwd: checkout, env, timeoutMs, signal, input: job.prompt },
    { onStart() {}, onLines: output },
  );
  signal.throwIfAborted();
  const problem = problemWith(result);
  if (problem !== null) throw new JobFailed(`The agent ${problem}`);
}

/** Returns null if the agent ended well. */
function problemWith(result: StepResult): string | null {
  switch (result.kind) {
    case 'exited':
      return result.exitCode === 0 ? null : `failed with exit code ${result.exitCode}.`;
    case 'killed':
      return `was killed by ${result.signal}.`;
    case 'timed_out':
      return 'timed out.';
    case 'cancelled':
      return 'was cancelled.';
    case 'not_started':
    case 'lost':
      return `could not be run: ${result.message}`;
  }
}

/** The committer names the job, so that every branch says which job has made it. */
function committerOf(job: Job) {
  return { name: 'iac-runner', email: `${job.id}@jobs.iac-runner.invalid` };
}

function isOf(job: Job, found: Recorded): boolean {
  return found.committerEmail === committerOf(job).email;
}

/** Finds the branch of an earlier attempt, which may have died between its push and the end of the job. */
async function madeBefore(branch: NewBranch, job: Job): Promise<Recorded | null> {
  const found = await branch.find(jobBranch(job.id));
  return found !== null && isOf(job, found) ? found : null;
}

async function pushed(branch: NewBranch, job: Job, recorded: Recorded): Promise<Recorded> {
  const name = jobBranch(job.id);
  const existing = await branch.push(recorded.commit, name);
  if (existing === null) return recorded;
  if (isOf(job, existing)) return existing;
  throw new JobFailed(`The branch ${name} is there already, and not by this job.`, {
    nextAction: 'Remove the branch, or send the prompt as a new job.',
  });
}

async function succeed({ options, job, access, context }: Attempt, recorded: Recorded): Promise<JobEnd> {
  const branch = jobBranch(job.id);
  const { commit, linesAdded, linesRemoved } = recorded;
  await say(context, `Pushed ${branch} at ${shortCommit(commit)} (+${linesAdded} -${linesRemoved})`);
  const end = successOf({ branch, linesAdded, linesRemoved });
  if (options.changeRequests === null) return end;
  const opened = await options.changeRequests({
    type: access.provider.type,
    origin: providerOrigin(access.provider) ?? new URL(access.url).origin,
    token: access.token,
    repositoryUrl: access.url,
    head: branch,
    base: job.branch,
    title: commitMessage(job.prompt),
    description: job.prompt,
    signal: context.signal,
  });
  context.signal.throwIfAborted();
  if (opened.ok) {
    await say(context, `Opened ${opened.url}`);
    return { ...end, changeRequestUrl: opened.url };
  }
  await context.output('stderr', [`No change request was opened: ${opened.problem}`]);
  return { ...end, changeRequestProblem: opened.problem };
}

function successOf(made: { branch: string; linesAdded: number; linesRemoved: number } | null) {
  const { branch, linesAdded, linesRemoved } = made ?? { branch: null, linesAdded: 0, linesRemoved: 0 };
  const noRequest = { changeRequestUrl: null, changeRequestProblem: null };
  return { status: 'success', branch, linesAdded, linesRemoved, ...noRequest } as const;
}

function say({ output }: JobContext, line: string): Promise<void> {
  return output('stdout', [line]);
}

function maskEnd(end: JobEnd, mask: (text: string) => string): JobEnd {
  if (end.status === 'failed') return { ...end, message: mask(end.message) };
  const { changeRequestProblem: problem } = end;
  return { ...end, changeRequestProblem: problem === null ? null : mask(problem) };
}
