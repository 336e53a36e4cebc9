/** Runs one job from its start to its stored end, even if its work fails, its lease is lost or Redis is away. */

import type { Logger } from 'pino';
import { describeError } from '../../errors.ts';
import type { Job, JobEnd, JobLineStream } from '../../runs/job.ts';
import { SECOND } from '../../units.ts';
import type { JobHealth, JobStore, StartedJob, StartedJobs } from '../store/job-store.ts';
import { createOutputWriter, type OutputWriter } from './output-writer.ts';
import { retry } from './retry.ts';

export interface JobContext {
  /** Aborted if the job must not go on. The work then ends, and throws. */
  signal: AbortSignal;
  /** Shows lines to the user as they are. Resolves when there is space for more. */
  output(stream: JobLineStream, lines: readonly string[]): Promise<void>;
  /** Asks Redis, for as long as it takes, whether the job is still ours. Throws the signal's reason if it is not. */
  confirm(): Promise<void>;
}

/** Returns the end of the job. An error is a failure of the job, or the reason of the signal. */
type JobWork = (job: Job, context: JobContext) => Promise<JobEnd>;

/** The reasons for which we end a job. */
type StopReason = Exclude<JobHealth, 'running'> | 'timed_out' | 'draining';

class JobStopped extends Error {
  readonly reason: StopReason;

  constructor(reason: StopReason) {
    super(`The job was ended: ${reason}.`);
    this.reason = reason;
  }
}

export interface RunningJob {
  lease: StartedJob['lease'];
  /** Called with each answer of Redis about the job. */
  heard(health: JobHealth): void;
  /** When Redis last said that the lease is ours, on the clock of performance.now(). */
  renewedAt(): number;
  stop(reason: StopReason): void;
  /** The jobs that were started in its place. Never rejects. */
  ended: Promise<StartedJobs | null>;
}

export interface RunJobOptions {
  store: Pick<JobStore, 'renew' | 'appendOutput' | 'finish' | 'handBack'>;
  work: JobWork;
  timeoutMs: number;
  now(): number;
  /** Asked at the end: how many jobs to start in its place. */
  wanted(): number;
  /** Called if an answer of Redis was lost that may have started jobs for this process. */
  onLostAnswer(): void;
  /** Aborted when nobody waits for Redis any more. */
  givingUp: AbortSignal;
  log: Logger;
}

export function startJob(options: RunJobOptions, started: StartedJob): RunningJob {
  const { store, now, log, givingUp } = options;
  const { job, lease } = started;
  const stopped = new AbortController();
  let renewedAt = performance.now();
  const stop = (reason: StopReason): void => stopped.abort(new JobStopped(reason));

  function heard(health: JobHealth): void {
    if (health === 'running') renewedAt = performance.now();
    else stop(health);
  }

  /** Once the lease is lost, nobody needs the lines. */
  const unneeded = new AbortController();
  const output = createOutputWriter({
    append: async (lines) => {
      if (!(await store.appendOutput(lease, lines))) unneeded.abort();
    },
    now,
    signal: AbortSignal.any([givingUp, unneeded.signal]),
  });
  const context: JobContext = {
    signal: stopped.signal,
    output: output.write,
    async confirm() {
      stopped.signal.throwIfAborted();
      const answer = await retry(() => store.renew([lease]), stopped.signal).catch(() => []);
      stopped.signal.throwIfAborted();
      heard(answer[0] ?? 'lost');
      stopped.signal.throwIfAborted();
    },
  };

  async function run(): Promise<StartedJobs | null> {
    const end = await workToItsEnd(options, job, context, stop);
    if (end === 'lost') unneeded.abort();
    return storeEnd(options, started, end, output);
  }

  const ended = run().catch((err: unknown) => {
    log.error({ err, job: job.id }, 'a job ended, and that could not be stored');
    return null;
  });
  return { lease, heard, renewedAt: () => renewedAt, stop, ended };
}

async function workToItsEnd(
  { work, timeoutMs, log }: RunJobOptions,
  job: Job,
  context: JobContext,
  stop: (reason: StopReason) => void,
): Promise<JobEnd | StopReason> {
  const timer = setTimeout(() => stop('timed_out'), timeoutMs);
  try {
    return await work(job, context);
  } catch (error) {
    const { reason } = context.signal;
    if (reason instanceof JobStopped) return reason.reason;
    log.error({ err: error, job: job.id }, 'a job failed by a defect');
    return { status: 'failed', message: `The runner failed: ${describeError(error)}` };
  } finally {
    clearTimeout(timer);
  }
}

/** Tries until Redis has answered, because a job whose end is not stored would be `running` for ever. */
async function storeEnd(
  { store, wanted, timeoutMs, onLostAnswer, givingUp, log }: RunJobOptions,
  { job, lease }: StartedJob,
  end: JobEnd | StopReason,
  output: OutputWriter,
): Promise<StartedJobs | null> {
  if (end === 'lost') {
    await output.end();
    log.warn({ job: job.id }, 'a job was lost to another worker, and is not ended here');
    return null;
  }
  const words = describeEnd(end, timeoutMs);
  if (words.lines.length > 0) await output.write(words.stream, words.lines);
  await output.end();
  const insist = <T>(action: () => Promise<T>): Promise<T> =>
    retry(action, givingUp, (err) => {
      onLostAnswer();
      log.warn({ err }, 'the end of a job is not stored yet');
    });
  const refused = 'the end of a job was refused: its lease is over, or an earlier try has stored it';
  if (end === 'draining') {
    const isBack = await insist(() => store.handBack(lease));
    log.info({ job: job.id }, isBack ? 'a job was handed back' : refused);
    return null;
  }
  const finished = await insist(() => store.finish(lease, words.end, wanted()));
  if (finished.status === null) log.warn({ job: job.id }, refused);
  else log.info({ job: job.id, attempt: job.attempt, status: finished.status }, 'job ended');
  return finished;
}

interface EndWords {
  stream: JobLineStream;
  lines: string[];
  end: { status: string; fields: Record<string, string> };
}

function describeEnd(end: JobEnd | Exclude<StopReason, 'lost'>, timeoutMs: number): EndWords {
  if (end === 'cancelled' || end === 'ended' || end === 'deleted') {
    return { stream: 'stderr', lines: ['The job was cancelled.'], end: { status: 'cancelled', fields: {} } };
  }
  if (end === 'draining') {
    const lines = ['The runner stops; another one starts the job again.'];
    return { stream: 'stderr', lines, end: { status: 'pending', fields: {} } };
  }
  if (end === 'timed_out') return describeFailure(`The job timed out after ${timeoutMs / SECOND} s.`);
  if (end.status === 'failed') return describeFailure(end.message);
  const { branch, linesAdded, linesRemoved, changeRequestUrl, changeRequestProblem } = end;
  const fields = {
    ...(branch !== null && { branch }),
    lines_added: String(linesAdded),
    lines_removed: String(linesRemoved),
    ...(changeRequestUrl !== null && { mr_url: changeRequestUrl }),
    ...(changeRequestProblem !== null && { mr_warning: changeRequestProblem }),
  };
  return { stream: 'stdout', lines: [], end: { status: 'success', fields } };
}

function describeFailure(message: string): EndWords {
  const fields = { error_message: message };
  return { stream: 'stderr', lines: message.split('\n'), end: { status: 'failed', fields } };
}
