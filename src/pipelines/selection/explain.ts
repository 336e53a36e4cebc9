/** The engine behind a sync's selection: from a commit to decisions and the stored why. */

import type { Location, RepositoryReader } from '../../git/read/repository-reader.ts';
import type { Selection } from '../../runs/run.ts';
import type { Explanation } from '../../runs/run-events.ts';
import type { Ledger } from '../../runs/run-store.ts';
import { type LoadedRules, loadRules } from '../rules/load-rules.ts';
import type { Rules, Service } from '../rules/service-rules.ts';
import { type Snapshot, snapshotAt } from '../rules/snapshot.ts';
import type { Drift } from '../sync/outside.ts';
import { addPaths } from './explain-paths.ts';
import { missingServices } from './named-services.ts';
import { blockByNeeds } from './needs.ts';
import { outdatedBy, type Selected, type SelectionInput, selectServices, short } from './select-services.ts';

/** Kept as the baseline when nothing was deployed before the first push. */
export const NO_COMMIT = '0'.repeat(40);

export interface ExplainOptions {
  /** Where the commits are: the mirror, or a clone. */
  repository: RepositoryReader;
  runId: string;
  revision: string;
  /** What the branch was at before, by those who pushed; most conservative first. */
  befores: string[];
  ledger: Ledger;
  selection: Selection;
  force: boolean;
  /** True when going to this commit by name is what was asked for. */
  rollback: boolean;
  unpin: boolean;
  postponed: readonly string[];
  environmentDigest: string;
  /** Services changed outside since their last sync; left out where nobody looked. */
  drifted?: ReadonlyMap<string, Drift>;
}

export interface Explained {
  /** The rules that hold at the commit, and what is wrong with its own. */
  loaded: LoadedRules;
  /** The branch head as last fetched. */
  head: string | null;
  selected: Selected[];
  /** True when a newer commit was examined before. */
  outdated: boolean;
  target: Snapshot;
  explanation: Explanation;
}

/** A constant number of git processes, whatever the number of services. */
export async function explain(options: ExplainOptions): Promise<Explained> {
  const { repository, revision, ledger, selection } = options;
  const notes: string[] = [];
  const commits = selection.mode === 'changed' ? baselineCommits(options) : [];
  const [{ loaded, target }, located, newer] = await Promise.all([
    readTarget(options),
    repository.locate(commits),
    repository.descendants(revision),
  ]);
  const { rules } = loaded;
  notes.push(...loaded.problems.map((problem) => `${problem}. The last good rules are used.`));
  notes.push(...missingServices(rules, target));
  const baselines = await baselineSnapshots(options, rules, located, notes);
  const input: SelectionInput = {
    runId: options.runId,
    target,
    ledger,
    baselines,
    ownServices: await ownServices(options, rules, baselines),
    selection,
    force: options.force,
    newer,
    rollback: options.rollback,
    unpin: options.unpin,
    postponed: new Set(options.postponed),
    environmentDigest: options.environmentDigest,
    ...(options.drifted && { drifted: options.drifted }),
  };
  const stale = selectServices(input);
  const unmatched = await addPaths(options, rules, stale);
  const selected = blockByNeeds({
    selected: stale,
    needs: rules.needs,
    ledger,
    baseline: await firstDeployed(options, rules),
    forced: options.force && selection.mode === 'services' ? selection.services : [],
  });
  if (options.drifted?.size) notes.push(`Changed outside: ${[...options.drifted.keys()].sort().join(', ')}.`);
  if (target.shadowsPlatform) {
    notes.push(
      "platform/__init__.py shadows Python's own module `platform` for every task (PYTHONPATH is the checkout): remove it.",
    );
  }
  const services = selected.map(({ service, folder, wave, decision, because, paths }) => ({
    service,
    folder,
    wave,
    decision,
    because,
    paths,
  }));
  return {
    loaded,
    head: await repository.head(),
    selected,
    outdated: outdatedBy(input) !== null,
    target,
    explanation: { revision, notes, services, unmatched },
  };
}

async function readTarget({ repository, revision, ledger }: ExplainOptions) {
  const loaded = await loadRules(repository, revision, ledger.rules);
  return { loaded, target: await snapshotAt({ repository, rules: loaded.rules }, revision) };
}

/** Null when nothing needs to know it, or it is not known any more. */
async function firstDeployed({ repository, ledger }: ExplainOptions, rules: Rules): Promise<Snapshot | null> {
  const { baseline } = ledger;
  if (baseline === null || baseline === NO_COMMIT || Object.keys(rules.needs).length === 0) return null;
  const isKnown = (await repository.locate([baseline])).get(baseline) !== 'missing';
  return isKnown ? snapshotAt({ repository, rules }, baseline) : null;
}

/** Commits to compare services with that were never synced. */
function baselineCommits({ ledger, befores }: ExplainOptions): string[] {
  if (ledger.baseline === NO_COMMIT) return [];
  return [...new Set([ledger.baseline, befores[0], befores.at(-1)])].flatMap((commit) => commit ?? []);
}

async function baselineSnapshots(
  { repository, selection }: ExplainOptions,
  rules: Rules,
  located: ReadonlyMap<string, Location>,
  notes: string[],
): Promise<(Snapshot | null)[]> {
  if (selection.mode === 'changed' && located.size === 0) {
    notes.push('There is no earlier commit to compare with: services never synced are taken as changed.');
  }
  return Promise.all(
    [...located].map(([commit, location]) => {
      if (location === 'missing') {
        notes.push(
          `The earlier commit ${short(commit)} is not known here: services never synced are taken as changed.`,
        );
        return null;
      }
      if (location === 'off_branch') {
        notes.push(`The branch was rewritten: ${short(commit)} is not part of it any more.`);
      }
      return snapshotAt({ repository, rules }, commit);
    }),
  );
}

/** What the rules at each baseline made of its folders, where they are others than those at the target. */
async function ownServices(
  { repository, ledger }: ExplainOptions,
  rules: Rules,
  baselines: readonly (Snapshot | null)[],
): Promise<Map<string, Map<string, Service>>> {
  const found = new Map<string, Map<string, Service>>();
  for (const baseline of baselines) {
    if (!baseline) continue;
    const { rules: own } = await loadRules(repository, baseline.commit, ledger.rules);
    if (own === rules) continue;
    const { services } = await snapshotAt({ repository, rules: own }, baseline.commit);
    found.set(baseline.commit, new Map(services.map((service) => [service.folder, service])));
  }
  return found;
}
