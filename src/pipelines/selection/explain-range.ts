/** Explains what a sync of one commit after another would do, from the two commits alone. */

import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { loadRules } from '../rules/load-rules.ts';
import { snapshotAt } from '../rules/snapshot.ts';
import { type Explained, explain } from './explain.ts';
import { ALL_CHANGED } from './select-services.ts';
import { inputsOf } from './service-inputs.ts';

interface Range {
  /** Every service counts as synced at this commit, or as never synced if it is null. */
  from: string | null;
  to: string;
  /** Left out or null: the unnamed one. */
  environment?: string | null | undefined;
}

/** Throws GitError. */
export async function explainRange(
  repository: RepositoryReader,
  { from, to, environment = null }: Range,
): Promise<Explained> {
  const before =
    from === null ? { ledger: NEVER, problems: [] } : await ledgerAsOf(repository, from, environment);
  const explained = await explain({
    ...ALL_CHANGED,
    repository,
    runId: 'explain',
    revision: to,
    environment,
    befores: from === null ? [] : [from],
    ledger: before.ledger,
    holds: [],
    environmentDigest: () => '',
  });
  const { explanation } = explained;
  const remarks = before.problems.map(
    (problem) => `At ${shortCommit(from ?? '')}, ${problem}. The built-in rules are used for it.`,
  );
  return { ...explained, explanation: { ...explanation, notes: [...remarks, ...explanation.notes] } };
}

const NEVER: Ledger = { entries: new Map(), baseline: null, examined: null, pins: new Map(), rules: null };

/** The ledger after a sync of everything at `commit`, under the rules that hold there. */
async function ledgerAsOf(
  repository: RepositoryReader,
  commit: string,
  environment: string | null,
): Promise<{ ledger: Ledger; problems: string[] }> {
  const { rules, text, problems } = await loadRules(repository, commit, null, environment);
  const target = await snapshotAt({ repository, rules }, commit);
  const entries = target.services
    .filter(({ runs }) => runs)
    .map((service): [string, LedgerEntry] => [
      service.id,
      {
        service: service.id,
        folder: service.folder,
        synced: {
          commit,
          tree: service.tree,
          shared: service.shared,
          inputs: inputsOf({ service, target, environmentDigest: () => '' }),
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
