/** Compares services with their last success by the rules of the target, if other files were ignored at that time. */

import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import type { Rules, Service } from '../rules/service-rules.ts';
import { isDigestOfFiles, type ServiceAtCommit, type Snapshot, snapshotAt } from '../rules/snapshot.ts';
import { hasSameTexts, hasStoredTexts, syncedAs } from './service-inputs.ts';

/** Each commit costs a listing. The services of further commits are taken as changed. */
const MAX_COMMITS = 8;

interface Question {
  repository: RepositoryReader;
  rules: Rules;
  target: Snapshot;
  ledger: Ledger;
  environmentDigest(service: Service): string;
}

/**
 * Returns the ledger in which a service has the inputs of the target if, by the rules of the target, they are those of its
 * last success. So a service does not run because `ignore` changed.
 */
export async function byPresentRules(question: Question): Promise<Ledger> {
  const { repository, rules, target, ledger } = question;
  const doubtful = target.services.flatMap((service) => doubtOf(question, service));
  if (doubtful.length === 0) return ledger;
  const byCommit = Map.groupBy(doubtful, ({ synced }) => synced.commit);
  const commits = [...byCommit.keys()].slice(0, MAX_COMMITS);
  const located = await repository.locate(commits);
  const entries = new Map(ledger.entries);
  for (const commit of commits.filter((commit) => located.get(commit) !== 'missing')) {
    const before = await snapshotAt({ repository, rules }, commit);
    for (const { service, entry, synced } of byCommit.get(commit) ?? []) {
      const was = before.byId.get(service.id);
      const isSame =
        was?.folder === service.folder && was.tree === service.tree && was.shared === service.shared;
      if (isSame) entries.set(service.id, { ...entry, synced: syncedAs(synced, { ...question, service }) });
    }
  }
  return { ...ledger, entries };
}

interface Doubt {
  service: ServiceAtCommit;
  entry: LedgerEntry;
  synced: NonNullable<LedgerEntry['synced']>;
}

/** A service whose files seem to differ, although perhaps only the ignored files do. */
function doubtOf({ rules, ledger, target, environmentDigest }: Question, service: ServiceAtCommit): Doubt[] {
  const entry = ledger.entries.get(service.id);
  const synced = entry?.synced;
  if (!entry || !synced || entry.folder !== service.folder) return [];
  const mayIgnore = rules.ignore.length > 0 || isDigestOfFiles(synced.tree) !== isDigestOfFiles(service.tree);
  const isSame = synced.tree === service.tree && synced.shared === service.shared;
  const dependent = { service, target, environmentDigest };
  if (!mayIgnore || isSame || !hasStoredTexts(synced) || !hasSameTexts(synced, dependent)) return [];
  return [{ service, entry, synced }];
}
