/** Writes a run's events in order. Log lines are gathered for a moment; everything else is written at once. */

import { setTimeout as sleep } from 'node:timers/promises';
import { StaleLeaseError, StoreUnavailableError } from '../errors.ts';
import type { RunRequest } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Lease, RunStore } from '../runs/run-store.ts';
import { boundTexts } from '../runs/texts/bound-texts.ts';
import { KIBIBYTE, MEBIBYTE, SECOND } from '../units.ts';

/** Log lines wait at most this long, so that a chatty task costs ten commits a second, not thousands. */
const GATHER_MS = 100;
/** The task has to wait while more than this is not written yet. */
const HIGH_WATER_BYTES = MEBIBYTE;
const CHUNK_BYTES = 64 * KIBIBYTE;
const RETRY_MS = [100, 500, SECOND, 5 * SECOND] as const;

export interface EventWriter {
  /** Resolves when the events are durable or, for log lines alone, when there is space for more. */
  emit(...events: RunEventBody[]): Promise<void>;
  /** Writes what is waiting, and then these events in one transaction. */
  finish(events: RunEventBody[], followUp?: RunRequest, sealed?: string): Promise<void>;
  /** From now on only this signal makes the writer give up. Events that it gave up before are written first. */
  insist(giveUp: AbortSignal): void;
}

interface Unwritten {
  waiting: RunEventBody[];
  /** The length of the log lines among `waiting`. */
  bytes: number;
  /** Taken out of `waiting`, but perhaps not stored. The store knows this very array, and never writes it twice. */
  underWay: RunEventBody[];
}

/**
 * A store that cannot commit is tried again until it can, while the task waits: nothing is dropped and nothing
 * is written twice. Rejects with StaleLeaseError, and with the reason of `giveUp` once that is aborted.
 */
export function createEventWriter(store: RunStore, lease: Lease, giveUp: AbortSignal): EventWriter {
  let patience = giveUp;
  const unwritten: Unwritten = { waiting: [], bytes: 0, underWay: [] };
  let tail: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | null = null;

  const append = (...rest: [events: RunEventBody[], followUp?: RunRequest, sealed?: string]) =>
    patiently(() => store.append(lease, ...rest), patience);

  function flush(): Promise<void> {
    if (timer) clearTimeout(timer);
    timer = null;
    tail = tail.then(() => write(unwritten, append, (error) => isRefusal(error, patience)));
    // Without this, a failure that nobody waits for would end the process. The callers that wait for `tail` see it.
    tail.catch(() => undefined);
    return tail;
  }

  return {
    emit(...events) {
      for (const event of events) add(unwritten, boundTexts(event));
      const hasLinesOnly = events.every(({ type }) => type === 'step.log');
      if (!hasLinesOnly || unwritten.bytes > HIGH_WATER_BYTES) return flush();
      timer ??= setTimeout(() => void flush(), GATHER_MS);
      return Promise.resolve();
    },
    async finish(events, followUp, sealed) {
      await flush();
      await append(events.map(boundTexts), followUp, sealed);
    },
    insist(signal) {
      patience = signal;
      tail = tail.catch(() => undefined);
    },
  };
}

type Append = (events: RunEventBody[]) => Promise<void>;

async function write(
  unwritten: Unwritten,
  append: Append,
  isRefused: (error: unknown) => boolean,
): Promise<void> {
  await writeUnderWay(unwritten, append, isRefused);
  unwritten.underWay = unwritten.waiting;
  unwritten.waiting = [];
  unwritten.bytes = 0;
  await writeUnderWay(unwritten, append, isRefused);
}

async function writeUnderWay(
  unwritten: Unwritten,
  append: Append,
  isRefused: (error: unknown) => boolean,
): Promise<void> {
  if (unwritten.underWay.length === 0) return;
  try {
    await append(unwritten.underWay);
    unwritten.underWay = [];
  } catch (error) {
    if (!isRefused(error)) throw error;
    const lines = linesAmong(unwritten.underWay);
    unwritten.underWay = [];
    if (lines.length > 0) await append(lines).catch(() => undefined);
    throw error;
  }
}

/** True if the store does not take these events, now or later. */
function isRefusal(error: unknown, patience: AbortSignal): boolean {
  const isGivenUp = patience.aborted && error === patience.reason;
  return !isGivenUp && !(error instanceof StaleLeaseError);
}

/** Returns the log lines among refused events. Nothing follows from lines, so they can be stored without the rest. */
function linesAmong(refused: readonly RunEventBody[]): RunEventBody[] {
  const lines = refused.filter(({ type }) => type === 'step.log');
  return lines.length < refused.length ? lines : [];
}

/** Joins lines of the same step and stream into chunks. */
function add(unwritten: Unwritten, event: RunEventBody): void {
  if (event.type !== 'step.log') {
    unwritten.waiting.push(event);
    return;
  }
  unwritten.bytes += sizeOf(event.lines);
  const last = unwritten.waiting.at(-1);
  const isSame = last?.type === 'step.log' && last.step === event.step && last.stream === event.stream;
  if (isSame && sizeOf(last.lines) < CHUNK_BYTES) last.lines.push(...event.lines);
  else unwritten.waiting.push({ ...event, lines: [...event.lines] });
}

function sizeOf(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + line.length + 1, 0);
}

async function patiently(append: () => Promise<void>, giveUp: AbortSignal): Promise<void> {
  for (let failures = 0; ; failures += 1) {
    try {
      return await append();
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      const pauseMs = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
      await sleep(pauseMs, undefined, { signal: giveUp }).catch(() => undefined);
      giveUp.throwIfAborted();
    }
  }
}
