/** One job from its begin to its stored end, whatever happens to its work, its lease and Redis meanwhile. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { describeError } from '../../errors.ts';
import type { Job, JobEnd, JobLineStream } from '../../runs/job.ts';
import type { Begun, JobHealth, JobStore, StartedJob } from '../store/job-store.ts';
import { createOutputWriter } from './output-writer.ts';

/** What the work on a job is given. */
interface JobContext {
  /** Aborted when the job must not go on: end the work, then throw. */
  signal: AbortSignal;
  /** Shown to the user as it is. Resolves when there is room for more. */
  output(stream: JobLineStream, lines: readonly string[]): Promise<void>;
  /** Asks Redis whether the job is still ours to do, as long as it takes. Throws the signal's reason when it is not. */
  confirm(): Promise<void>;
}

/** Gives the end of the job. What it throws is a failure of the job, or the reason of the signal. */
export type JobWork = (job: Job, context: JobContext) => Promise<JobEnd>;

/** Why a job is ended by us. */
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
  /** Called with what Redis says of it. */
  heard(health: JobHealth): void;
  /** When Redis last said that the lease is ours, on the clock of performance.now(). */
  renewedAt(): number;
  stop(reason: StopReason): void;
  /** Jobs begun in its place. Never rejects. */
  ended: Promise<Begun | null>;
}

export interface RunJobOptions {
  store: Pick<JobStore, 'renew' | 'appendOutput' | 'finish' | 'handBack'>;
  work: JobWork;
  timeoutMs: number;
  now(): number;
  /** How many to begin in its place; asked at the end. */
  wanted(): number;
  /** Aborted when nobody waits for Redis any more. */
  givingUp: AbortSignal;
  log: Logger;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

export function startJob(options: RunJobOptions, { job, lease }: StartedJob): RunningJob {
  const { store, timeoutMs, now, log } = options;
  const stopped = new AbortController();
  let renewedAt = performance.now();
  const stop = (reason: StopReason): void => stopped.abort(new JobStopped(reason));

  function heard(health: JobHealth): void {
    if (health === 'running') renewedAt = performance.now();
    else stop(health);
  }

  /** Lines are of no use to anybody when the lease is lost. */
  const useless = new AbortController();
  const output = createOutputWriter({
    append: async (lines) => {
      if (!(await store.appendOutput(lease, lines))) useless.abort();
    },
    now,
    signal: AbortSignal.any([options.givingUp, useless.signal]),
  });
  const context: JobContext = {
    signal: stopped.signal,
    output: (stream, lines) => output.write(stream, lines),
    async confirm() {
      for (;;) {
        stopped.signal.throwIfAborted();
        const answer = await store.renew([lease]).catch(() => null);
        if (answer !== null) heard(answer[0] ?? 'lost');
        stopped.signal.throwIfAborted();
        if (answer !== null) return;
        await sleep(FIRST_PAUSE_MS);
      }
    },
  };

  async function workToItsEnd(): Promise<JobEnd | StopReason> {
    const timer = setTimeout(() => stop('timed_out'), timeoutMs);
    try {
      return await options.work(job, context);
    } catch (error) {
      const { reason } = stopped.signal;
      if (reason instanceof JobStopped) return reason.reason;
      log.error({ err: error, job: job.id }, 'a job failed by a defect');
      return { status: 'failed', message: `The runner failed: ${describeError(error)}` };
    } finally {
      clearTimeout(timer);
    }
  }

  async function run(): Promise<Begun | null> {
    const end = await workToItsEnd();
    if (end === 'lost') {
      useless.abort();
      await output.end();
      log.warn({ job: job.id }, 'a job was lost to another worker, and is not ended here');
      return null;
    }
    const words = describeEnd(end, timeoutMs);
    if (words.lines.length > 0) await output.write(words.stream, words.lines);
    await output.end();
    if (end === 'draining') {
      await insist(options, () => store.handBack(lease));
      log.info({ job: job.id }, 'a job was handed back');
      return null;
    }
    const finished = await insist(options, () => store.finish(lease, words.end, options.wanted()));
    log.info({ job: job.id, attempt: job.attempt, status: finished?.status ?? 'unknown' }, 'job ended');
    return finished;
  }

  const ended = run().catch((err: unknown) => {
    log.error({ err, job: job.id }, 'a job ended, and that could not be stored');
    return null;
  });
  return { lease, heard, renewedAt: () => renewedAt, stop, ended };
}

/** Until Redis has answered: a job whose end is not stored would be `running` for ever. Null when given up. */
async function insist<T>({ givingUp, log }: RunJobOptions, action: () => Promise<T>): Promise<T | null> {
  let pauseMs = FIRST_PAUSE_MS;
  for (;;) {
    try {
      return await action();
    } catch (err) {
      if (givingUp.aborted) throw err;
      log.warn({ err }, 'the end of a job is not stored yet');
      await sleep(pauseMs, undefined, { signal: givingUp }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }
}

interface EndWords {
  stream: JobLineStream;
  lines: string[];
  end: { status: string; fields: Record<string, string> };
}

function describeEnd(end: JobEnd | StopReason, timeoutMs: number): EndWords {
  if (end === 'cancelled' || end === 'ended' || end === 'gone' || end === 'lost') {
    return { stream: 'stderr', lines: ['The job was cancelled.'], end: { status: 'cancelled', fields: {} } };
  }
  if (end === 'draining') {
    const lines = ['The runner stops; another one begins the job anew.'];
    return { stream: 'stderr', lines, end: { status: 'pending', fields: {} } };
  }
  if (end === 'timed_out') return describeFailure(`The job timed out after ${timeoutMs / 1_000} s.`);
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
