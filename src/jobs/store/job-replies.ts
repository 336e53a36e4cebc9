/** What is said of jobs in Redis, and how its answers are read. */

import type { GitProvider, Job, JobLineStream } from '../../runs/job.ts';
import type { Reply } from './connection.ts';

/** The right to work on a job. Whoever begins it anew gets another token, and this one is worth nothing any more. */
export interface JobLease {
  jobId: string;
  /** Its place in the stream. */
  entry: string;
  token: string;
}

export interface StartedJob {
  job: Job;
  lease: JobLease;
}

/** An entry that could not be used; it stands in `jobs:stream:aside` now. */
export interface SetAside {
  entry: string;
  jobId: string;
  reason: string;
}

export interface Begun {
  started: StartedJob[];
  setAside: SetAside[];
  /** There was more to look at than is good in one step. */
  more: boolean;
}

export interface JobLine {
  at: number;
  stream: JobLineStream;
  line: string;
}

/** `running` also when somebody has set another status that is not final; `lost`: the lease is not ours any more. */
export type JobHealth = 'running' | 'cancelled' | 'ended' | 'lost' | 'gone';

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

export function begunOf([started, asides, more]: Reply[]): Begun {
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
    case 'lost':
    case 'gone':
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
