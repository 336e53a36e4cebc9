/** Explains which services a sync of a commit selects: decisions, and the reasons that are stored. */

import type { Location, RepositoryReader } from '../../git/read/repository-reader.ts';
import type { Explanation } from '../../runs/run-events.ts';
import type { Ledger } from '../../runs/run-store.ts';
import type { Hold } from '../../runs/sync/hold.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { type LoadedRules, loadRules } from '../rules/load-rules.ts';
import { bookOf } from '../rules/rule-book.ts';
import type { Rules, Service } from '../rules/service-rules.ts';
import { type Snapshot, snapshotAt } from '../rules/snapshot.ts';
import { addPaths } from './explain-paths.ts';
import { holdServices } from './held.ts';
import { missingServices } from './named-services.ts';
import { blockByNeeds } from './needs.ts';
import { byPresentRules } from './present-rules.ts';
import { outdatedBy, type Selected, type SelectionInput, selectServices } from './select-services.ts';

/** The baseline if nothing was deployed before the first push. */
export const NO_COMMIT = '0'.repeat(40);

export interface ExplainOptions
  extends Omit<SelectionInput, 'target' | 'baselines' | 'ownServices' | 'newer'> {
  /** The mirror, or a clone. */
  repository: RepositoryReader;
  revision: string;
  /** Null: the unnamed one. */
  environment: string | null;
  /** The heads of the branch before each push. The most conservative one comes first. */
  befores: string[];
  /** The holds that count. */
  holds: readonly Hold[];
}

export interface Explained {
  /** The rules at the commit, and the problems of its own rules file. */
  loaded: LoadedRules;
  /** The branch head when it was fetched last. */
  head: string | null;
  selected: Selected[];
  /** True if a newer commit was examined before. */
  outdated: boolean;
  target: Snapshot;
  explanation: Explanation;
}

/** Starts a constant number of git processes, whatever the number of services. */
export async function explain(options: ExplainOptions): Promise<Explained> {
  const { repository, revision, selection, force } = options;
  const notes: string[] = [];
  const commits = selection.mode === 'changed' ? baselineCommits(options) : [];
  const [{ loaded, target }, located, newer] = await Promise.all([
    readTarget(options),
    repository.locate(commits),
    repository.descendants(revision),
  ]);
  const { rules } = loaded;
  const ledger = await byPresentRules({ ...options, rules, target });
  notes.push(...loaded.problems.map((problem) => `${problem}. The last good rules are used.`));
  notes.push(...missingServices(rules, target));
  const baselines = await baselineSnapshots(options, rules, located, notes);
  const ownServices = await servicesByOwnRules(options, rules, baselines);
  const input: SelectionInput = { ...options, ledger, target, baselines, ownServices, newer };
  const stale = selectServices(input);
  const services = bookOf(rules).isPathEnough ? [] : knownServices([...baselines, target]);
  const unmatched = await addPaths({ ...options, services }, rules, stale);
  const selected = blockByNeeds({
    selected: holdServices(stale, options.holds),
    needs: rules.needs,
    ledger,
    baseline: await firstDeployed(options, rules),
    forced: force && selection.mode === 'services' ? selection.services : [],
  });
  notes.push(...warningsOf(options, target));
  const decisions = selected.map(
    ({ at: _at, inputs: _inputs, previous: _previous, ...decision }) => decision,
  );
  return {
    loaded,
    head: await repository.head(),
    selected,
    outdated: outdatedBy(input) !== null,
    target,
    explanation: { revision, notes, services: decisions, unmatched },
  };
}

/** The services of all snapshots, each once. */
function knownServices(snapshots: readonly (Snapshot | null)[]): Service[] {
  const services = snapshots.flatMap((snapshot) => snapshot?.claimed ?? []);
  return [...new Map(services.map((service) => [`${service.id}\0${service.folder}`, service])).values()];
}

async function readTarget({ repository, revision, ledger, environment }: ExplainOptions) {
  const loaded = await loadRules(repository, revision, ledger.rules, environment);
  return { loaded, target: await snapshotAt({ repository, rules: loaded.rules }, revision) };
}

function warningsOf({ drifted }: ExplainOptions, { shadowsPlatform }: Snapshot): string[] {
  return [
    ...(drifted?.size ? [`Changed outside: ${[...drifted.keys()].sort().join(', ')}.`] : []),
    ...(shadowsPlatform
      ? [
          "platform/__init__.py shadows Python's own module `platform` for every task (PYTHONPATH is the checkout): remove it.",
        ]
      : []),
  ];
}

/** Returns null if no rule needs the first deployed commit, or if it is not known any more. */
async function firstDeployed({ repository, ledger }: ExplainOptions, rules: Rules): Promise<Snapshot | null> {
  const { baseline } = ledger;
  if (baseline === null || baseline === NO_COMMIT || Object.keys(rules.needs).length === 0) return null;
  const isKnown = (await repository.locate([baseline])).get(baseline) !== 'missing';
  return isKnown ? snapshotAt({ repository, rules }, baseline) : null;
}

/** The commits with which services are compared that were never synced. */
function baselineCommits({ ledger, befores }: { ledger: Ledger; befores: string[] }): string[] {
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
    notes.push(
      'There is no earlier commit to compare with, so services that were never synced count as changed.',
    );
  }
  return Promise.all(
    [...located].map(([commit, location]) => {
      const short = shortCommit(commit);
      if (location === 'missing') {
        notes.push(
          `The mirror does not have the earlier commit ${short}, so services that were never synced count as changed.`,
        );
        return null;
      }
      if (location === 'off_branch') {
        notes.push(`The branch was rewritten: ${short} is not part of it any more.`);
      }
      return snapshotAt({ repository, rules }, commit);
    }),
  );
}

/** For each baseline whose own rules differ from those at the target: the services by its own rules, by folder. */
async function servicesByOwnRules(
  { repository, ledger, environment }: ExplainOptions,
  rules: Rules,
  baselines: readonly (Snapshot | null)[],
): Promise<Map<string, Map<string, Service[]>>> {
  const found = new Map<string, Map<string, Service[]>>();
  for (const baseline of baselines) {
    if (!baseline) continue;
    const { rules: own } = await loadRules(repository, baseline.commit, ledger.rules, environment);
    if (own === rules) continue;
    const { services } = await snapshotAt({ repository, rules: own }, baseline.commit);
    found.set(
      baseline.commit,
      Map.groupBy<string, Service>(services, ({ folder }) => folder),
    );
  }
  return found;
}
