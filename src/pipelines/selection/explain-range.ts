/** What syncing one commit after another would do, told from the two commits alone. */

import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import { loadRules } from '../rules/load-rules.ts';
import { snapshotAt } from '../rules/snapshot.ts';
import { type Explained, explain } from './explain.ts';
import { short } from './select-services.ts';
import { inputsOf } from './service-inputs.ts';

/** Takes every service as synced at `from`, with success; null: as never synced. Throws GitError. */
export async function explainRange(
  repository: RepositoryReader,
  { from, to }: { from: string | null; to: string },
): Promise<Explained> {
  const before = from === null ? { ledger: NEVER, problems: [] } : await ledgerAsOf(repository, from);
  const explained = await explain({
    repository,
    runId: 'explain',
    revision: to,
    befores: from === null ? [] : [from],
    ledger: before.ledger,
    selection: { mode: 'changed' },
    force: false,
    rollback: false,
    unpin: false,
    postponed: [],
    environmentDigest: '',
  });
  const { explanation } = explained;
  const remarks = before.problems.map(
    (problem) => `At ${short(from ?? '')}, ${problem}. The built-in rules are taken for it.`,
  );
  return { ...explained, explanation: { ...explanation, notes: [...remarks, ...explanation.notes] } };
}

const NEVER: Ledger = { entries: new Map(), baseline: null, examined: null, pins: new Map(), rules: null };

/** The ledger after a sync of everything at `commit`, under the rules that hold there. */
async function ledgerAsOf(
  repository: RepositoryReader,
  commit: string,
): Promise<{ ledger: Ledger; problems: string[] }> {
  const { rules, text, problems } = await loadRules(repository, commit, null);
  const target = await snapshotAt({ repository, rules }, commit);
  const entries = target.services
    .filter(({ task }) => task !== null)
    .map((service): [string, LedgerEntry] => [
      service.id,
      {
        service: service.id,
        folder: service.folder,
        synced: {
          commit,
          tree: service.tree,
          shared: service.shared,
          inputs: inputsOf({ service, target, environmentDigest: '' }),
          configHash: null,
          runId: '',
          at: 0,
        },
        attemptedCommit: commit,
        attemptedRunId: '',
        outcome: 'succeeded',
        attempts: 0,
        attemptedInputs: '',
        attemptedAt: 0,
      },
    ]);
  return {
    ledger: { entries: new Map(entries), baseline: commit, examined: null, pins: new Map(), rules: text },
    problems,
  };
}
