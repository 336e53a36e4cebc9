/** Writes a run's events in order: log lines gathered for a moment, everything else at once. */

import { setTimeout as sleep } from 'node:timers/promises';
import { StaleLeaseError, StoreUnavailableError } from '../errors.ts';
import type { RunRequest } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Lease, RunStore } from '../runs/run-store.ts';
import { boundTexts } from '../runs/texts/bound-texts.ts';
import { KIBIBYTE, MEBIBYTE, SECOND } from '../units.ts';

/** Log lines wait at most this long, so that a chatty task costs ten commits a second, not thousands. */
const GATHER_MS = 100;
/** More than this waiting makes the task wait. */
const HIGH_WATER_BYTES = MEBIBYTE;
const CHUNK_BYTES = 64 * KIBIBYTE;
const RETRY_MS = [100, 500, SECOND, 5 * SECOND] as const;

export interface EventWriter {
  /** Resolves when the events are durable, or, for log lines alone, when there is room for more. */
  emit(...events: RunEventBody[]): Promise<void>;
  /** Writes what is waiting and then these, in one transaction. */
  finish(events: RunEventBody[], followUp?: RunRequest, sealed?: string): Promise<void>;
  /** From now on only this signal ends its patience. What was given up before comes first again. */
  insist(giveUp: AbortSignal): void;
}

interface Waiting {
  events: RunEventBody[];
  bytes: number;
}

/**
 * A store that cannot commit is tried again until it can, while the task waits: nothing is dropped and nothing
 * is written twice. Rejects with StaleLeaseError, and with `giveUp`'s reason once that is aborted.
 */
export function createEventWriter(store: RunStore, lease: Lease, giveUp: AbortSignal): EventWriter {
  let patience = giveUp;
  let waiting: Waiting = { events: [], bytes: 0 };
  /** Taken out of `waiting` and not stored for certain. The store knows this very list, and never writes it twice. */
  let underWay: RunEventBody[] = [];
  let tail: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | null = null;

  async function write(): Promise<void> {
    await writeUnderWay();
    underWay = waiting.events;
    waiting = { events: [], bytes: 0 };
    await writeUnderWay();
  }

  async function writeUnderWay(): Promise<void> {
    if (underWay.length === 0) return;
    try {
      await patiently(() => store.append(lease, underWay), patience);
      underWay = [];
    } catch (error) {
      if (!isRefusal(error, patience)) throw error;
      const lines = linesAmong(underWay);
      underWay = [];
      if (lines.length > 0)
        await patiently(() => store.append(lease, lines), patience).catch(() => undefined);
      throw error;
    }
  }

  function flush(): Promise<void> {
    if (timer) clearTimeout(timer);
    timer = null;
    tail = tail.then(write);
    // Whoever waits for `tail` sees the failure; without this an unobserved one would end the process.
    tail.catch(() => undefined);
    return tail;
  }

  return {
    emit(...events) {
      for (const event of events) add(waiting, boundTexts(event));
      if (!events.every(({ type }) => type === 'step.log')) return flush();
      if (waiting.bytes > HIGH_WATER_BYTES) return flush();
      timer ??= setTimeout(() => void flush(), GATHER_MS);
      return Promise.resolve();
    },
    async finish(events, followUp, sealed) {
      await flush();
      const last = events.map(boundTexts);
      await patiently(() => store.append(lease, last, followUp, sealed), patience);
    },
    insist(signal) {
      patience = signal;
      tail = tail.catch(() => undefined);
    },
  };
}

/** The store does not take these events, now or later. */
function isRefusal(error: unknown, patience: AbortSignal): boolean {
  const isGivenUp = patience.aborted && error === patience.reason;
  return !isGivenUp && !(error instanceof StaleLeaseError);
}

/** Of a refused list: what nothing follows from, and so can be stored without the rest. */
function linesAmong(refused: readonly RunEventBody[]): RunEventBody[] {
  const lines = refused.filter(({ type }) => type === 'step.log');
  return lines.length < refused.length ? lines : [];
}

/** Joins lines of the same step and stream into chunks. */
function add(waiting: Waiting, event: RunEventBody): void {
  if (event.type !== 'step.log') {
    waiting.events.push(event);
    return;
  }
  const bytes = sizeOf(event.lines);
  const last = waiting.events.at(-1);
  waiting.bytes += bytes;
  if (
    last?.type === 'step.log' &&
    last.step === event.step &&
    last.stream === event.stream &&
    sizeOf(last.lines) < CHUNK_BYTES
  ) {
    last.lines.push(...event.lines);
  } else {
    waiting.events.push({ ...event, lines: [...event.lines] });
  }
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
