/** Writes config hashes to Dokploy, right after a task has succeeded, or later if the write failed. */

import { describeError, WorkspaceBusyError } from '../../errors.ts';
import { SECOND } from '../../units.ts';
import {
  comparableHash,
  healsBefore,
  idsOf,
  NEVER_LOOKED_AT,
  type OutsideOptions,
  type OutsideView,
  sameHash,
  saveHashes,
} from './outside.ts';
import { takeSyncLock } from './sync-lock.ts';

/** After a failure that took longer, the same sync tries no other service. */
const SLOW_MS = 3 * SECOND;

interface OutsideWrite {
  service: string;
  value: string;
  /** True if the service ran because of a drift. */
  healed: boolean;
}

/**
 * Returns a function that writes the hash of a service that was just synced. It fails only with the signal's reason. If
 * a hash cannot be written, it calls `remark` with a sentence, and a later reconcile writes the hash. After a slow failure
 * it does not try again.
 */
export function createOutsideWriter(
  options: OutsideOptions,
  scope: string,
  remark: (message: string) => Promise<void>,
): (hash: OutsideWrite, signal: AbortSignal) => Promise<void> {
  let isSlow = false;
  return async (hash, signal) => {
    const startedAt = performance.now();
    const problem = isSlow ? 'Dokploy was too slow before' : await tryToWrite(options, scope, hash, signal);
    await remember(options, scope, hash, problem);
    if (problem === null || isSlow) return;
    isSlow = performance.now() - startedAt > SLOW_MS;
    await remark(`The config hash of ${hash.service} is not in Dokploy yet. ${problem}`);
  };
}

/**
 * Writes the hashes that a sync could not write. Does nothing while somebody else holds the lock of the workspace,
 * because tasks may be changing the same environments. Returns one sentence for each problem.
 */
export async function writeOwed(
  options: OutsideOptions,
  scope: string,
  owed: { lockPath: string; hashes: OutsideView['unwritten']; signal: AbortSignal },
): Promise<string[]> {
  const lost = new AbortController();
  const signal = AbortSignal.any([owed.signal, lost.signal]);
  const problems: string[] = [];
  let release: () => Promise<void>;
  try {
    release = await takeSyncLock({
      lockPath: owed.lockPath,
      waitMs: 0,
      signal,
      onWait: () => undefined,
      onLost: (cause) => lost.abort(cause),
    });
  } catch (error) {
    if (error instanceof WorkspaceBusyError) return problems;
    throw error;
  }
  try {
    const { entries } = await options.store.ledger(scope);
    const write = createOutsideWriter(options, scope, async (message) => void problems.push(message));
    for (const { service, value } of owed.hashes) {
      const entry = entries.get(service);
      if (entry && comparableHash(entry) === value) await write({ service, value, healed: false }, signal);
    }
    return problems;
  } finally {
    await release();
  }
}

/** Returns the problem, or null if the hash was written. */
async function tryToWrite(
  { hashes, store }: OutsideOptions,
  scope: string,
  { service, value }: OutsideWrite,
  signal: AbortSignal,
): Promise<string | null> {
  const services = new Set([...idsOf(await store.ledger(scope)), service]);
  try {
    await hashes.write({ service, value }, [...services], signal);
    return null;
  } catch (error) {
    signal.throwIfAborted();
    return describeError(error);
  }
}

async function remember(
  { store, now }: OutsideOptions,
  scope: string,
  { service, value, healed }: OutsideWrite,
  problem: string | null,
): Promise<void> {
  const old = (await store.outsideHashes(scope)).get(service) ?? { ...NEVER_LOOKED_AT, service };
  const at = now();
  const written = problem === null ? { written: value, found: value } : {};
  const healing = healed ? { heals: healsBefore(old, at) + 1, healedAt: at } : {};
  const hash = { ...old, ...written, ...healing, drifted: false, owed: problem !== null, problem };
  const since = sameHash(old, hash) ? old.since : at;
  await saveHashes({ store }, scope, [{ ...hash, since }]);
}
