/** What stands outside of the ledger, in Dokploy: compared with it before a sync chooses, and by reconcile. */

import { StoreUnavailableError } from '../../errors.ts';
import { type ConfigHashes, ODD_HASH, type OutsideHash } from '../../runs/config-hashes.ts';
import type { Ledger, LedgerEntry, RunStore } from '../../runs/run-store.ts';

export interface OutsideOptions {
  hashes: ConfigHashes;
  store: Pick<RunStore, 'ledger' | 'active' | 'outsideHashes' | 'saveOutsideHashes'>;
  /** Run again what was changed outside. */
  selfHeal: boolean;
  now(): number;
}

/** A service whose config hash outside is not the one of its last sync, by somebody else's doing. */
export interface Drift {
  service: string;
  /** One sentence for the explanation. */
  because: string;
  /** True when it is to be run for that. */
  heal: boolean;
  /** True when it was not so at the last look. */
  isNew: boolean;
}

export interface OutsideView {
  drifted: Map<string, Drift>;
  /** Synced, but not written outside yet, or not successfully. */
  unwritten: { service: string; value: string }[];
  /** One sentence each, for people. */
  remarks: { level: 'info' | 'warning'; message: string }[];
}

const FIRST_PAUSE_MS = 60_000;
const LONGEST_PAUSE_MS = 3_600_000;
const NAMED_SERVICES = 5;

/**
 * Compares the ledger with what stands outside, and remembers what it saw. Nothing outside can make it fail: then
 * there is a remark, and the ledger alone decides. With `patient`, what drifts again and again is healed ever
 * more rarely.
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
  // What was synced while we looked is compared the next time.
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
      view.drifted.set(service, driftOf(options, old, now, value, patient));
    } else if (seen !== undefined && !isSame(seen, value)) view.unwritten.push({ service, value });
    // When nothing could be read there is nothing new to remember.
    if (failure === null && !sameHash(old, now)) changes.push({ ...now, since: options.now() });
  }
  await keep(options, scope, changes);
  return view;
}

/** What a service is before it is first looked at. */
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

/** What is not remembered now is found again by the next look; it must not cost a sync. */
export async function keep(
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

/** Null for what is stale by its own account: its tasks may have left anything behind. */
export function comparableHash({ outcome, synced }: LedgerEntry): string | null {
  return outcome === 'succeeded' ? (synced?.configHash ?? null) : null;
}

/**
 * As it should be; or as we left it before the last sync, or nothing where we wrote nothing, or owed: then ours is
 * yet to be written; or somebody changed it.
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

/** Tasks in the field compare twelve digits and may write more of them. */
function isSame(found: string | null, hash: string | null): boolean {
  return found !== null && hash !== null && found.startsWith(hash);
}

function driftOf(
  { selfHeal, now }: OutsideOptions,
  old: OutsideHash,
  hash: OutsideHash,
  value: string,
  patient: boolean,
): Drift {
  const there = hash.found === null ? 'nothing' : hash.found === ODD_HASH ? 'no hash' : hash.found;
  const rested = !patient || now() >= hash.healedAt + pauseMs(healsBefore(hash, now()));
  return {
    service: hash.service,
    because: `Changed outside: Dokploy has ${there} in place of ${value}.`,
    heal: selfHeal && rested,
    isNew: !old.drifted || old.found !== hash.found,
  };
}

/** Where somebody else insists we do not fight them every few minutes; after a quiet time it is a new matter. */
export function healsBefore({ heals, healedAt }: OutsideHash, at: number): number {
  return at - healedAt > 2 * LONGEST_PAUSE_MS ? 0 : heals;
}

function pauseMs(heals: number): number {
  return heals === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (heals - 1), LONGEST_PAUSE_MS);
}

function placesRemark(problems: ReadonlyMap<string, string>): string {
  const all = [...problems].map(([service, problem]) => `${service}: ${problem}`);
  const rest = all.length - NAMED_SERVICES;
  const named = all.slice(0, NAMED_SERVICES).join('; ');
  return `Not compared with Dokploy: ${named}${rest > 0 ? `; and ${rest} more` : ''}.`;
}

export function sameHash(one: OutsideHash, other: OutsideHash): boolean {
  return (
    one.written === other.written &&
    one.found === other.found &&
    one.drifted === other.drifted &&
    one.owed === other.owed &&
    one.problem === other.problem
  );
}

/** Where there is no other place than the ledger, or nothing was looked at. */
export const NOTHING_OUTSIDE: OutsideView = { drifted: new Map(), unwritten: [], remarks: [] };
