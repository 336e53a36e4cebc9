/** One run from claim to outcome: its lease, its signals, its events, and what its end means. */

import type { Logger } from 'pino';
import {
  CancelRequested,
  describeError,
  isDiskFull,
  ReporterFailedError,
  StaleLeaseError,
  StoreUnavailableError,
} from '../errors.ts';
import type { Outcome, PipelineContext, Pipelines } from '../pipelines/pipeline.ts';
import type { Run, RunKind } from '../runs/run.ts';
import { mayBeHandedBack } from '../runs/run-decisions.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import { SECOND } from '../units.ts';
import { watchSteps } from './cut-steps.ts';
import { createEventWriter, type EventWriter } from './event-writer.ts';
import { keepLease } from './keep-lease.ts';

export interface ExecuteOptions {
  store: RunStore;
  pipelines: Pipelines;
  leaseMs: number;
  /** Others may take the run once its lease has ended: then it is given up before that. */
  isShared?: boolean;
  /** Aborted at the start of a drain, with the failure that ends the server, if any: no further step begins. */
  draining: AbortSignal;
  /** Aborted at the end of a drain: what still runs is ended. */
  stopping: AbortSignal;
  /** For tests: how long a server that stops waits for the store. Default 10 s. */
  lastWordsMs?: number;
  log: Logger;
}

const LOOK_AGAIN_MS = 2 * SECOND;
/** Until a run is tried again that needed a store that was away. */
const AWAY_MS = 15 * SECOND;
/** After the end of a drain. */
const LAST_WORDS_MS = 10 * SECOND;

/** A server that stops hands the run back. `handedBack` says that this cut off a step, and counts against the run. */
interface HandedBack {
  state: 'queued';
  notBefore: number;
  message: string;
  handedBack: boolean;
}

const WORDS: Partial<Record<Outcome['state'], string>> = {
  queued: 'run put off',
  awaiting_approval: 'run awaits approval',
};

/**
 * Never rejects: every way to end is stored, however long the store is away, or logged when the run is somebody else's
 * by now. What cannot be stored at all ends with the lease, and the run is taken back.
 */
export async function executeRun(options: ExecuteOptions, claim: Claim): Promise<void> {
  const { store, stopping, lastWordsMs = LAST_WORDS_MS } = options;
  const { run, lease } = claim;
  const log = options.log.child({ run_id: run.id, attempt: run.attempt });
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, stopping]);
  const writer = createEventWriter(store, lease, signal);
  const steps = watchSteps(writer.emit, stopping);
  const patience = patienceOf(stopping, lastWordsMs);
  const release = [
    patience.release,
    steps.release,
    keepLease(options, lease, (error) => ended.abort(error)),
    watchCancel(options, run.id, (by) => ended.abort(new CancelRequested(by))),
  ];
  log.info({ kind: run.kind, trigger: run.trigger.source }, 'run started');
  try {
    const outcome = await outcomeOf(options, claim, { signal, steps }, log);
    // From here on the outcome stands: a cancel or a drain comes too late for it.
    writer.insist(patience.signal);
    await finish(writer, outcome);
    log.info({ ...shown(outcome), summary: outcome.message }, WORDS[outcome.state] ?? 'run finished');
  } catch (error) {
    if (error instanceof StaleLeaseError) log.warn('run taken over by another worker');
    else await finishAsDefect(writer, error, log);
  } finally {
    for (const end of release) end();
  }
}

/**
 * The last words of a run wait for the store without a limit. Only a server that stops gives up in the end: then the
 * next start takes the run back, as after a crash.
 */
function patienceOf(stopping: AbortSignal, limitMs: number): { signal: AbortSignal; release(): void } {
  const over = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const limit = (): void => {
    const stopped = new StoreUnavailableError('The server stopped before the store could be written again.');
    timer = setTimeout(() => over.abort(stopped), limitMs);
  };
  if (stopping.aborted) limit();
  else stopping.addEventListener('abort', limit, { once: true });
  return {
    signal: over.signal,
    release() {
      stopping.removeEventListener('abort', limit);
      clearTimeout(timer);
    },
  };
}

/** What the pipeline says, or what became of the run when it did not come to say it. Throws StaleLeaseError. */
async function outcomeOf(
  options: ExecuteOptions,
  { run, covers }: Claim,
  { signal, steps }: { signal: AbortSignal; steps: ReturnType<typeof watchSteps> },
  log: Logger,
): Promise<Outcome | HandedBack> {
  const { pipelines, draining, stopping } = options;
  try {
    // It was claimed just before the end began: nothing starts any more.
    draining.throwIfAborted();
    return await perform(pipelines, run, covers, { signal, draining, emit: steps.emit });
  } catch (error) {
    const cause: unknown = signal.aborted ? signal.reason : error;
    for (const one of [error, cause]) if (one instanceof StaleLeaseError) throw one;
    if (cause instanceof CancelRequested) {
      return { state: 'cancelled', reason: 'cancelled_by_request', message: cause.message };
    }
    if (draining.aborted || stopping.aborted) {
      return handBack(run, { wasCut: steps.wasCut(), why: draining.reason });
    }
    if (error instanceof StoreUnavailableError) {
      log.warn({ err: error }, 'the run needed a store that is away');
      const message = `${describeError(error)} Waiting to go on.`;
      return { state: 'queued', notBefore: Date.now() + AWAY_MS, message };
    }
    log.error({ err: error }, 'run failed by a defect');
    const reason = isDiskFull(error) ? 'disk_full' : 'internal';
    return { state: 'errored', reason, message: 'The runner failed; see its log' };
  }
}

/**
 * A task that stops its own server would be handed back, and stop the next one, for ever. It has no part in it when
 * the server stops for a reporter of its own.
 */
function handBack(run: Run, { wasCut, why }: { wasCut: boolean; why: unknown }): Outcome | HandedBack {
  const mayBeToBlame = wasCut && !(why instanceof ReporterFailedError);
  if (!mayBeToBlame || mayBeHandedBack(run)) {
    const message = 'Handed back by a server that is stopping; waiting to go on.';
    return { state: 'queued', notBefore: 0, message, handedBack: mayBeToBlame };
  }
  const message = `Cut off by a server that was stopped, after it had been handed back ${run.handBacks} times for that`;
  return { state: 'errored', reason: 'handed_back_too_often', message };
}

/** For the log: nothing sealed, and nothing long. */
function shown(outcome: Outcome | HandedBack): Record<string, unknown> {
  switch (outcome.state) {
    case 'queued':
      return { state: outcome.state, notBefore: outcome.notBefore };
    case 'awaiting_approval':
      return { state: outcome.state, subject: outcome.subject, expiresAt: outcome.expiresAt };
    default:
      return { state: outcome.state, reason: outcome.reason };
  }
}

/** Runs of a kind are covered by runs of that kind only, as groups do not mix kinds. */
function perform<K extends RunKind>(
  pipelines: Pipelines,
  run: Run<K>,
  covers: readonly Run[],
  rest: Omit<PipelineContext<K>, 'run' | 'covers'>,
): Promise<Outcome> {
  const kind: K = run.kind;
  return pipelines[kind]({
    ...rest,
    run,
    covers: covers.filter((other): other is Run<K> => other.kind === kind),
  });
}

function finish(writer: EventWriter, outcome: Outcome | HandedBack): Promise<void> {
  const { state, message } = outcome;
  if (state === 'queued') {
    const { notBefore } = outcome;
    const waits = { type: 'run.requeued', message, countAttempt: false, notBefore } as const;
    const isCut = 'handedBack' in outcome && outcome.handedBack;
    return writer.finish([isCut ? { ...waits, handedBack: true } : waits]);
  }
  if (state === 'awaiting_approval') {
    const { subject, expiresAt, sealed } = outcome;
    const waits = { type: 'run.awaiting_approval', subject, expiresAt, message } as const;
    return writer.finish([waits], undefined, sealed);
  }
  const { reason, followUp, coveredBy = null } = outcome;
  return writer.finish([{ type: 'run.finished', state, reason, message, coveredBy }], followUp);
}

/** The store refused how the run ended, or the server stops and the store is away. */
async function finishAsDefect(writer: EventWriter, error: unknown, log: Logger): Promise<void> {
  log.error({ err: error }, 'the end of the run could not be stored');
  if (error instanceof StoreUnavailableError) return;
  try {
    await finish(writer, { state: 'errored', reason: 'internal', message: 'The runner failed; see its log' });
  } catch (err) {
    log.error({ err }, 'the run cannot be ended; it is taken back when its lease has ended');
  }
}

/** A store that cannot be read is asked again: nobody's wish to cancel is lost. */
function watchCancel(
  { store, log }: ExecuteOptions,
  runId: string,
  onCancel: (by: string) => void,
): () => void {
  let again: NodeJS.Timeout | undefined;
  async function look(): Promise<void> {
    try {
      const by = (await store.run(runId))?.cancelRequestedBy;
      if (by) onCancel(by);
    } catch (err) {
      log.debug({ err, run_id: runId }, 'whether the run is cancelled cannot be read, trying again');
      clearTimeout(again);
      again = setTimeout(look, LOOK_AGAIN_MS).unref();
    }
  }
  const unwatch = store.watch((changed) => {
    if (changed === runId) void look();
  });
  void look();
  return () => {
    unwatch();
    clearTimeout(again);
  };
}
