/** Compares the ledger with the config hashes outside of it, in Dokploy, and remembers the result. */

import { StoreUnavailableError } from '../../errors.ts';
import { type ConfigHashes, ODD_HASH, type OutsideHash } from '../../runs/config-hashes.ts';
import type { Ledger, LedgerEntry, RunStore } from '../../runs/run-store.ts';
import { HOUR, MINUTE } from '../../units.ts';

export interface OutsideOptions {
  hashes: ConfigHashes;
  store: Pick<RunStore, 'ledger' | 'active' | 'outsideHashes' | 'saveOutsideHashes'>;
  /** Runs a service again if somebody changed its hash outside. */
  selfHeal: boolean;
  now(): number;
}

/** A service whose config hash outside was changed by somebody else. */
export interface Drift {
  service: string;
  /** One sentence for the explanation. */
  because: string;
  /** True if the service is to run because of the drift. */
  heal: boolean;
  /** True if the last look did not find the same drift. */
  isNew: boolean;
}

export interface OutsideView {
  drifted: Map<string, Drift>;
  /** Synced services whose hash is not outside yet. */
  unwritten: { service: string; value: string }[];
  /** One sentence each, for people. */
  remarks: { level: 'info' | 'warning'; message: string }[];
}

/** The view if there is no place outside, or if nobody looked. */
export const NOTHING_OUTSIDE: OutsideView = { drifted: new Map(), unwritten: [], remarks: [] };

const LONGEST_PAUSE_MS = HOUR;
const NAMED_SERVICES = 5;

/** The pause after so many attempts in a row: a minute after the first one, then twice as long each time, up to an hour. */
export function pauseAfter(attempts: number): number {
  return attempts === 0 ? 0 : Math.min(MINUTE * 2 ** (attempts - 1), LONGEST_PAUSE_MS);
}

/**
 * Never fails because of the place outside: then there is a remark, and the ledger alone decides. With `patient`, a
 * service that drifts again and again is healed more and more rarely.
 */
export async function lookOutside(
  options: OutsideOptions,
  scope: string,
  { patient, signal }: { patient: boolean; signal: AbortSignal },
): Promise<OutsideView> {
  const view: OutsideView = { drifted: new Map(), unwritten: [], remarks: [] };
  const before = await options.store.ledger(scope);
  const services = idsOf(before);
  if (services.length === 0) return view;
  const known = await options.store.outsideHashes(scope);
  const { found, problems, failure } = await options.hashes.read(services, signal);
  if (failure !== null) view.remarks.push({ level: 'warning', message: `${failure} The ledger decides.` });
  if (problems.size > 0) view.remarks.push({ level: 'info', message: placesRemark(problems) });
  // A service that was synced in the meantime is compared the next time.
  const ledger = await options.store.ledger(scope);
  const changes: OutsideHash[] = [];
  for (const entry of ledger.entries.values()) {
    const { service } = entry;
    const value = comparableHash(entry);
    if (value === null || before.entries.get(service)?.attemptedRunId !== entry.attemptedRunId) continue;
    const old = known.get(service) ?? { ...NEVER_LOOKED_AT, service };
    const seen = found.get(service);
    const now = afterLook(old, value, seen, problems.get(service) ?? null);
    if (seen !== undefined && now.drifted) {
      view.drifted.set(service, driftOf(options, { old, now, value, patient }));
    } else if (seen !== undefined && !isSame(seen, value)) view.unwritten.push({ service, value });
    // After a failure there is nothing new to remember.
    if (failure === null && !sameHash(old, now)) changes.push({ ...now, since: options.now() });
  }
  await saveHashes(options, scope, changes);
  return view;
}

/** A service before the first look. */
export const NEVER_LOOKED_AT: Omit<OutsideHash, 'service'> = {
  written: null,
  found: null,
  drifted: false,
  owed: false,
  since: 0,
  problem: null,
  heals: 0,
  healedAt: 0,
};

/** Ignores a store that is away, because the next look finds the same, and a sync must not fail for this. */
export async function saveHashes(
  { store }: Pick<OutsideOptions, 'store'>,
  scope: string,
  hashes: OutsideHash[],
): Promise<void> {
  if (hashes.length === 0) return;
  await store.saveOutsideHashes(scope, hashes).catch((error: unknown) => {
    if (!(error instanceof StoreUnavailableError)) throw error;
  });
}

export function idsOf({ entries }: Ledger): string[] {
  return [...entries.values()].filter(({ outcome }) => outcome !== 'removed').map(({ service }) => service);
}

/** Returns null if the last sync did not succeed, because then any hash may be outside. */
export function comparableHash({ outcome, synced }: LedgerEntry): string | null {
  return outcome === 'succeeded' ? (synced?.configHash ?? null) : null;
}

/**
 * A hash outside that differs from `value` has one of two reasons. Either `value` is still to be written: a write is owed,
 * or the hash is the one that we wrote before the last sync (none, if we never wrote one). Or somebody changed it: a drift.
 */
function afterLook(
  old: OutsideHash,
  value: string,
  found: string | null | undefined,
  problem: string | null,
): OutsideHash {
  if (found === undefined) return { ...old, drifted: false, problem };
  if (isSame(found, value)) {
    return { ...old, written: value, found, drifted: false, owed: false, problem: null };
  }
  const isLeft = old.written !== value && (found === null || isSame(found, old.written));
  return { ...old, found, drifted: !old.owed && !isLeft, problem: old.owed ? old.problem : null };
}

/** Existing tasks compare twelve digits and may write more. */
function isSame(found: string | null, hash: string | null): boolean {
  return found !== null && hash !== null && found.startsWith(hash);
}

function driftOf(
  options: OutsideOptions,
  { old, now, value, patient }: { old: OutsideHash; now: OutsideHash; value: string; patient: boolean },
): Drift {
  const there = now.found === null ? 'nothing' : now.found === ODD_HASH ? 'no hash' : now.found;
  const at = options.now();
  const rested = !patient || at >= now.healedAt + pauseAfter(healsBefore(now, at));
  return {
    service: now.service,
    because: `Changed outside: Dokploy has ${there} in place of ${value}.`,
    heal: options.selfHeal && rested,
    isNew: !old.drifted || old.found !== now.found,
  };
}

/** The heals since the last quiet time. Each of them makes the pause before the next one longer. */
export function healsBefore({ heals, healedAt }: OutsideHash, at: number): number {
  return at - healedAt > 2 * LONGEST_PAUSE_MS ? 0 : heals;
}

function placesRemark(problems: ReadonlyMap<string, string>): string {
  const all = [...problems].map(([service, problem]) => `${service}: ${problem}`);
  const rest = all.length - NAMED_SERVICES;
  const named = all.slice(0, NAMED_SERVICES).join('; ');
  return `Not compared with Dokploy: ${named}${rest > 0 ? `; and ${rest} more` : ''}.`;
}

export function sameHash(one: OutsideHash, other: OutsideHash): boolean {
  const fields = ['written', 'found', 'drifted', 'owed', 'problem'] as const;
  return fields.every((field) => one[field] === other[field]);
}
