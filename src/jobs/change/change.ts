/** The pipeline of a job: clone, let the agent work, commit, push a branch, and offer it for review. */

import { describeError, RunnerError } from '../../errors.ts';
import type { Executor, StepResult } from '../../executor/executor.ts';
import type { NewBranch, Recorded } from '../../git/own/new-branch.ts';
import type { WritableRepositories, WritableRepository } from '../../git/requested/remote-repositories.ts';
import type { OpenChangeRequest } from '../../github/change-requests.ts';
import {
  commitMessage,
  type GitProvider,
  isJobId,
  type Job,
  type JobEnd,
  type JobLineStream,
  jobBranch,
} from '../../runs/job.ts';
import { checkRemoteUrl, type RemoteUrlRules } from '../../runs/texts/remote-url.ts';
import type { JobFolder, JobFolders } from './job-folders.ts';
import { createTokenMask } from './mask-output.ts';
import { mayHaveToken, providerOrigin } from './provider-host.ts';

export interface ChangeOptions {
  repositories: Pick<WritableRepositories, 'open'>;
  /** What `repo_url` may be. */
  rules: Omit<RemoteUrlRules, 'what'>;
  executor: Executor;
  /** Works in the checkout; null: changes nothing. `env` is all it gets but for what names the job. */
  agent: { argv: readonly [string, ...string[]]; env: Readonly<Record<string, string>> } | null;
  /** Null when there is none; a sentence's end when it cannot be used. */
  provider(userId: string, providerId: string): Promise<GitProvider | string | null>;
  decrypt(sealed: string): string | null;
  /** Null: none is made. */
  changeRequests: OpenChangeRequest | null;
  folders: Pick<JobFolders, 'claim'>;
  /** Of a job; the agent may take as much. */
  timeoutMs: number;
}

export interface ChangeContext {
  signal: AbortSignal;
  output(stream: JobLineStream, lines: readonly string[]): Promise<void>;
  /** Throws when the job is not ours any more. */
  confirm(): Promise<void>;
}

/** The job cannot succeed, for a reason that its user may read. */
class JobFailed extends RunnerError {}

const AUTHOR = { name: 'repobox', email: 'repobox@users.noreply.iac-runner.invalid' };

/**
 * Never throws for what goes wrong with the job, only the reason of `signal`. The branch of a job is made once: of two
 * workers who both believe that the job is theirs, the server lets one, and the other finds what that one has made.
 */
export async function change(options: ChangeOptions, job: Job, context: ChangeContext): Promise<JobEnd> {
  let mask = (text: string): string => text;
  try {
    const access = await openAccess(options, job);
    mask = createTokenMask(access.token);
    const masked: ChangeContext = {
      ...context,
      output: (stream, lines) => context.output(stream, lines.map(mask)),
    };
    return await changeWith(options, job, access, masked).then((end) => maskEnd(end, mask));
  } catch (error) {
    context.signal.throwIfAborted();
    return { status: 'failed', message: mask(describeError(error)) };
  }
}

interface Access {
  provider: GitProvider;
  token: string;
  /** Checked, and free of credentials. */
  url: string;
}

async function openAccess({ provider, decrypt, rules }: ChangeOptions, job: Job): Promise<Access> {
  if (!isJobId(job.id)) throw new JobFailed('The id of the job cannot be used.');
  const remote = checkRemoteUrl(job.repositoryUrl, { ...rules, what: 'The repo_url' });
  if (!remote.ok) throw new JobFailed(remote.problem);
  const found = await provider(job.userId, job.providerId);
  const name = `The git provider ${job.providerId.slice(0, 80)} of the user`;
  if (found === null) throw new JobFailed(`${name} is not there.`, { nextAction: 'Connect it again.' });
  if (typeof found === 'string')
    throw new JobFailed(`${name} ${found}.`, { nextAction: 'Connect it again.' });
  const token = decrypt(found.token);
  if (token === null || token === '' || /[\p{Cc}]/u.test(token)) {
    throw new JobFailed(`The token of the git provider ${job.providerId.slice(0, 80)} cannot be decrypted.`, {
      nextAction: 'Connect the provider again, or correct ENCRYPTION_KEY.',
    });
  }
  if (!mayHaveToken(found, remote)) {
    throw new JobFailed(`The repository is on ${remote.host}, and the token is for another host.`, {
      nextAction: 'Use the provider that the repository belongs to.',
    });
  }
  return { provider: found, token, url: remote.url };
}

async function changeWith(
  options: ChangeOptions,
  job: Job,
  access: Access,
  context: ChangeContext,
): Promise<JobEnd> {
  const { signal } = context;
  const auth = { type: 'http', username: 'oauth2', password: access.token } as const;
  const folder = await options.folders.claim(job.id);
  let repository: WritableRepository | null = null;
  try {
    repository = await options.repositories.open({ url: access.url, auth, signal });
    await say(context, `Cloning ${access.url}${job.branch === null ? '' : ` (${job.branch})`}`);
    const ref = job.branch === null ? 'HEAD' : `refs/heads/${job.branch}`;
    const { commit: base, subject } = await repository.fetch(ref, signal);
    const branch = await repository.openNewBranch(folder.scratch, signal);
    const earlier = job.attempt > 1 ? await madeBefore(branch, job) : null;
    if (earlier !== null) return await succeed(options, job, access, context, earlier);
    await repository.checkOut(base, folder.checkout, signal);
    await folder.open();
    await say(context, `At ${base.slice(0, 8)}: ${subject}`);
    await runAgent(options, job, folder, context);
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
    // Whoever slept since the agent ended may have lost the job; what it holds may be of another attempt.
    await context.confirm();
    return await succeed(options, job, access, context, await pushed(branch, job, recorded));
  } finally {
    await folder.release();
    await repository?.release();
  }
}

async function runAgent(
  { executor, agent, timeoutMs }: ChangeOptions,
  job: Job,
  { checkout, environment }: JobFolder,
  { signal, output }: ChangeContext,
): Promise<void> {
  if (agent === null) return;
  const result = await executor.run(
    {
      argv: agent.argv,
      cwd: checkout,
      env: {
        ...agent.env,
        IAC_JOB_ID: job.id,
        IAC_JOB_ENVIRONMENT: job.environment,
        ...environment,
      },
      timeoutMs,
      signal,
      input: job.prompt,
    },
    { onStart() {}, onLines: output },
  );
  signal.throwIfAborted();
  const problem = problemWith(result);
  if (problem !== null) throw new JobFailed(`The agent ${problem}`);
}

/** Null for a good end. */
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

/** Stands in the commit, so that a branch says by itself which job has made it. */
function committerOf(job: Job) {
  return { name: 'iac-runner', email: `${job.id}@jobs.iac-runner.invalid` };
}

function isOf(job: Job, found: Recorded): boolean {
  return found.committerEmail === committerOf(job).email;
}

/** An attempt may have died between its push and the end of the job. */
async function madeBefore(branch: NewBranch, job: Job): Promise<Recorded | null> {
  const found = await branch.find(jobBranch(job.id));
  return found !== null && isOf(job, found) ? found : null;
}

async function pushed(branch: NewBranch, job: Job, recorded: Recorded): Promise<Recorded> {
  const name = jobBranch(job.id);
  const there = await branch.push(recorded.commit, name);
  if (there === null) return recorded;
  if (isOf(job, there)) return there;
  throw new JobFailed(`The branch ${name} is there already, and not by this job.`, {
    nextAction: 'Remove the branch, or send the prompt as a new job.',
  });
}

async function succeed(
  { changeRequests }: ChangeOptions,
  job: Job,
  { provider, token, url }: Access,
  context: ChangeContext,
  recorded: Recorded,
): Promise<JobEnd> {
  const branch = jobBranch(job.id);
  const { linesAdded, linesRemoved } = recorded;
  await say(context, `Pushed ${branch} at ${recorded.commit.slice(0, 8)} (+${linesAdded} -${linesRemoved})`);
  const end = successOf({ branch, linesAdded, linesRemoved });
  if (changeRequests === null) return end;
  const origin = providerOrigin(provider) ?? new URL(url).origin;
  const opened = await changeRequests({
    type: provider.type,
    origin,
    token,
    repositoryUrl: url,
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

function say({ output }: ChangeContext, line: string): Promise<void> {
  return output('stdout', [line]);
}

function maskEnd(end: JobEnd, mask: (text: string) => string): JobEnd {
  if (end.status === 'failed') return { ...end, message: mask(end.message) };
  const { changeRequestProblem: problem } = end;
  return { ...end, changeRequestProblem: problem === null ? null : mask(problem) };
}
