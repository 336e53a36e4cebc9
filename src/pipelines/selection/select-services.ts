/** Which services a sync runs, and why: pure, from a commit's snapshot, the ledger and what was asked. */

import type { Selection } from '../../runs/run.ts';
import type { ServiceDecision } from '../../runs/run-events.ts';
import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import { type DuplicateService, describeDuplicate } from '../rules/discover-services.ts';
import type { Service } from '../rules/service-rules.ts';
import type { ServiceAtCommit, Snapshot } from '../rules/snapshot.ts';
import type { Drift } from '../sync/outside.ts';
import { type Dependent, hasSameInputs, hasSameShared, hasSameTask, inputsOf } from './service-inputs.ts';

export interface SelectionInput {
  runId: string;
  target: Snapshot;
  ledger: Ledger;
  /** Commits taken as deployed for services never synced; null for one that is not known any more. */
  baselines: (Snapshot | null)[];
  /** Commit of a baseline → folder → the service that the commit's own rules made of it, where they differ. */
  ownServices?: ReadonlyMap<string, ReadonlyMap<string, Service>>;
  selection: Selection;
  force: boolean;
  /** Commits newer than the target on the branch; a service attempted at one of them is left alone. */
  newer: ReadonlySet<string>;
  /** Failed services that are not to be tried again yet. */
  postponed: ReadonlySet<string>;
  /** Services changed outside since their last sync; left out where nobody looked. */
  drifted?: ReadonlyMap<string, Drift>;
  /** True when going to this commit by name is what was asked for: pins and newer commits do not stand in the way. */
  rollback: boolean;
  unpin: boolean;
  /** Digest of the environment that tasks get. */
  environmentDigest: string;
}

/** A decision about a service that exists at the commit carries what is needed to run it. */
export interface Selected extends ServiceDecision {
  service: string;
  at: ServiceAtCommit | null;
  /** Digest of everything the task depends on. */
  inputs: string;
  /** The commit it is compared with, for the list of changed paths. */
  previous: string | null;
}

/** Decisions for all services that exist at the commit or existed when they were last looked at. */
export function selectServices(input: SelectionInput): Selected[] {
  const { target, ledger } = input;
  const present = target.services.map((service) => decide(input, service));
  // What is wrong or missing at an outdated commit says nothing of the branch any more.
  if (outdatedBy(input) !== null) return present;
  const duplicates = target.duplicates.map((duplicate) => refuse(input, duplicate));
  const known = new Set([...present, ...duplicates].map(({ service }) => service));
  if (input.selection.mode === 'services') {
    return [...present, ...duplicates, ...missing(input.selection.services, known, target.commit)];
  }
  return [...present, ...duplicates, ...removed(input, known, ledger)];
}

const ABSENT = { wave: 0, paths: [], at: null, inputs: '', previous: null };

/** Several folders with one id are an error of this id alone. */
function refuse({ selection }: SelectionInput, { id, folders }: DuplicateService): Selected {
  const base = { ...ABSENT, service: id, folder: folders[0] ?? '' };
  if (selection.mode === 'services' && !selection.services.includes(id)) return { ...base, ...NOT_ASKED_FOR };
  return { ...base, decision: 'invalid', because: describeDuplicate({ id, folders }) };
}

const NOT_ASKED_FOR = { decision: 'not_chosen', because: 'Not asked for.' } as const;

function decide(input: SelectionInput, service: ServiceAtCommit): Selected {
  const { selection } = input;
  const entry = input.ledger.entries.get(service.id);
  const dependent = { service, target: input.target, environmentDigest: input.environmentDigest };
  const inputs = inputsOf(dependent);
  const base = {
    service: service.id,
    folder: service.folder,
    wave: service.wave,
    paths: [],
    at: service,
    inputs,
    previous: entry?.synced?.commit ?? baselineOf(input, service),
  };
  if (service.task === null) {
    return { ...base, decision: 'excluded', because: 'Folders of this kind are known and never run.' };
  }
  if (selection.mode === 'services' && !selection.services.includes(service.id)) {
    return { ...base, ...NOT_ASKED_FOR };
  }
  const isUnchanged =
    entry?.outcome === 'succeeded' && entry.synced !== null && hasSameInputs(entry.synced.inputs, dependent);
  if (isUnchanged && entry.synced?.runId === input.runId) {
    return { ...base, decision: 'done', because: 'Synced by an earlier attempt of this run.' };
  }
  const pin = input.ledger.pins.get(service.id);
  // Where a rollback put it, it may go again whoever asks: so a rollback that failed can be retried.
  const atPin = pin === input.target.commit;
  if (pin !== undefined && !atPin && !input.rollback && !input.unpin) {
    return {
      ...base,
      decision: 'pinned',
      because: `Pinned to ${short(pin)} by a rollback, until it is unpinned.`,
    };
  }
  const newer =
    input.rollback || atPin ? null : (outdatedBy(input) ?? (entry && newerThanTarget(entry, input.newer)));
  if (newer) {
    return {
      ...base,
      decision: 'newer_synced',
      because: `Already looked at for ${short(newer)}, which is newer than this commit.`,
    };
  }
  if (selection.mode === 'changed') return { ...base, ...stale(input, entry, dependent) };
  const drift = input.drifted?.get(service.id);
  if (isUnchanged && !drift && !input.force) {
    return { ...base, decision: 'skipped', because: `Unchanged since run ${entry.synced?.runId}.` };
  }
  const because = input.force ? 'Asked for, by force.' : 'Asked for.';
  return { ...base, decision: 'run', because: drift ? `${because} ${drift.because}` : because };
}

/** The newer commit that was examined as a whole: what it left alone was right as it was. */
export function outdatedBy({ ledger, newer, rollback }: SelectionInput): string | null {
  const examined = rollback ? undefined : ledger.examined?.commit;
  return examined !== undefined && newer.has(examined) ? examined : null;
}

function newerThanTarget(entry: LedgerEntry, newer: ReadonlySet<string>): string | null {
  if (newer.has(entry.attemptedCommit)) return entry.attemptedCommit;
  return entry.synced && newer.has(entry.synced.commit) ? entry.synced.commit : null;
}

function stale(
  input: SelectionInput,
  entry: LedgerEntry | undefined,
  dependent: Dependent,
): Pick<Selected, 'decision' | 'because'> {
  const { service } = dependent;
  if (!entry) return staleAgainstBaselines(input, service);
  // Other inputs than those that failed are not a retry.
  if (input.postponed.has(service.id) && hasSameInputs(entry.attemptedInputs, dependent)) {
    return { decision: 'postponed', because: 'Its last sync failed; it is not to be tried again yet.' };
  }
  if (entry.outcome === 'removed') return run('It was removed before and is back.');
  if (entry.outcome === 'started') return run(`Its sync at ${short(entry.attemptedCommit)} was cut off.`);
  if (entry.outcome === 'cancelled') return run(`Its sync at ${short(entry.attemptedCommit)} was cancelled.`);
  if (entry.outcome === 'failed' || !entry.synced) {
    return run(`Its last sync, at ${short(entry.attemptedCommit)}, failed.`);
  }
  const since = short(entry.synced.commit);
  if (entry.folder !== service.folder) return run(`Its folder moved from ${entry.folder} since ${since}.`);
  if (entry.synced.tree !== service.tree) return run(`Files in ${service.folder} changed since ${since}.`);
  if (!hasSameShared(entry.synced, dependent)) return run(`Shared files changed since ${since}.`);
  if (!hasSameTask(entry.synced, dependent)) return run(`Its task changed since ${since}.`);
  const drift = input.drifted?.get(service.id);
  if (drift?.heal) return run(drift.because);
  const because = `Unchanged since ${since}.`;
  return { decision: 'not_chosen', because: drift ? `${because} ${drift.because}` : because };
}

function staleAgainstBaselines(
  input: SelectionInput,
  service: ServiceAtCommit,
): Pick<Selected, 'decision' | 'because'> {
  if (input.baselines.length === 0) return run('Never synced, and there is nothing to compare with.');
  for (const baseline of input.baselines) {
    if (!baseline) return run('Never synced, and the commit before the push is not known here.');
    const before = baseline.byId.get(service.id);
    if (!before) return run('New: never synced before.');
    const since = short(baseline.commit);
    if (before.folder !== service.folder)
      return run(`Its folder moved from ${before.folder} since ${since}.`);
    if (before.tree !== service.tree) return run(`Files in ${service.folder} changed since ${since}.`);
    if (before.shared !== service.shared) return run(`Shared files changed since ${since}.`);
    const own = input.ownServices?.get(baseline.commit)?.get(service.folder);
    if (own && own.id !== service.id) return run(`Its id was ${own.id} at ${since}.`);
    if (own && own.task !== service.task) return run(`Its task changed since ${since}.`);
  }
  return { decision: 'not_chosen', because: 'Unchanged since the first push seen.' };
}

function run(because: string): Pick<Selected, 'decision' | 'because'> {
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
  const gone = new Map<string, string>();
  for (const baseline of input.baselines) {
    for (const { id, folder, task } of baseline?.services ?? []) if (task !== null) gone.set(id, folder);
  }
  for (const entry of ledger.entries.values()) gone.set(entry.service, entry.folder);
  const byFolder = new Map(input.target.services.map(({ folder, id }) => [folder, id]));
  return [...gone]
    .filter(([id]) => {
      const entry = ledger.entries.get(id);
      return (
        !known.has(id) && entry?.outcome !== 'removed' && !(entry && newerThanTarget(entry, input.newer))
      );
    })
    .map(([id, folder]) => {
      const renamed = byFolder.get(folder);
      const because = renamed
        ? `The rules call ${folder} ${renamed} now; what was deployed as ${id} is left as it is.`
        : `${folder} is no longer in the repository; what it deployed is left as it is.`;
      return { ...ABSENT, service: id, folder, decision: 'removed', because };
    });
}

/** Asked for by name while they existed, but not at this commit. */
function missing(asked: string[], known: ReadonlySet<string>, commit: string): Selected[] {
  return asked
    .filter((id) => !known.has(id))
    .map((id) => ({
      ...ABSENT,
      service: id,
      folder: '',
      decision: 'invalid',
      because: `There is no service ${id} at ${short(commit)}.`,
    }));
}

/** The first 8 characters of a commit id. */
export function short(commit: string): string {
  return commit.slice(0, 8);
}
