/** The types of jobs in Redis, and functions that read its answers. */

import type { GitProvider, Job, JobLineStream } from '../../runs/job.ts';
import type { Reply } from './connection.ts';

/** The right to work on a job. Each attempt has another token, which makes the earlier ones worthless. */
export interface JobLease {
  jobId: string;
  /** The job's place in the stream. */
  entry: string;
  token: string;
}

export interface StartedJob {
  job: Job;
  lease: JobLease;
}

/** An entry that could not be used, and was moved to `jobs:stream:aside`. */
export interface SetAside {
  entry: string;
  jobId: string;
  reason: string;
}

export interface StartedJobs {
  started: StartedJob[];
  setAside: SetAside[];
  /** There are more entries than one step should look at. */
  more: boolean;
}

export interface JobLine {
  at: number;
  stream: JobLineStream;
  line: string;
}

/** `running` includes any other status that is not final. `lost` means that this worker no longer has the lease. */
export type JobHealth = 'running' | 'cancelled' | 'ended' | 'lost' | 'deleted';

export function readProvider(reply: Reply): GitProvider | string | null {
  const list = listOf(reply).map(textOf);
  if (list.length === 0) return null;
  const fields = new Map<string, string>();
  for (let index = 0; index < list.length; index += 2) fields.set(list[index] ?? '', list[index + 1] ?? '');
  const type = fields.get('type');
  if (type !== 'github' && type !== 'gitlab') return 'is of a type that is neither github nor gitlab';
  const token = fields.get('token') ?? '';
  if (token === '') return 'has no token';
  return { type, url: fields.get('url') || null, token };
}

export function entryOf(reply: Reply): string | null {
  const [stream] = listOf(reply);
  const [, entries] = listOf(stream);
  const [entry] = listOf(listOf(entries)[0]);
  return entry === undefined ? null : textOf(entry);
}

export function startedJobsOf([started, asides, more]: Reply[]): StartedJobs {
  return {
    started: listOf(started).map(startedOf),
    setAside: listOf(asides).map(setAsideOf),
    more: more === 1,
  };
}

function startedOf(reply: Reply): StartedJob {
  const [jobId = '', entry = '', token = '', attempt = '', ...values] = listOf(reply).map(textOf);
  const [userId = '', providerId = '', repositoryUrl = '', branch = '', prompt = '', environment = ''] =
    values;
  const job: Job = {
    id: jobId,
    userId,
    providerId,
    repositoryUrl,
    branch: branch || null,
    prompt,
    environment,
    attempt: Number(attempt),
  };
  return { job, lease: { jobId, entry, token } };
}

export function setAsideOf(reply: Reply): SetAside {
  const [entry = '', jobId = '', reason = ''] = listOf(reply).map(textOf);
  return { entry, jobId, reason };
}

export function healthOf(reply: Reply): JobHealth {
  switch (reply) {
    // The colon keeps our own words apart from those that an application stores.
    case ':lost':
      return 'lost';
    case ':deleted':
      return 'deleted';
    case 'cancelled':
      return reply;
    case 'success':
    case 'failed':
      return 'ended';
    default:
      return 'running';
  }
}

export function listOf(reply: Reply | undefined): Reply[] {
  return Array.isArray(reply) ? reply : [];
}

export function textOf(reply: Reply | undefined): string {
  return typeof reply === 'string' || typeof reply === 'number' ? String(reply) : '';
}
