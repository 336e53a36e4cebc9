/** The sync of a branch, from the commit that was asked for to the outcome. Reads like the design's eight points. */

import { rm } from 'node:fs/promises';
import path from 'node:path';
import { describeError, GitError, isDiskFull, WorkspaceBusyError } from '../errors.ts';
import type { Mirror } from '../git/mirror.ts';
import type { Workspace } from '../git/workspace.ts';
import type { RunRequest } from '../runs/run.ts';
import type { LedgerFact, RunEventBody } from '../runs/run-events.ts';
import type { Ledger } from '../runs/run-store.ts';
import { configHash, environmentLines } from './config-hash.ts';
import { type Explained, explain, NO_COMMIT } from './explain.ts';
import { lookOutside, NOTHING_OUTSIDE, type OutsideOptions, type OutsideView } from './outside.ts';
import { createOutsideWriter } from './outside-writes.ts';
import type { Outcome, PipelineContext } from './pipeline.ts';
import { schedule } from './schedule.ts';
import { type Selected, short } from './select-services.ts';
import { digest } from './snapshot.ts';
import { takeSyncLock } from './sync-lock.ts';
import {
  type ServiceOutcome,
  type ServiceToSync,
  type SyncServiceOptions,
  syncService,
} from './sync-service.ts';
import { resolveTarget } from './sync-target.ts';
import { nextOpening } from './sync-windows.ts';

export interface SyncOptions extends Omit<SyncServiceOptions, 'checkout'> {
  mirror: Mirror;
  workspace: Workspace;
  workspaceDir: string;
  /** Refuse unsigned commits whatever the repository says. */
  requireSignature: boolean;
  now(): number;
  ledger(scope: string): Promise<Ledger>;
  /** Where config hashes also stand; null: nowhere. */
  outside: OutsideOptions | null;
  concurrency: number;
  /** How long to wait for somebody else's hold on the workspace. */
  lockWaitMs: number;
}

/** Never throws for what git or the workspace do; throws when the signal ends it and for our own defects. */
export async function sync(options: SyncOptions, context: PipelineContext<'sync'>): Promise<Outcome> {
  try {
    await keepBaseline(options, context);
    const target = await resolveTarget(options.mirror, context.run, context.covers, context.signal);
    if (target.kind === 'not_on_branch') return replaced(context, target.revision, target.head);
    const commit = await options.mirror.commit(target.revision);
    await context.emit({ type: 'run.revision', revision: commit.id, subject: commit.subject });
    return await syncRevision(options, context, commit.id);
  } catch (error) {
    const outcome = context.signal.aborted ? null : outcomeOf(error);
    if (!outcome) throw error;
    await context.emit({ type: 'run.notice', level: 'warning', message: describeError(error) });
    return outcome;
  }
}

/** The first push seen tells what is taken as deployed. Kept before anything can fail, for those that come later. */
async function keepBaseline(
  options: SyncOptions,
  { run, covers, emit }: PipelineContext<'sync'>,
): Promise<void> {
  const scope = run.concurrencyGroup;
  if (run.input.selection.mode !== 'changed' || (await options.ledger(scope)).baseline !== null) return;
  const { before } = (covers[0] ?? run).input;
  await emit({ type: 'run.baseline', scope, commit: before ?? NO_COMMIT });
}

/** A commit that is not on the branch is never checked out; the branch head takes its place. */
function replaced({ run }: PipelineContext<'sync'>, revision: string, head: string): Outcome {
  const { kind, trigger, concurrencyGroup, coalesce } = run;
  // To the head is no way back: a rollback that cannot be done must not pin where the branch stands.
  const input = { ...run.input, revision: isRollback({ run }) ? null : head };
  const followUp: RunRequest = { kind, trigger, input, concurrencyGroup, coalesce, dedupeKey: null };
  return {
    state: 'superseded',
    reason: 'not_on_branch',
    message: `${short(revision)} is not on ${run.input.branch}; its head ${short(head)} is synced instead`,
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
  const explained = await explain({
    ...options,
    repository: options.mirror,
    drifted: outside.drifted,
    runId: run.id,
    revision,
    befores: [...context.covers, run].flatMap(({ input }) => input.before ?? []),
    ledger,
    selection: run.input.selection,
    force: run.input.force,
    rollback: isRollback(context),
    unpin: run.input.unpin,
    postponed: run.input.postponed,
    environmentDigest: digest(environmentLines(options.taskEnvironment)),
  });
  const refused = await refusal(options, explained, revision, ledger.rules);
  if (refused) return refused;
  const chosen = explained.selected.filter(({ decision }) => CHOSEN.has(decision));
  const waiting =
    chosen.length > 0 && !run.input.force && !run.input.dryRun ? putOff(options, explained) : null;
  if (waiting) {
    await emit({ type: 'run.explained', explanation: explained.explanation });
    return waiting;
  }
  await emit(...planned(explained, context, chosen.length));
  if (run.input.dryRun) {
    const would = chosen.filter(({ decision }) => decision === 'run').length;
    return { state: 'succeeded', reason: null, message: `Dry run: ${would} service(s) would be synced` };
  }
  const outcomes = await runChosen(options, context, explained, outside);
  if (run.input.selection.mode === 'changed' && !explained.outdated) {
    await emit({ type: 'run.examined', scope: run.concurrencyGroup, commit: revision });
  }
  return conclude(explained, outcomes, chosen.length, ledger);
}

/** What was changed behind our back, said before anything is chosen. */
async function lookFirst(
  { outside }: SyncOptions,
  { run, signal, emit }: PipelineContext<'sync'>,
): Promise<OutsideView> {
  if (!outside) return NOTHING_OUTSIDE;
  const patient = run.trigger.source === 'reconcile';
  const view = await lookOutside(outside, run.concurrencyGroup, { patient, signal });
  if (view.remarks.length > 0) await emit(...view.remarks.map(notice));
  return view;
}

function notice(remark: { level: 'info' | 'warning'; message: string }): RunEventBody {
  return { type: 'run.notice', ...remark };
}

/** A commit that must be signed and is not is refused before anything of it runs. */
async function refusal(
  { mirror, requireSignature }: SyncOptions,
  { loaded }: Explained,
  revision: string,
  lastGood: string | null,
): Promise<Outcome | null> {
  // A commit cannot lift for itself the rule that it must be signed.
  const before = lastGood === null ? null : (await import('./rules-file.ts')).parseRulesFile(lastGood);
  const demanded =
    requireSignature || loaded.rules.requireSignature || (before?.ok && before.rules.requireSignature);
  if (!demanded || (await mirror.isSigned(revision))) return null;
  return {
    state: 'errored',
    reason: 'unsigned_commit',
    message: `${short(revision)} is not signed by an allowed key`,
  };
}

/** Outside its windows a sync waits, and says until when. */
function putOff({ now }: SyncOptions, { loaded }: Explained): Outcome | null {
  const at = now();
  const notBefore = nextOpening(loaded.rules.windows, at);
  if (notBefore <= at) return null;
  return {
    state: 'queued',
    notBefore,
    message: `Waiting for the sync window at ${new Date(notBefore).toISOString()}`,
  };
}

/** Only a person who names a commit may go back; a push or a retry never does. */
function isRollback({ run }: Pick<PipelineContext<'sync'>, 'run'>): boolean {
  return run.trigger.source === 'sync_api' && run.input.revision !== null;
}

/** The decisions that count as the N of "Syncing N service(s)...". */
const CHOSEN: ReadonlySet<Selected['decision']> = new Set(['run', 'done', 'invalid'] as const);

/** Decisions that are explained but have no step of their own. */
const UNSEEN: ReadonlySet<Selected['decision']> = new Set(['not_chosen', 'excluded', 'postponed'] as const);

/** Everything that is known before the first task runs, for one transaction. */
function planned(explained: Explained, context: PipelineContext<'sync'>, count: number): RunEventBody[] {
  const { selected, explanation } = explained;
  const { run } = context;
  const events: RunEventBody[] = [{ type: 'run.explained', explanation }];
  const { loaded } = explained;
  if (loaded.problems.length === 0 && !run.input.dryRun) {
    events.push({ type: 'run.rules', scope: run.concurrencyGroup, text: loaded.text });
  }
  if (run.input.selection.mode !== 'changed' && !run.input.dryRun) {
    events.push({ type: 'run.baseline', scope: run.concurrencyGroup, commit: explanation.revision });
  }
  for (const message of explanation.notes) events.push({ type: 'run.notice', level: 'info', message });
  events.push(...pins(explained, context));
  const shown = selected.filter(({ decision }) => !UNSEEN.has(decision));
  for (const [position, item] of shown.entries()) {
    // Done in an earlier attempt: its step says so already.
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

/** A rollback pins what it moves, so that the next push does not move it forward again; asked to, it unpins. */
function pins({ selected, explanation, head }: Explained, context: PipelineContext<'sync'>): RunEventBody[] {
  const { input, concurrencyGroup: scope } = context.run;
  if (input.dryRun) return [];
  const services = selected
    .filter(({ at, decision }) => at?.task && decision !== 'not_chosen')
    .map(({ service }) => service);
  if (services.length === 0) return [];
  if (input.unpin) return [{ type: 'run.pinned', scope, services, commit: null }];
  if (!isRollback(context) || explanation.revision === head) return [];
  return [{ type: 'run.pinned', scope, services, commit: explanation.revision }];
}

function endedAtOnce({ decision, because: message }: Selected) {
  if (decision === 'skipped' || decision === 'newer_synced' || decision === 'pinned')
    return { state: 'skipped', message } as const;
  if (decision === 'removed') return { state: 'removed', message } as const;
  if (decision === 'invalid') return { state: 'failed', message } as const;
  return null;
}

function endedDry(item: Selected) {
  const { because } = item;
  if (item.decision === 'run') return { state: 'skipped', message: `Would be synced. ${because}` } as const;
  const ended = endedAtOnce(item);
  return ended?.state === 'removed' ? ({ state: 'skipped', message: because } as const) : ended;
}

/** A removal is the one fact for the ledger that needs no task. */
function removalOf({ service, folder }: Selected, scope: string, commit: string): LedgerFact {
  return { scope, service, folder, commit, tree: '', shared: '', inputs: '', configHash: null };
}

async function runChosen(
  options: SyncOptions,
  context: PipelineContext<'sync'>,
  explained: Explained,
  outside: OutsideView,
): Promise<ServiceOutcome[]> {
  const { revision } = explained.explanation;
  const toSync = await servicesToSync(options, context, explained, revision);
  if (toSync.length === 0) return [];
  const lost = new AbortController();
  const signal = AbortSignal.any([context.signal, lost.signal]);
  const release = await takeSyncLock({
    workspaceDir: options.workspaceDir,
    waitMs: options.lockWaitMs,
    // A drain lets tasks end, and here none runs yet.
    signal: AbortSignal.any([signal, context.draining]),
    onWait: (holder) =>
      context.emit({
        type: 'run.notice',
        level: 'info',
        message: `Waiting for the workspace, held by ${holder}.`,
      }),
    onLost: (cause) =>
      lost.abort(new WorkspaceBusyError('The workspace lock was taken from this run.', { cause })),
  });
  const outcomes: ServiceOutcome[] = [];
  const serviceOptions = { ...options, checkout: options.workspace.directory };
  const writeOutside = outsideWriter(options, context, outside);
  try {
    await options.workspace.moveTo(revision, signal);
    await schedule({
      items: toSync.map((item) => ({
        ...item,
        id: item.service.id,
        wave: item.service.wave,
        needs: explained.loaded.rules.needs[item.service.id] ?? [],
      })),
      limit: options.concurrency,
      async work(item) {
        context.draining.throwIfAborted();
        signal.throwIfAborted();
        const outcome = await syncService(serviceOptions, { ...context, signal }, item);
        outcomes.push(outcome);
        if (outcome.state === 'succeeded') await writeOutside(item, signal);
        return outcome.state === 'succeeded';
      },
      async onBlocked({ id }, by) {
        const message = `Needs ${by}, which failed`;
        outcomes.push({ state: 'blocked', message, exitCode: null, ourFailure: null });
        await context.emit({
          type: 'step.finished',
          step: id,
          state: 'blocked',
          message,
          exitCode: null,
          ledger: null,
        });
      },
    });
    signal.throwIfAborted();
    return outcomes;
  } finally {
    await rm(path.join(options.tempDir, context.run.id), { recursive: true, force: true });
    await release();
  }
}

/** After the ledger, which alone decides: the hash of what was synced goes to where else it stands. */
function outsideWriter(
  { outside }: SyncOptions,
  { run, emit }: PipelineContext<'sync'>,
  { drifted }: OutsideView,
): (synced: ServiceToSync, signal: AbortSignal) => Promise<void> {
  if (!outside) return async () => undefined;
  const write = createOutsideWriter(outside, run.concurrencyGroup, (message) =>
    emit(notice({ level: 'warning', message })),
  );
  return ({ service, ledger }, signal) =>
    write({ service: service.id, value: ledger.configHash, healed: drifted.has(service.id) }, signal);
}

async function servicesToSync(
  options: SyncOptions,
  { run }: PipelineContext<'sync'>,
  { selected, loaded }: Explained,
  revision: string,
): Promise<ServiceToSync[]> {
  const running = selected.flatMap(({ decision, at, inputs }) =>
    decision === 'run' && at?.task ? [{ at: { ...at, task: at.task }, inputs }] : [],
  );
  const compose = await options.mirror.blobs(running.flatMap(({ at }) => at.compose ?? []));
  return running.map(({ at, inputs }) => ({
    service: at,
    timeoutMs: loaded.rules.timeoutsMs[at.id] ?? null,
    ledger: {
      scope: run.concurrencyGroup,
      service: at.id,
      folder: at.folder,
      commit: revision,
      tree: at.tree,
      shared: at.shared,
      inputs,
      configHash: configHash(compose.get(at.compose ?? '') ?? '', options.taskEnvironment),
    },
  }));
}

function conclude(
  { selected, loaded }: Explained,
  outcomes: readonly ServiceOutcome[],
  count: number,
  ledger: Ledger,
): Outcome {
  const refused = selected.filter(({ decision }) => decision === 'invalid');
  const invalid = refused.length;
  const bad = outcomes.filter(({ state }) => state !== 'succeeded');
  const ours = outcomes.find(({ ourFailure }) => ourFailure !== null);
  if (ours) return { state: 'errored', reason: ours.ourFailure, message: ours.message };
  if (bad.length + invalid > 0) {
    const message = `${bad.length + invalid}/${count} service(s) failed to sync`;
    if (bad.length === 0) {
      const isMissing = refused.every(({ folder }) => folder === '');
      return { state: 'failed', reason: isMissing ? 'service_missing' : 'repository_invalid', message };
    }
    const allTimedOut = invalid === 0 && bad.every(({ state }) => state === 'timed_out');
    return allTimedOut
      ? { state: 'timed_out', reason: 'step_timed_out', message }
      : { state: 'failed', reason: 'step_failed', message };
  }
  // What was synced stays synced, but a file that is not heeded must not go unseen.
  const [problem] = loaded.problems;
  if (problem !== undefined) return { state: 'failed', reason: 'rules_invalid', message: problem };
  if (count > 0)
    return { state: 'succeeded', reason: null, message: `${count} service(s) synced successfully` };
  const message = 'No services required sync';
  const newer = selected.filter(({ decision }) => decision === 'newer_synced');
  if (newer.length === 0) return { state: 'succeeded', reason: null, message };
  const entries = newer.flatMap(({ service }) => ledger.entries.get(service) ?? []);
  // What became of these services is the outcome of who tried last; most of all when it failed.
  const failed = entries.find(({ outcome }) => outcome === 'failed')?.attemptedRunId;
  const coveredBy = failed ?? ledger.examined?.runId ?? entries[0]?.attemptedRunId ?? null;
  return { state: 'superseded', reason: 'newer_already_synced', message, coveredBy };
}

/** What failed around the tasks, in the words of the commit status; null for our own defects. */
function outcomeOf(error: unknown): Outcome | null {
  const errored = { state: 'errored', message: 'Failed to update git repository' } as const;
  if (isDiskFull(error)) return { ...errored, reason: 'disk_full' };
  if (error instanceof GitError) {
    if (error.kind === 'disk_full') return { ...errored, reason: 'disk_full' };
    return { ...errored, reason: error.kind === 'unknown_revision' ? 'unknown_revision' : 'git_unavailable' };
  }
  if (error instanceof WorkspaceBusyError) return { ...errored, reason: 'workspace_unavailable' };
  return null;
}
