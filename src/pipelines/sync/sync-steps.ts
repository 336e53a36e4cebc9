/** The events of a sync before its first task runs: its steps, and the ends of those that need no task. */

import type { SyncRun } from '../../runs/run.ts';
import type { Explanation, LedgerFact, RunEventBody } from '../../runs/run-events.ts';
import { meaningOf } from '../../runs/sync/sync-intent.ts';
import type { PipelineContext } from '../pipeline.ts';
import { type Explained, NO_COMMIT } from '../selection/explain.ts';
import type { Selected } from '../selection/select-services.ts';

/** Decisions that are explained but make no step. */
const UNSEEN: ReadonlySet<Selected['decision']> = new Set(['not_chosen', 'excluded', 'postponed'] as const);

/** Decisions whose steps end without a task, as nothing is to be done now. */
const LEFT_ALONE: ReadonlySet<Selected['decision']> = new Set([
  'skipped',
  'newer_synced',
  'pinned',
  'held',
] as const);

/** All events before the first task runs, for one transaction. */
export function planned(
  explained: Explained,
  context: PipelineContext<'sync'>,
  count: number,
): RunEventBody[] {
  const { selected, explanation } = explained;
  const { run } = context;
  const events: RunEventBody[] = [{ type: 'run.explained', explanation }];
  const { loaded } = explained;
  if (loaded.problems.length === 0 && !run.input.dryRun) {
    events.push({ type: 'run.rules', scope: run.concurrencyGroup, text: loaded.text });
  }
  if (run.input.selection.mode !== 'changed' && !run.input.dryRun) {
    events.push({ type: 'run.baseline', scope: run.concurrencyGroup, commit: baselineOf(run, explanation) });
  }
  for (const message of explanation.notes) events.push({ type: 'run.notice', level: 'info', message });
  events.push(...pins(explained, context));
  const shown = selected.filter(({ decision }) => !UNSEEN.has(decision));
  for (const [position, item] of shown.entries()) {
    // An earlier attempt has stored the end of this step.
    if (item.decision === 'done') continue;
    const { service: step, wave, because } = item;
    events.push({ type: 'step.planned', step, position, wave, message: because });
    const ended = run.input.dryRun ? endedDry(item) : endedAtOnce(item);
    if (!ended) continue;
    const ledger =
      ended.state === 'removed' ? removalOf(item, run.concurrencyGroup, explanation.revision) : null;
    events.push({ type: 'step.finished', step, exitCode: null, ...ended, ledger });
  }
  if (!run.input.dryRun && count > 0) {
    events.push({ type: 'run.chosen', count, message: `Syncing ${count} service(s)...` });
  }
  return events;
}

/** An environment that promotes has only what was promoted. */
function baselineOf({ input }: SyncRun, { revision }: Explanation): string {
  return input.promotion || input.repeats ? NO_COMMIT : revision;
}

/** A rollback pins its services, so that the next push does not move them forward. A request may unpin them. */
function pins({ selected, explanation, head }: Explained, context: PipelineContext<'sync'>): RunEventBody[] {
  const { input, concurrencyGroup: scope } = context.run;
  if (input.dryRun) return [];
  const services = selected
    .filter(({ at, decision }) => at?.runs && decision !== 'not_chosen' && decision !== 'held')
    .map(({ service }) => service);
  if (services.length === 0) return [];
  if (input.unpin) return [{ type: 'run.pinned', scope, services, commit: null }];
  if (!meaningOf(context.run).goesBack) return [];
  // A rollback to the head removes the pins, so that the services follow the branch again.
  const commit = explanation.revision === head ? null : explanation.revision;
  return [{ type: 'run.pinned', scope, services, commit }];
}

function endedAtOnce({ decision, because: message }: Selected) {
  if (LEFT_ALONE.has(decision)) return { state: 'skipped', message } as const;
  if (decision === 'removed') return { state: 'removed', message } as const;
  if (decision === 'blocked') return { state: 'blocked', message } as const;
  if (decision === 'invalid') return { state: 'failed', message } as const;
  return null;
}

function endedDry(item: Selected) {
  const { because } = item;
  if (item.decision === 'run') return { state: 'skipped', message: `Would be synced. ${because}` } as const;
  const ended = endedAtOnce(item);
  return ended?.state === 'removed' ? ({ state: 'skipped', message: because } as const) : ended;
}

/** The ledger's fact about a removed service. It needs no task. */
function removalOf({ service, folder }: Selected, scope: string, commit: string): LedgerFact {
  return { scope, service, folder, commit, tree: '', shared: '', inputs: '', configHash: null };
}
