/** Writes the events of a run to an event stream: first the stored events, then each new one, until the run ends. */

import type { Context } from 'hono';
import { createPauses } from '../../event-loop.ts';
import { isFinal, type Run } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { SECOND } from '../../units.ts';
import { linkOf, type RunPageEnv } from '../access/access.ts';
import type { EventStreams, SseStream } from '../frame/event-streams.ts';
import { EVENTS_PER_READ, lastSequence } from '../logs/run-log.ts';

/** How events are written, in the form of text/event-stream. */
export interface StreamWords {
  /** The parts of an event after sequence number `after`, or ''. Called with each event in order. */
  messages(event: RunEvent, after: number): string;
  /** The last message; `run` is null when the run was deleted. */
  end(run: Run | null): string;
}

/** Which events of a run are sent, and how. */
export interface RunStreamOptions {
  streams: Pick<EventStreams, 'open'>;
  store: StreamedStore;
  /** The sequence number of the last event that the client has seen. */
  after: number;
  words: StreamWords;
}

type StreamedStore = Pick<RunStore, 'run' | 'events' | 'watch'>;

const HEARTBEAT_MS = 15 * SECOND;
/** A long log is written bit by bit, so that other requests are answered meanwhile. */
const TURN_MS = 5;

/** Answers with the events of the run that a guard has loaded. */
export function streamRun(c: Context<RunPageEnv>, options: RunStreamOptions): Response {
  const { run } = c.var;
  return options.streams.open(c, linkOf(c), (stream) => followRun(run.id, stream, options));
}

/**
 * Each write waits until the client has taken the one before, so that a slow client costs one page of events, no
 * more.
 */
async function followRun(
  runId: string,
  stream: SseStream,
  { store, after, words }: RunStreamOptions,
): Promise<void> {
  const changes = watchRun(store, stream, runId);
  const pause = createPauses(TURN_MS);
  let cursor = after;
  try {
    await stream.write('retry: 2000\n\n');
    while (!stream.aborted) {
      changes.reset();
      // The run is read before its events: if it is final by now, all of them are stored.
      const run = await store.run(runId);
      const events = await store.events(runId, { after: cursor, limit: EVENTS_PER_READ });
      for (const event of events) {
        const text = words.messages(event, cursor);
        if (text !== '') await stream.write(text);
        cursor = Math.max(cursor, lastSequence(event));
        if (stream.aborted) return;
        await pause();
      }
      // A page may be short because its lines are long, so only an empty one is the end.
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

/** Notices changes of one run since the last `reset`, and that the client has left. */
function watchRun(store: Pick<StreamedStore, 'watch'>, stream: SseStream, runId: string) {
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
