/** Streams the output of a job to programs: first its state, then every line so far, then new lines until its end. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Context, Hono } from 'hono';
import { StoreUnavailableError } from '../errors.ts';
import { isJobId } from '../runs/job.ts';
import { HOUR, KIBIBYTE, MINUTE, SECOND } from '../units.ts';
import type { Access } from '../web/access/access.ts';
import { askForCredentials } from '../web/doors/refusals.ts';
import { jsonError } from '../web/frame/error-answer.ts';
import { createEventStreams, lastEventId, type SseStream, sseMessage } from '../web/frame/event-streams.ts';
import { pageHeaders } from '../web/frame/page-headers.ts';
import type { JobReader, JobView } from './store/job-reader.ts';

export interface JobRoutesOptions {
  reader: Pick<JobReader, 'read'>;
  access: Access;
  /** The most open streams. Further requests are answered 503. */
  maxStreams?: number;
  /** The pause between two reads of Redis, for each stream. */
  everyMs?: number;
  /** How long an open stream waits while Redis is away. */
  patienceMs?: number;
  /** Called when a stream broke off because Redis failed. */
  onStreamError?: (error: unknown) => void;
}

export interface JobRoutes {
  routes: Hono;
  /** Ends the open streams, so that the server can close. */
  closeStreams(): void;
}

const EVERY_MS = 250;
const HEARTBEAT_MS = 15 * SECOND;
const PATIENCE_MS = MINUTE;
const AWAY_MS = 500;
/** Longer than a job may take, unless its limit was raised. Clients connect again with Last-Event-ID. */
const MAX_STREAM_MS = 2 * HOUR;
/** A line may have 16 KiB, and there are many streams. The size of the last lines decides how many are read at once. */
const BYTES_PER_READ = 256 * KIBIBYTE;
const FIRST_LINES = 32;
const MOST_LINES = 500;
const FINAL: ReadonlySet<string> = new Set(['success', 'failed', 'cancelled']);
const NUMBERS: ReadonlySet<string> = new Set(
  'lines_added lines_removed created_at started_at finished_at'.split(' '),
);

export function createJobRoutes(options: JobRoutesOptions): JobRoutes {
  const { reader, access, maxStreams, onStreamError } = options;
  const streams = createEventStreams({
    access,
    maxStreams,
    maxStreamMs: MAX_STREAM_MS,
    onError: onStreamError,
  });
  const routes = new Hono();
  routes.get('/jobs/:id/stream', pageHeaders(), async (c: Context) => {
    if ((await access.identify(c)) === null) return askForCredentials(c);
    const jobId = c.req.param('id') ?? '';
    const after = lastEventId(c);
    if (after === null || after >= 1e9) return jsonError(c, 400, 'The last event id must be a number.');
    const found = isJobId(jobId) && (await reader.read(jobId, 0, 1)).fields !== null;
    if (!found) return jsonError(c, 404, 'Job not found');
    return streams.open(c, null, (stream) => follow(options, stream, jobId, after));
  });
  return { routes, closeStreams: streams.close };
}

/** Sends `state` {id, status, …}, `line` {timestamp, line, stream} with its number as id, and `done` {status}. */
async function follow(
  { reader, everyMs = EVERY_MS, patienceMs = PATIENCE_MS }: JobRoutesOptions,
  stream: SseStream,
  jobId: string,
  after: number,
): Promise<void> {
  const left = new AbortController();
  stream.onAbort(() => left.abort());
  const rest = (ms: number) => sleep(ms, undefined, { signal: left.signal }).catch(() => undefined);
  let cursor = after;
  let sent = '';
  let saidAt = performance.now();
  const say = async (text: string) => {
    await stream.write(text);
    saidAt = performance.now();
  };
  await say('retry: 2000\n\n');
  let atOnce = FIRST_LINES;
  let readAt = performance.now();
  while (!stream.aborted) {
    const found = await reader.read(jobId, cursor, atOnce).catch((error: unknown) => {
      // Redis may be back before the client would have to connect again, and be refused.
      if (!(error instanceof StoreUnavailableError) || performance.now() - readAt > patienceMs) throw error;
      return null;
    });
    if (found === null) {
      await say(': Redis does not answer\n\n');
      await rest(AWAY_MS);
      continue;
    }
    readAt = performance.now();
    const { fields, lines } = found;
    const state = JSON.stringify(stateOf(fields));
    const isFinal = fields === null || FINAL.has(fields.status ?? '');
    // The final state comes with `done`, after all lines.
    if (sent === '' || (state !== sent && !isFinal)) await say(`event: state\ndata: ${state}\n\n`);
    sent = state;
    for (const line of lines) {
      cursor += 1;
      await say(sseMessage('line', lineOf(line), cursor));
      if (stream.aborted) return;
    }
    if (lines.length > 0) {
      atOnce = linesAtOnce(lines);
      continue;
    }
    if (isFinal) {
      await say(`event: done\ndata: ${state}\n\n`);
      return;
    }
    if (performance.now() - saidAt > HEARTBEAT_MS) await say(': still here\n\n');
    await rest(everyMs);
  }
}

function linesAtOnce(lines: readonly string[]): number {
  const characters = lines.reduce((sum, line) => sum + line.length, 0);
  return Math.max(1, Math.min(MOST_LINES, Math.floor((BYTES_PER_READ * lines.length) / characters)));
}

/** Returns the fields of the hash, with numbers as numbers. `status` is null if the job does not exist any more. */
function stateOf(fields: JobView['fields']): Record<string, string | number | null> {
  if (fields === null) return { status: null };
  const isNumber = (name: string, value: string) => NUMBERS.has(name) && /^\d{1,15}$/.test(value);
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, isNumber(name, value) ? Number(value) : value]),
  );
}

function lineOf(text: string): object {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null && 'line' in parsed) return parsed;
  } catch {
    // A line of another program is shown as it is.
  }
  return { timestamp: null, line: text, stream: 'stdout' };
}
