/** Works on one run from its claim to its outcome: lease, signals, events, and the end. */

import type { Logger } from 'pino';
import {
  CancelRequested,
  describeError,
  isDiskFull,
  ReporterFailedError,
  SecretMissingError,
  StaleLeaseError,
  StoreUnavailableError,
} from '../errors.ts';
import type { Outcome, PipelineContext, Pipelines } from '../pipelines/pipeline.ts';
import type { Run, RunKind } from '../runs/run.ts';
import { mayBeHandedBack } from '../runs/run-decisions.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import { SECOND } from '../units.ts';
import { createEventWriter, type EventWriter } from './event-writer.ts';
import { keepLease, type LeaseOptions } from './keep-lease.ts';
import { watchCancel, watchSteps } from './watch-run.ts';

export interface ExecuteOptions extends LeaseOptions {
  store: RunStore;
  pipelines: Pipelines;
  /** Aborted at the start of a drain, with the failure that ends the server, if any. No further step starts then. */
  draining: AbortSignal;
  /** Aborted at the end of a drain. A step that still runs then is ended. */
  stopping: AbortSignal;
  /** For tests: how long a server that stops waits for the store. Default 10 s. */
  lastWritesMs?: number;
}

/** If a run needed the store while it was away, it is tried again after this pause. */
const AWAY_MS = 15 * SECOND;
const LAST_WRITES_MS = 10 * SECOND;

/** The end of a run that a stopping server hands back. `handedBack`: this cut off a step, and counts against the run. */
interface HandedBack {
  state: 'queued';
  notBefore: number;
  message: string;
  handedBack: boolean;
}

const WORDS: Partial<Record<Outcome['state'], string>> = {
  queued: 'run postponed',
  awaiting_approval: 'run awaits approval',
};

/**
 * Never rejects. Every outcome is stored, however long the store is away, or logged if another worker has the run by
 * now. If an outcome cannot be stored at all, the lease ends and the run is taken back.
 */
export async function executeRun(options: ExecuteOptions, claim: Claim): Promise<void> {
  const { store, stopping, lastWritesMs = LAST_WRITES_MS } = options;
  const { run, lease } = claim;
  const log = options.log.child({ run_id: run.id, attempt: run.attempt });
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, stopping]);
  const writer = createEventWriter(store, lease, signal);
  const steps = watchSteps(writer.emit, stopping);
  const patience = patienceOf(stopping, lastWritesMs);
  const release = [
    patience.release,
    steps.release,
    keepLease(options, lease, (error) => ended.abort(error)),
    watchCancel(options, run.id, (by) => ended.abort(new CancelRequested(by))),
  ];
  log.info({ kind: run.kind, trigger: run.trigger.source }, 'run started');
  try {
    const outcome = await outcomeOf({ ...options, log }, claim, { signal, steps });
    // From here on the outcome is fixed: a cancel or a drain comes too late for it.
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
 * The last writes of a run wait for the store without a limit. Only a server that stops gives up after a while: then the
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

/** Returns the outcome that the pipeline gives, or decides one if the pipeline throws. Throws StaleLeaseError. */
async function outcomeOf(
  { pipelines, draining, stopping, log }: ExecuteOptions,
  { run, covers }: Claim,
  { signal, steps }: { signal: AbortSignal; steps: ReturnType<typeof watchSteps> },
): Promise<Outcome | HandedBack> {
  try {
    // The run was claimed just before the end began. Nothing starts any more.
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
    if (error instanceof SecretMissingError) {
      return { state: 'errored', reason: 'secret_missing', message: describeError(error) };
    }
    log.error({ err: error }, 'run failed by a defect');
    return defect(isDiskFull(error) ? 'disk_full' : 'internal');
  }
}

function defect(reason: 'disk_full' | 'internal'): Outcome {
  return { state: 'errored', reason, message: 'The runner failed; see its log' };
}

/**
 * A task that stops its own server would be handed back, and stop the next server, for ever. The task is not to blame
 * if the server stops because a reporter failed.
 */
function handBack(run: Run, { wasCut, why }: { wasCut: boolean; why: unknown }): Outcome | HandedBack {
  const mayBeToBlame = wasCut && !(why instanceof ReporterFailedError);
  if (!mayBeToBlame || mayBeHandedBack(run)) {
    const message = 'Handed back by a server that is stopping; waiting to go on.';
    return { state: 'queued', notBefore: 0, message, handedBack: mayBeToBlame };
  }
  const message = `A stopping server cut it off, after stopping servers had handed it back ${run.handBacks} times`;
  return { state: 'errored', reason: 'handed_back_too_often', message };
}

/** Returns the fields for the log: nothing that is sealed, and nothing long. */
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

/** A run covers only runs of its own kind, because a group contains only one kind. */
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
    const holds = 'holds' in outcome && outcome.holds ? { holds: outcome.holds } : {};
    const waits = { type: 'run.requeued', message, countAttempt: false, notBefore, ...holds } as const;
    const isCut = 'handedBack' in outcome && outcome.handedBack;
    return writer.finish([isCut ? { ...waits, handedBack: true } : waits]);
  }
  if (state === 'awaiting_approval') {
    const { subject, expiresAt, sealed } = outcome;
    const waits = { type: 'run.awaiting_approval', subject, expiresAt, message } as const;
    return writer.finish([waits], undefined, sealed);
  }
  const { reason, followUp, coveredBy = null, leftOut } = outcome;
  const ended = { type: 'run.finished', state, reason, message, coveredBy } as const;
  return writer.finish([leftOut ? { ...ended, leftOut } : ended], followUp);
}

/** Ends a run whose outcome the store refused. Leaves it if the server stops and the store is away. */
async function finishAsDefect(writer: EventWriter, error: unknown, log: Logger): Promise<void> {
  log.error({ err: error }, 'the end of the run could not be stored');
  if (error instanceof StoreUnavailableError) return;
  try {
    await finish(writer, defect('internal'));
  } catch (err) {
    log.error({ err }, 'the run cannot be ended; it is taken back when its lease has ended');
  }
}
