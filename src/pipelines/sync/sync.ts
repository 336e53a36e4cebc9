/** The sync of a branch, from the requested commit to the outcome. */

import { describeError } from '../../errors.ts';
import type { RunRequest, SyncRun } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Ledger } from '../../runs/run-store.ts';
import { isChosen } from '../../runs/sync/chosen-services.ts';
import type { Hold } from '../../runs/sync/hold.ts';
import type { SyncInput } from '../../runs/sync/sync-input.ts';
import { meaningOf, placeOf, type SyncMeaning } from '../../runs/sync/sync-intent.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { nextOpening } from '../../sync-window.ts';
import type { Outcome, PipelineContext } from '../pipeline.ts';
import { type Explained, explain, NO_COMMIT } from '../selection/explain.ts';
import { type HeldBack, heldBack, passedOver } from '../selection/held.ts';
import type { Selected } from '../selection/select-services.ts';
import { endsOfOpenSteps } from '../step.ts';
import { lookOutside, NOTHING_OUTSIDE, type OutsideView } from './outside.ts';
import { refuseUnsigned } from './refuse-unsigned.ts';
import { runServices } from './run-services.ts';
import { conclude, endWithHeld, outcomeOf, untilReleased } from './sync-outcome.ts';
import type { SyncOptions } from './sync-service.ts';
import { planned } from './sync-steps.ts';
import { resolveTarget, type SyncTarget } from './sync-target.ts';
import { environmentDigests } from './task-environment.ts';

/**
 * With one of these decisions a run goes on while other services are held. A blocked service does not count, because it
 * may need a held one.
 */
const MOVES: ReadonlySet<Selected['decision']> = new Set(['run', 'done', 'invalid', 'removed'] as const);

/** Throws only if the signal ends the run, and for our own defects. Errors of git and of the workspace end the run. */
export async function sync(options: SyncOptions, context: PipelineContext<'sync'>): Promise<Outcome> {
  try {
    await keepBaseline(options, context);
    const hasSteps = (await options.steps(context.run.id)).length > 0;
    const target = await resolveTarget(options.mirror, context, placeOf(context.run, hasSteps));
    await leaveOut(context, target);
    if (target.kind === 'not_on_branch') return replaced(context, target.revision, target.commit);
    const commit = await options.mirror.commit(target.commit);
    await context.emit({ type: 'run.revision', revision: commit.id, subject: commit.subject });
    return await syncRevision(options, context, commit.id);
  } catch (error) {
    const outcome = context.signal.aborted ? null : outcomeOf(error);
    if (!outcome) throw error;
    await context.emit(
      { type: 'run.notice', level: 'warning', message: describeError(error) },
      ...endsOfOpenSteps(await options.steps(context.run.id)),
    );
    return outcome;
  }
}

/** Stores the commit before the first push as the deployed one. Called before anything can fail, for all later runs. */
async function keepBaseline(
  options: SyncOptions,
  { run, covers, emit }: PipelineContext<'sync'>,
): Promise<void> {
  const scope = run.concurrencyGroup;
  if (run.input.selection.mode !== 'changed' || (await options.ledger(scope)).baseline !== null) return;
  const { before } = (covers[0] ?? run).input;
  await emit({ type: 'run.baseline', scope, commit: before ?? NO_COMMIT });
}

/** The run of a commit that a forced push took off the branch must not end as succeeded. */
async function leaveOut(
  { run, emit }: PipelineContext<'sync'>,
  { offBranch, commit }: SyncTarget,
): Promise<void> {
  const runs = offBranch.map(({ id, input }) => {
    const asked = shortCommit(input.revision ?? '');
    return {
      id,
      message: insteadOf(run, asked, shortCommit(commit)),
    };
  });
  if (runs.length > 0) await emit({ type: 'run.uncovers', runs });
}

function insteadOf(run: SyncRun, asked: string, commit: string): string {
  return meaningOf(run).intent === 'promote'
    ? `${commit} was promoted instead of ${asked}, which it does not contain`
    : `${asked} is not on ${run.input.branch}; ${commit} is synced instead`;
}

/** A commit that is not on the branch is never checked out. The branch head is synced instead, or nothing. */
function replaced({ run }: PipelineContext<'sync'>, revision: string, head: string): Outcome {
  const { kind, trigger, concurrencyGroup, coalesce } = run;
  if (meaningOf(run).offBranch === null) {
    const done = meaningOf(run).goesBack ? 'taken back' : 'promoted';
    const message = `${shortCommit(revision)} is not on ${run.input.branch} any more, so nothing was ${done}`;
    return { state: 'failed', reason: 'unknown_revision', message };
  }
  const input: SyncInput = { ...run.input, intent: 'follow', revision: head };
  const followUp: RunRequest = { kind, trigger, input, concurrencyGroup, coalesce, dedupeKey: null };
  return {
    state: 'superseded',
    reason: 'not_on_branch',
    message: `${shortCommit(revision)} is not on ${run.input.branch}; its head ${shortCommit(head)} is synced instead`,
    followUp,
  };
}

async function syncRevision(
  options: SyncOptions,
  context: PipelineContext<'sync'>,
  revision: string,
): Promise<Outcome> {
  const { run, emit } = context;
  const ledger = await options.ledger(run.concurrencyGroup);
  const outside = await lookFirst(options, context);
  const holds = await options.holds();
  const explained = await explainRun(options, context, { revision, ledger, outside, holds });
  const refused =
    (await refuseUnsigned(options, explained, ledger.rules)) ??
    (await options.refuse(run, { ...explained, ledger }));
  if (refused) return refused;
  const chosen = explained.selected.filter(isChosen);
  const held = heldBack(explained.selected, holds);
  const waiting = whyItWaits(options, run, { explained, chosen: chosen.length, held });
  if (waiting) {
    await emit({ type: 'run.explained', explanation: explained.explanation });
    return waiting;
  }
  await emit(...planned(explained, context, chosen.length), ...aboutHolds(run, explained, holds));
  if (run.input.dryRun) {
    const would = chosen.filter(({ decision }) => decision === 'run').length;
    const left = held ? `, ${held.services.length} held` : '';
    return {
      state: 'succeeded',
      reason: null,
      message: `Dry run: ${would} service(s) would be synced${left}`,
    };
  }
  const outcomes = await runServices(options, context, explained, outside);
  // Until the held services have run, the run of an older commit must not end because of this one.
  if (run.input.selection.mode === 'changed' && !explained.outdated && held === null) {
    await emit({ type: 'run.examined', scope: run.concurrencyGroup, commit: revision });
  }
  return endWithHeld(run, conclude(explained, outcomes, chosen.length, ledger), held);
}

interface SyncFacts {
  revision: string;
  ledger: Ledger;
  outside: OutsideView;
  holds: readonly Hold[];
}

function explainRun(
  options: SyncOptions,
  { run, covers }: PipelineContext<'sync'>,
  { revision, ledger, outside, holds }: SyncFacts,
): Promise<Explained> {
  const { input } = run;
  return explain({
    ...options,
    repository: options.mirror,
    drifted: outside.drifted,
    runId: run.id,
    revision,
    environment: options.environment,
    befores: [...covers, run].flatMap(({ input: { before } }) => before ?? []),
    ledger,
    holds: input.overrideHold ? [] : holds,
    selection: input.selection,
    force: input.force,
    rollback: meaningOf(run).goesBack,
    unpin: input.unpin,
    // A service is postponed only if all covered runs agree.
    postponed: new Set(
      input.postponed.filter((service) => covers.every((other) => other.input.postponed.includes(service))),
    ),
    environmentDigest: environmentDigests(options.taskEnvironment),
  });
}

/** Returns null if the run may do now at least a part of what it is for. */
function whyItWaits(
  options: SyncOptions,
  run: SyncRun,
  { explained, chosen, held }: { explained: Explained; chosen: number; held: HeldBack | null },
): Outcome | null {
  if (held !== null && !run.input.dryRun && !explained.selected.some(({ decision }) => MOVES.has(decision))) {
    return untilReleased(held);
  }
  const meaning = meaningOf(run);
  return chosen > 0 && meaning.waitsForWindow ? putOff(options, explained, meaning) : null;
}

/** The services that the run leaves out, and the holds that it passes over. */
function aboutHolds({ input }: SyncRun, { selected }: Explained, holds: readonly Hold[]): RunEventBody[] {
  if (input.dryRun) return [];
  if (input.overrideHold) {
    const level = 'warning' as const;
    return passedOver(selected, holds).map((message) => ({ type: 'run.notice', level, message }));
  }
  const held = heldBack(selected, holds);
  return held ? [{ type: 'run.held', holds: held.holds, services: held.services }] : [];
}

/** Finds what was changed outside, before services are selected. */
async function lookFirst(
  { outside }: SyncOptions,
  { run, signal, emit }: PipelineContext<'sync'>,
): Promise<OutsideView> {
  if (!outside) return NOTHING_OUTSIDE;
  const patient = run.trigger.source === 'reconcile';
  const view = await lookOutside(outside, run.concurrencyGroup, { patient, signal });
  if (view.remarks.length > 0) {
    await emit(...view.remarks.map((remark) => ({ type: 'run.notice' as const, ...remark })));
  }
  return view;
}

/** Outside its windows a sync waits. Returns null inside a window. */
function putOff(
  { now, windows }: SyncOptions,
  { loaded }: Explained,
  { goesBack }: SyncMeaning,
): Outcome | null {
  const at = now();
  const notBefore = nextOpening(windows.length > 0 ? windows : loaded.rules.windows, at);
  if (notBefore <= at) return null;
  return {
    state: 'queued',
    notBefore,
    message: `Waiting for the sync window at ${new Date(notBefore).toISOString()}${goesBack ? ' (a rollback with --force does not wait)' : ''}`,
  };
}
