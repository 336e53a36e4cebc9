/** The part of a sync that changes something: moves the workspace to the commit, and runs the task of each chosen service. */

import path from 'node:path';
import { WorkspaceBusyError } from '../../errors.ts';
import type { PipelineContext } from '../pipeline.ts';
import { schedule } from '../rules/schedule.ts';
import { ofService } from '../rules/service-rules.ts';
import type { Explained } from '../selection/explain.ts';
import { missingContent } from '../selection/missing-content.ts';
import { removeTaskFolder } from '../task-folder.ts';
import { configHash } from './config-hash.ts';
import type { OutsideView } from './outside.ts';
import { createOutsideWriter } from './outside-writes.ts';
import type { ServiceToSync } from './service-commands.ts';
import { takeSyncLock } from './sync-lock.ts';
import { type ServiceOutcome, type SyncOptions, syncService } from './sync-service.ts';
import { environmentOf, secretsFor } from './task-environment.ts';

/** Resolves to the outcome of each chosen service. Throws if the signal ends it, or if the workspace is not free. */
export async function runServices(
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
    lockPath: options.lockPath,
    waitMs: options.lockWaitMs,
    // A drain waits only for tasks, and none runs yet.
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
  try {
    await options.workspace.moveTo(revision, signal);
    await warnOfMissingContent(options, context, revision, toSync);
    return await runTasks(options, { ...context, signal }, { toSync, explained, outside });
  } finally {
    await removeTaskFolder(path.join(options.tempDir, context.run.id));
    await release();
  }
}

async function warnOfMissingContent(
  { mirror, workspace }: SyncOptions,
  { emit }: PipelineContext<'sync'>,
  revision: string,
  toSync: readonly ServiceToSync[],
): Promise<void> {
  const { directory } = workspace;
  const folders = toSync.map(({ service }) => service.folder);
  const remarks = await missingContent({ repository: mirror, revision, directory, folders });
  if (remarks.length === 0) return;
  await emit(...remarks.map((message) => ({ type: 'run.notice', level: 'warning', message }) as const));
}

async function runTasks(
  options: SyncOptions,
  context: PipelineContext<'sync'>,
  { toSync, explained, outside }: { toSync: ServiceToSync[]; explained: Explained; outside: OutsideView },
): Promise<ServiceOutcome[]> {
  const { signal, draining, emit } = context;
  const outcomes: ServiceOutcome[] = [];
  const writeOutside = outsideWriter(options, context, outside);
  await schedule({
    items: toSync.map((item) => ({
      ...item,
      id: item.service.id,
      wave: item.service.wave,
      needs: ofService(explained.loaded.rules.needs, item.service.id) ?? [],
    })),
    limit: options.concurrency,
    async work(item) {
      draining.throwIfAborted();
      signal.throwIfAborted();
      const outcome = await syncService(options, context, item);
      outcomes.push(outcome);
      if (outcome.state === 'succeeded') await writeOutside(item, signal);
      return outcome.state === 'succeeded';
    },
    async onBlocked({ id: step }, by) {
      const blocked = { state: 'blocked', message: `Needs ${by}, which failed`, exitCode: null } as const;
      outcomes.push({ ...blocked, ourFailure: null });
      await emit({ type: 'step.finished', step, ...blocked, ledger: null });
    },
  });
  signal.throwIfAborted();
  return outcomes;
}

/** Writes the hash of a synced service to the place outside. Called after the ledger is stored, because only that decides. */
function outsideWriter(
  { outside }: SyncOptions,
  { run, emit }: PipelineContext<'sync'>,
  { drifted }: OutsideView,
): (synced: ServiceToSync, signal: AbortSignal) => Promise<void> {
  if (!outside) return async () => undefined;
  const write = createOutsideWriter(outside, run.concurrencyGroup, (message) =>
    emit({ type: 'run.notice', level: 'warning', message }),
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
    decision === 'run' && at?.runs ? [{ at, inputs }] : [],
  );
  const secrets = options.readSecrets();
  const blobs = await options.mirror.blobs(running.flatMap(({ at }) => at.config.flatMap((id) => id ?? [])));
  return running.map(({ at, inputs }) => ({
    service: at,
    secrets: Object.values(secretsFor(at, secrets)),
    timeoutMs: ofService(loaded.rules.timeoutsMs, at.id) ?? at.rule.timeoutMs ?? null,
    environment: { ...environmentOf(at, options.taskEnvironment), ...secretsFor(at, secrets) },
    ledger: {
      scope: run.concurrencyGroup,
      service: at.id,
      folder: at.folder,
      commit: revision,
      tree: at.tree,
      shared: at.shared,
      inputs,
      configHash: configHash(
        at.config.map((id) => blobs.get(id ?? '') ?? ''),
        environmentOf(at, options.taskEnvironment),
      ),
    },
  }));
}
