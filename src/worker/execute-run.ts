/** One run from claim to outcome: its lease, its signals, its events, and what its end means. */

import type { Logger } from 'pino';
import { describeError, isDiskFull, StaleLeaseError, StoreUnavailableError } from '../errors.ts';
import type { Outcome, PipelineContext, Pipelines } from '../pipelines/pipeline.ts';
import type { Run, RunKind } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Claim, Lease, RunStore } from '../runs/run-store.ts';
import { createEventWriter, type EventWriter } from './event-writer.ts';

export interface ExecuteOptions {
  store: RunStore;
  pipelines: Pipelines;
  leaseMs: number;
  /** Others may take the run once its lease has ended: then it is given up before that. */
  isShared?: boolean;
  /** Aborted at the start of a drain: no further step begins. */
  draining: AbortSignal;
  /** Aborted at the end of a drain: what still runs is ended. */
  stopping: AbortSignal;
  log: Logger;
}

/** Of a lease: how often it is renewed, after which part of it a step is ended that could not be, and how soon. */
const RENEWALS = 8;
const GIVEN_UP_AFTER = 0.7;
const ENDING_PART = 0.2;
const LOOK_AGAIN_MS = 2_000;
/** Until a run is tried again that needed a store that was away. */
const AWAY_MS = 15_000;

class CancelRequested extends Error {
  readonly by: string;
  constructor(by: string) {
    super(`Cancelled by ${by}`);
    this.by = by;
  }
}

const WORDS: Partial<Record<Outcome['state'], string>> = {
  queued: 'run put off',
  awaiting_approval: 'run awaits approval',
};

/** Never rejects: every way to end is stored, or logged when the run is somebody else's by now. */
export async function executeRun(options: ExecuteOptions, claim: Claim): Promise<void> {
  const { store, stopping } = options;
  const { run, lease, covers } = claim;
  const log = options.log.child({ run_id: run.id, attempt: run.attempt });
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, stopping]);
  const writer = createEventWriter(store, lease, signal);
  const release = [
    keepLease(options, lease, (error) => ended.abort(error)),
    watchCancel(options, run.id, (by) => ended.abort(new CancelRequested(by))),
  ];
  log.info({ kind: run.kind, trigger: run.trigger.source }, 'run started');
  try {
    const { draining } = options;
    const outcome = await perform(options.pipelines, run, covers, { signal, draining, emit: writer.emit });
    await finish(writer, outcome);
    log.info({ ...shown(outcome), summary: outcome.message }, WORDS[outcome.state] ?? 'run finished');
  } catch (error) {
    await settle(options, claim, signal, error, log);
  } finally {
    for (const end of release) end();
  }
}

/** For the log: nothing sealed, and nothing long. */
function shown(outcome: Outcome): Record<string, unknown> {
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
function perform(
  pipelines: Pipelines,
  run: Run,
  covers: readonly Run[],
  rest: Omit<PipelineContext<RunKind>, 'run' | 'covers'>,
): Promise<Outcome> {
  switch (run.kind) {
    case 'sync':
      return pipelines.sync({ ...rest, run, covers: covers.filter((other) => other.kind === 'sync') });
    case 'preview':
      return pipelines.preview({ ...rest, run, covers: covers.filter((other) => other.kind === 'preview') });
    case 'deploy':
      return pipelines.deploy({ ...rest, run, covers: [] });
    case 'plan':
      return pipelines.plan({ ...rest, run, covers: covers.filter((other) => other.kind === 'plan') });
    case 'command':
      return pipelines.command({ ...rest, run, covers: [] });
  }
}

function finish(writer: EventWriter, outcome: Outcome): Promise<void> {
  const { state, message } = outcome;
  if (state === 'queued') {
    const { notBefore } = outcome;
    return writer.finish([{ type: 'run.requeued', message, countAttempt: false, notBefore }]);
  }
  if (state === 'awaiting_approval') {
    const { subject, expiresAt, sealed } = outcome;
    const waits = { type: 'run.awaiting_approval', subject, expiresAt, message } as const;
    return writer.finish([waits], undefined, sealed);
  }
  const { reason, followUp, coveredBy = null } = outcome;
  return writer.finish([{ type: 'run.finished', state, reason, message, coveredBy }], followUp);
}

/** The run did not come to an outcome of its own: cancelled, drained, taken over, or our own failure. */
async function settle(
  options: ExecuteOptions,
  { run, lease }: Claim,
  signal: AbortSignal,
  error: unknown,
  log: Logger,
): Promise<void> {
  const { store, draining, stopping } = options;
  const cause: unknown = signal.aborted ? signal.reason : error;
  if (error instanceof StaleLeaseError || cause instanceof StaleLeaseError) {
    log.warn('run taken over by another worker');
    return;
  }
  // The signals of the run are spent; these last words only give up with the store itself.
  const writer = createEventWriter(store, lease, AbortSignal.timeout(options.leaseMs));
  try {
    if (cause instanceof CancelRequested) {
      const open = await openSteps(store, run.id, 'Cancelled');
      await writer.emit(...open);
      await finish(writer, { state: 'cancelled', reason: 'cancelled_by_request', message: cause.message });
      log.info({ by: cause.by }, 'run cancelled');
    } else if (draining.aborted || stopping.aborted) {
      const message = 'Handed back by a server that is stopping; waiting to go on.';
      await writer.finish([{ type: 'run.requeued', message, countAttempt: false, notBefore: 0 }]);
      log.info('run handed back');
    } else if (error instanceof StoreUnavailableError) {
      const notBefore = Date.now() + AWAY_MS;
      const message = `${describeError(error)} Waiting to go on.`;
      await writer.finish([{ type: 'run.requeued', message, countAttempt: false, notBefore }]);
      log.warn({ err: error }, 'run handed back');
    } else {
      log.error({ err: error }, 'run failed by a defect');
      await writer.emit(...(await openSteps(store, run.id, 'The run ended before this')));
      const reason = isDiskFull(error) ? 'disk_full' : 'internal';
      await finish(writer, { state: 'errored', reason, message: 'The runner failed; see its log' });
    }
  } catch (lastError) {
    log.error(
      { err: lastError },
      'the end of the run could not be stored; it will be tried again after a restart',
    );
  }
}

async function openSteps(store: RunStore, runId: string, message: string): Promise<RunEventBody[]> {
  const steps = await store.steps(runId);
  return steps
    .filter(({ state }) => state === 'pending' || state === 'running')
    .map(({ id }) => ({
      type: 'step.finished',
      step: id,
      state: 'cancelled',
      message,
      exitCode: null,
      ledger: null,
    }));
}

function keepLease(
  { store, leaseMs, isShared = false, log }: ExecuteOptions,
  lease: Lease,
  onLost: (error: StaleLeaseError) => void,
): () => void {
  let isReleased = false;
  let giveUp: NodeJS.Timeout | undefined;
  /** By our own clock, from before each request: the store's lease ends later. */
  function holdFrom(askedAtMs: number): void {
    clearTimeout(giveUp);
    if (!isShared || isReleased) return;
    const leftMs = askedAtMs + leaseMs * GIVEN_UP_AFTER - performance.now();
    const stale = new StaleLeaseError(lease.runId, leaseMs * ENDING_PART);
    giveUp = setTimeout(() => onLost(stale), Math.max(0, leftMs));
  }
  holdFrom(performance.now());
  const timer = setInterval(() => {
    const askedAtMs = performance.now();
    store.renew(lease, leaseMs).then(
      () => holdFrom(askedAtMs),
      (error: unknown) => {
        if (error instanceof StaleLeaseError) onLost(error);
        else log.warn({ err: error, run_id: lease.runId }, 'lease not renewed, trying again');
      },
    );
  }, leaseMs / RENEWALS);
  return () => {
    isReleased = true;
    clearInterval(timer);
    clearTimeout(giveUp);
  };
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
