/** Decides which services a sync runs, and why, from a commit's snapshot, the ledger and the request. Pure. */

import type { ServiceDecision } from '../../runs/run-events.ts';
import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import type { Selection } from '../../runs/sync/sync-input.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { type DuplicateService, describeDuplicate } from '../rules/discover-services.ts';
import { isInEnvironment, type Service } from '../rules/service-rules.ts';
import type { ServiceAtCommit, Snapshot } from '../rules/snapshot.ts';
import type { Drift } from '../sync/outside.ts';
import { sameService, whyRemoved } from './same-folder.ts';
import { type Dependent, hasSameInputs, hasSameShared, hasSameTexts, inputsOf } from './service-inputs.ts';

export interface SelectionInput {
  runId: string;
  target: Snapshot;
  ledger: Ledger;
  /** The commits that count as deployed for services never synced. Null stands for a commit that is not known. */
  baselines: (Snapshot | null)[];
  /** Commit of a baseline → folder → services, for baselines whose own rules differ from those at the target. */
  ownServices?: ReadonlyMap<string, ReadonlyMap<string, readonly Service[]>>;
  selection: Selection;
  force: boolean;
  /** The commits on the branch after the target. A service that was attempted at one of them does not run. */
  newer: ReadonlySet<string>;
  /** Failed services that must not be tried again yet. */
  postponed: ReadonlySet<string>;
  /** Services that were changed outside since their last sync. Left out if nobody looked. */
  drifted?: ReadonlyMap<string, Drift>;
  /** True if the request names this commit to go back to. Then pins and newer commits do not count. */
  rollback: boolean;
  unpin: boolean;
  /** Digest of the environment that tasks get. */
  environmentDigest(service: Service): string;
}

/** The request of a push: everything that changed. */
export const ALL_CHANGED = {
  selection: { mode: 'changed' },
  force: false,
  rollback: false,
  unpin: false,
  postponed: new Set<string>(),
} as const satisfies Partial<SelectionInput>;

/** A decision, with the data that is needed to run the service. */
export interface Selected extends ServiceDecision {
  service: string;
  /** Null if the service does not exist at the commit. */
  at: ServiceAtCommit | null;
  /** Digest of everything that the task depends on. */
  inputs: string;
  /** The commit that the service is compared with, for the list of changed paths. */
  previous: string | null;
}

/** Decides about all services that exist at the commit or are in the ledger. */
export function selectServices(input: SelectionInput): Selected[] {
  const { target, ledger } = input;
  const present = target.services.map((service) => decide(input, service));
  // Services that are wrong or missing at an outdated commit may be right at the head.
  if (outdatedBy(input) !== null) return present;
  const duplicates = target.duplicates.map((duplicate) => refuse(input, duplicate));
  const known = new Set([...present, ...duplicates].map(({ service }) => service));
  if (input.selection.mode === 'services') {
    return [...present, ...duplicates, ...missing(input.selection.services, known, target.commit)];
  }
  return [...present, ...duplicates, ...removed(input, known, ledger)];
}

const ABSENT = { wave: 0, paths: [], at: null, inputs: '', previous: null };

/** Two folders with one id are an error of this service only. */
function refuse({ selection }: SelectionInput, { id, folders }: DuplicateService): Selected {
  const base = { ...ABSENT, service: id, folder: folders[0] ?? '' };
  if (selection.mode === 'services' && !selection.services.includes(id)) return { ...base, ...NOT_REQUESTED };
  return { ...base, decision: 'invalid', because: describeDuplicate({ id, folders }) };
}

const NOT_REQUESTED = { decision: 'not_chosen', because: 'It was not requested.' } as const;

function decide(input: SelectionInput, service: ServiceAtCommit): Selected {
  const { target, ledger, environmentDigest } = input;
  const entry = ledger.entries.get(service.id);
  const dependent = { service, target, environmentDigest };
  return {
    service: service.id,
    folder: service.folder,
    wave: service.wave,
    paths: [],
    at: service,
    inputs: inputsOf(dependent),
    previous: entry?.synced?.commit ?? baselineOf(input, service),
    ...decisionOf(input, entry, dependent),
  };
}

type Decision = Pick<Selected, 'decision' | 'because'>;

function decisionOf(input: SelectionInput, entry: LedgerEntry | undefined, dependent: Dependent): Decision {
  const { selection, force } = input;
  const { service } = dependent;
  if (!service.runs) {
    const isElsewhere = !isInEnvironment(service.rule, service.environment);
    const never = 'Its rule lists such folders, but never runs them.';
    const because = isElsewhere ? `Its rule does not list the environment ${service.environment}.` : never;
    return { decision: 'excluded', because };
  }
  if (selection.mode === 'services' && !selection.services.includes(service.id)) return NOT_REQUESTED;
  const synced = entry?.outcome === 'succeeded' ? entry.synced : null;
  const isUnchanged = synced !== null && hasSameInputs(synced.inputs, dependent);
  if (isUnchanged && synced.runId === input.runId) {
    return { decision: 'done', because: 'Synced by an earlier attempt of this run.' };
  }
  const held = whyHeldBack(input, entry, service.id);
  if (held) return held;
  if (selection.mode === 'changed') return stale(input, entry, dependent);
  const drift = input.drifted?.get(service.id);
  if (isUnchanged && !drift && !force) {
    return { decision: 'skipped', because: `Unchanged since run ${synced.runId}.` };
  }
  const because = force ? 'It was requested, with force.' : 'It was requested.';
  return run(drift ? `${because} ${drift.because}` : because);
}

/** A pin or a newer commit keeps a service from running, unless the request is a rollback. */
function whyHeldBack(input: SelectionInput, entry: LedgerEntry | undefined, id: string): Decision | null {
  if (input.rollback) return null;
  const pin = input.ledger.pins.get(id);
  // Any request may sync the pinned commit, so that a failed rollback can be retried.
  if (pin === input.target.commit) return null;
  if (pin !== undefined && !input.unpin) {
    const because = `Pinned to ${shortCommit(pin)} by a rollback, until it is unpinned.`;
    return { decision: 'pinned', because };
  }
  const newer = outdatedBy(input) ?? (entry && newerThanTarget(entry, input.newer));
  if (!newer) return null;
  const because = `It was already examined at ${shortCommit(newer)}, which is newer than this commit.`;
  return { decision: 'newer_synced', because };
}

/** The newer commit at which all services were examined, or null. Services that did not run there were up to date. */
export function outdatedBy({ ledger, newer, rollback }: SelectionInput): string | null {
  const examined = rollback ? undefined : ledger.examined?.commit;
  return examined !== undefined && newer.has(examined) ? examined : null;
}

function newerThanTarget(entry: LedgerEntry, newer: ReadonlySet<string>): string | null {
  if (newer.has(entry.attemptedCommit)) return entry.attemptedCommit;
  return entry.synced && newer.has(entry.synced.commit) ? entry.synced.commit : null;
}

/** The decision if the request is for all changed services. */
function stale(input: SelectionInput, entry: LedgerEntry | undefined, dependent: Dependent): Decision {
  const { service } = dependent;
  if (!entry) return staleAgainstBaselines(input, service);
  // It is no retry if the inputs differ from those that failed.
  if (input.postponed.has(service.id) && hasSameInputs(entry.attemptedInputs, dependent)) {
    return { decision: 'postponed', because: 'Its last sync failed, and the next try is not due yet.' };
  }
  if (entry.outcome === 'removed') return run('It was removed before and is back.');
  if (entry.outcome === 'started')
    return run(`Its sync at ${shortCommit(entry.attemptedCommit)} was cut off.`);
  if (entry.outcome === 'cancelled')
    return run(`Its sync at ${shortCommit(entry.attemptedCommit)} was cancelled.`);
  if (entry.outcome === 'failed' || !entry.synced) {
    return run(`Its last sync, at ${shortCommit(entry.attemptedCommit)}, failed.`);
  }
  const since = shortCommit(entry.synced.commit);
  if (entry.folder !== service.folder) return run(`Its folder moved from ${entry.folder} since ${since}.`);
  if (entry.synced.tree !== service.tree) return run(`Files in ${service.folder} changed since ${since}.`);
  if (!hasSameShared(entry.synced, dependent)) return run(`Shared files changed since ${since}.`);
  if (!hasSameTexts(entry.synced, dependent)) return run(`Its task changed since ${since}.`);
  const drift = input.drifted?.get(service.id);
  if (drift?.heal) return run(drift.because);
  const because = `Unchanged since ${since}.`;
  return { decision: 'not_chosen', because: drift ? `${because} ${drift.because}` : because };
}

function staleAgainstBaselines(input: SelectionInput, service: ServiceAtCommit): Decision {
  if (input.baselines.length === 0) return run('It was never synced, and there is nothing to compare with.');
  for (const baseline of input.baselines) {
    if (!baseline)
      return run('It was never synced, and the mirror does not have the commit before the push.');
    const before = baseline.byId.get(service.id);
    if (!before) return run('New: never synced before.');
    const since = shortCommit(baseline.commit);
    if (before.folder !== service.folder)
      return run(`Its folder moved from ${before.folder} since ${since}.`);
    if (before.tree !== service.tree) return run(`Files in ${service.folder} changed since ${since}.`);
    if (before.shared !== service.shared) return run(`Shared files changed since ${since}.`);
    const own = sameService(input.ownServices?.get(baseline.commit)?.get(service.folder), service);
    if (own && own.id !== service.id) return run(`Its id was ${own.id} at ${since}.`);
    if (own && !own.runs) return run(`It was excluded at ${since}.`);
    if (own && own.texts !== service.texts) return run(`Its task changed since ${since}.`);
  }
  return { decision: 'not_chosen', because: 'Unchanged since the first push seen.' };
}

function run(because: string): Decision {
  return { decision: 'run', because };
}

function baselineOf(input: SelectionInput, service: ServiceAtCommit): string | null {
  const differs = input.baselines.find((baseline) => {
    const before = baseline?.byId.get(service.id);
    if (before?.folder !== service.folder) return true;
    return before.tree !== service.tree || before.shared !== service.shared;
  });
  return differs?.commit ?? null;
}

function removed(input: SelectionInput, known: ReadonlySet<string>, ledger: Ledger): Selected[] {
  const candidates = new Map<string, string>();
  for (const baseline of input.baselines) {
    for (const { id, folder, runs } of baseline?.services ?? []) if (runs) candidates.set(id, folder);
  }
  for (const entry of ledger.entries.values()) candidates.set(entry.service, entry.folder);
  const byFolder = Map.groupBy(input.target.services, ({ folder }) => folder);
  return [...candidates]
    .filter(([id]) => {
      const entry = ledger.entries.get(id);
      return (
        !known.has(id) && entry?.outcome !== 'removed' && !(entry && newerThanTarget(entry, input.newer))
      );
    })
    .map(([id, folder]) => {
      const because = whyRemoved(id, folder, byFolder.get(folder) ?? []);
      return { ...ABSENT, service: id, folder, decision: 'removed', because };
    });
}

/** Services that the request names, but that do not exist at this commit. */
function missing(asked: string[], known: ReadonlySet<string>, commit: string): Selected[] {
  return asked
    .filter((id) => !known.has(id))
    .map((id) => ({
      ...ABSENT,
      service: id,
      folder: '',
      decision: 'invalid',
      because: `There is no service ${id} at ${shortCommit(commit)}.`,
    }));
}
