/** What is kept of a branch beyond its runs: the ledger, pins, rules, and config hashes that stand outside. */

import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import { createDraft } from './draft.ts';
import type { Room } from './room.ts';
import { texts } from './stored-run.ts';

export async function readLedger({ connection, keys }: Room, scope: string): Promise<Ledger> {
  const [entries, pins, branch] = await connection.all([
    ['HVALS', keys.ledger(scope)],
    ['HGETALL', keys.pins(scope)],
    ['HMGET', keys.scope(scope), 'baseline', 'examined', 'rules'],
  ]);
  const [baseline = null, examined = null, rules = null] = texts(branch);
  const services = texts(entries).map((text): LedgerEntry => JSON.parse(text ?? ''));
  const pinned = texts(pins);
  return {
    entries: new Map(services.map((entry) => [entry.service, entry])),
    baseline,
    examined: examined === null ? null : JSON.parse(examined),
    rules,
    pins: new Map(
      pinned.flatMap((service, index) =>
        index % 2 === 0 ? [[String(service), JSON.parse(pinned[index + 1] ?? '').commit]] : [],
      ),
    ),
  };
}

export async function saveBaseline({ committer, keys }: Room, scope: string, commit: string): Promise<void> {
  const draft = createDraft();
  draft.writes.push(['HSETNX', keys.scope(scope), 'baseline', commit]);
  await committer.commit(draft);
}

export async function readOutsideHashes(
  { connection, keys }: Room,
  scope: string,
): Promise<Map<string, OutsideHash>> {
  const hashes = texts(await connection.call('HVALS', keys.outside(scope)));
  return new Map(
    hashes.map((text) => {
      const hash: OutsideHash = JSON.parse(text ?? '');
      return [hash.service, hash];
    }),
  );
}

export async function saveOutsideHashes(
  { committer, keys }: Room,
  scope: string,
  hashes: OutsideHash[],
): Promise<void> {
  const draft = createDraft();
  for (const hash of hashes) {
    draft.writes.push(['HSET', keys.outside(scope), hash.service, JSON.stringify(hash)]);
  }
  await committer.commit(draft);
}

/** The runs that ledgers and pins name. */
export async function readNamedRuns({ connection, keys }: Room): Promise<Set<string>> {
  const scopes = texts(await connection.call('SMEMBERS', keys.scopes)).map(String);
  const replies = await connection.all(
    scopes.flatMap((scope) => [
      ['HVALS', keys.ledger(scope)],
      ['HVALS', keys.pins(scope)],
    ]),
  );
  const facts = replies.flatMap(texts).map((text): Partial<LedgerEntry> & { runId?: string } => {
    return JSON.parse(text ?? '');
  });
  const ids = facts.flatMap(({ attemptedRunId, synced, runId }) => [attemptedRunId, synced?.runId, runId]);
  return new Set(ids.filter((id) => id !== undefined));
}
