/** Server-sent events of runs: what is stored first, then what is stored next, until the run's end. */

import type { Context } from 'hono';
import { streamSSE } from 'hono/streaming';
import { HOUR } from '../../units.ts';
import { isFinal, type Run } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { RunPageEnv } from '../access/guards.ts';
import type { StreamSeats } from '../doors/stream-seats.ts';
import { EVENTS_PER_READ, lastSequence } from './run-log.ts';

type EventSource = Pick<RunStore, 'run' | 'events' | 'watch'>;
type SseStream = Parameters<Parameters<typeof streamSSE>[1]>[0];

export interface RunStreamsOptions {
  store: EventSource;
  seats: StreamSeats;
  /** Told when a stream broke off because the store failed. */
  onError: (error: unknown) => void;
  /** After so long the client has to come back, and to show that it may still read. Default an hour. */
  maxStreamMs?: number;
}

/** What a stream says, in the form of text/event-stream. */
export interface StreamWords {
  /** The parts of an event after sequence number `after`, or ''. Called with each event in order. */
  messages(event: RunEvent, after: number): string;
  /** The last message; `run` is null when there is no such run any more. */
  end(run: Run | null): string;
}

export interface RunStreams {
  /**
   * Answers with the events of the context's run after sequence number `after`, in `words`; null when too many
   * streams are open.
   */
  open(c: Context<RunPageEnv>, after: number, words: StreamWords): Response | null;
  /** Ends all streams at shutdown and opens no more. Clients come back with Last-Event-ID. */
  close(): void;
}

const HEARTBEAT_MS = 15_000;
const MAX_STREAM_MS = HOUR;

interface Followed {
  runId: string;
  after: number;
  words: StreamWords;
}

export function createRunStreams(options: RunStreamsOptions): RunStreams {
  const { store, seats, onError, maxStreamMs = MAX_STREAM_MS } = options;
  const open = new Set<SseStream>();
  let closing = false;

  async function serve(stream: SseStream, followed: Followed): Promise<void> {
    open.add(stream);
    const expiry = setTimeout(() => stream.abort(), maxStreamMs).unref();
    try {
      if (!closing) await follow(store, stream, followed);
    } finally {
      clearTimeout(expiry);
      open.delete(stream);
    }
  }

  return {
    open(c, after, words) {
      const runId = c.var.run.id;
      if (closing) return null;
      const free = seats.take(c, c.var.identity === null ? runId : null);
      if (free === null) return null;
      // Nobody would read the stream of a HEAD request, so it would never end.
      if (c.req.method === 'HEAD') free();
      if (c.req.method === 'HEAD') return c.body(null, 200, { 'Content-Type': 'text/event-stream' });
      c.header('X-Accel-Buffering', 'no');
      return streamSSE(
        c,
        (stream) => serve(stream, { runId, after, words }).finally(free),
        // The client comes back and asks again from its last line; it must not read about our inside.
        async (error, stream) => {
          stream.abort();
          onError(error);
        },
      );
    },
    close() {
      closing = true;
      for (const stream of open) stream.abort();
    },
  };
}

/** Each write waits until the client has taken the one before: a slow client costs one page of events, no more. */
async function follow(
  store: EventSource,
  stream: SseStream,
  { runId, after, words }: Followed,
): Promise<void> {
  const changes = watchRun(store, stream, runId);
  let cursor = after;
  try {
    await stream.write('retry: 2000\n\n');
    while (!stream.aborted) {
      changes.reset();
      // Asked before the events are read: a run that is final by now has all of them stored.
      const run = await store.run(runId);
      const events = await store.events(runId, { after: cursor, limit: EVENTS_PER_READ });
      for (const event of events) {
        const text = words.messages(event, cursor);
        if (text !== '') await stream.write(text);
        cursor = Math.max(cursor, lastSequence(event));
        if (stream.aborted) return;
      }
      // A page may be short because its lines are long: only an empty one is the end.
      if (events.length > 0) continue;
      if (run === null || isFinal(run.state)) {
        await stream.write(words.end(run));
        return;
      }
      if ((await changes.next(HEARTBEAT_MS)) === 'silence') await stream.write(': still here\n\n');
    }
  } finally {
    changes.stop();
  }
}

/** Tells of changes of one run since the last `reset`, and of the client's going. */
function watchRun(store: EventSource, stream: SseStream, runId: string) {
  let changed = false;
  let wake = () => {};
  const notify = () => {
    changed = true;
    wake();
  };
  const stop = store.watch((changedRunId) => {
    if (changedRunId === runId) notify();
  });
  stream.onAbort(notify);
  return {
    reset() {
      changed = false;
    },
    next(silenceMs: number): Promise<'change' | 'silence'> {
      if (changed) return Promise.resolve('change');
      return new Promise((resolve) => {
        const timer = setTimeout(() => resolve('silence'), silenceMs);
        wake = () => {
          clearTimeout(timer);
          resolve('change');
        };
      });
    },
    stop,
  };
}
