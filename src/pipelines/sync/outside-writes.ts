/** Writes to where config hashes also stand, in Dokploy: after a task succeeded, and later what could not be then. */

import { describeError, WorkspaceBusyError } from '../../errors.ts';
import {
  comparableHash,
  healsBefore,
  idsOf,
  keep,
  NEVER_LOOKED_AT,
  type OutsideOptions,
  type OutsideView,
  sameHash,
} from './outside.ts';
import { takeSyncLock } from './sync-lock.ts';

/** A failure that took this long is not tried with the next service of the same sync. */
const SLOW_MS = 3_000;

export interface OutsideWrite {
  service: string;
  value: string;
  /** It was run because it had drifted. */
  healed: boolean;
}

/** Told what could not be written, one sentence for a person. */
type Remark = (message: string) => Promise<void>;

/**
 * Writes the hashes of services that were just synced. It never fails but with the signal's reason: what cannot be
 * written is remarked, and written by a later reconcile. After a slow failure it tries no more.
 */
export function createOutsideWriter(
  options: OutsideOptions,
  scope: string,
  remark: Remark,
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
 * Writes what a sync could not, under the lock of the workspace: while somebody syncs, tasks may be changing the
 * same environments, and it is left for later. Returns what is to be said.
 */
export async function writeOwed(
  options: OutsideOptions,
  scope: string,
  owed: { workspaceDir: string; hashes: OutsideView['unwritten']; signal: AbortSignal },
): Promise<string[]> {
  const lost = new AbortController();
  const signal = AbortSignal.any([owed.signal, lost.signal]);
  const problems: string[] = [];
  let release: () => Promise<void>;
  try {
    release = await takeSyncLock({
      workspaceDir: owed.workspaceDir,
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

/** Null when it was written. */
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
  await keep({ store }, scope, [{ ...hash, since }]);
}
