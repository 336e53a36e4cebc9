/** Blocks services that need another one whose last sync failed or that was never synced, also in earlier runs. Pure. */

import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import { ofService, type Rules } from '../rules/service-rules.ts';
import type { Snapshot } from '../rules/snapshot.ts';
import type { Selected } from './select-services.ts';

interface NeedsInput {
  selected: readonly Selected[];
  needs: Rules['needs'];
  ledger: Pick<Ledger, 'entries'>;
  /** The commit before the first push, which counts as deployed. Its services count as synced. */
  baseline: Snapshot | null;
  /** Services that run even if a service that they need has failed. */
  forced: readonly string[];
}

/**
 * Returns the decisions, with `blocked` instead of `run` for services whose needs are not met, or `held` if a need is held. A needed service that runs
 * in the same sync is left to the schedule.
 */
export function blockByNeeds(input: NeedsInput): Selected[] {
  const { selected, needs } = input;
  const forced = new Set(input.forced);
  const waiting = selected.filter(({ service, decision }) => decision === 'run' && !forced.has(service));
  const blocked = new Map<string, Pick<Selected, 'decision' | 'because'>>();
  const pairs = waiting.flatMap(({ service }) =>
    (ofService(needs, service) ?? []).map((need) => ({ need, service })),
  );
  const byNeed = Map.groupBy(pairs, ({ need }) => need);
  const problems = problemsOf(input, [...byNeed.keys()]);
  // The map grows while it is read, because a service that needs a blocked one is blocked too.
  for (const [need, problem] of problems) {
    for (const { service } of byNeed.get(need) ?? []) {
      if (blocked.has(service)) continue;
      const decision = problem === HELD ? 'held' : 'blocked';
      blocked.set(service, { decision, because: `Needs ${need}, ${problem}.` });
      problems.set(service, problem === HELD ? HELD : 'which is blocked');
    }
  }
  return selected.map((item) => ({ ...item, ...blocked.get(item.service) }));
}

/** The service runs after the hold, and so do the services that need it. */
const HELD = 'which is held';

function problemsOf({ selected, ledger, baseline }: NeedsInput, needed: string[]): Map<string, string> {
  const decided = new Map(selected.map((item) => [item.service, item]));
  const problems = new Map<string, string>();
  for (const need of needed) {
    const decision = decided.get(need)?.decision;
    // The service is not at this commit, never runs, or runs in this sync.
    if (decision === undefined || NO_PROBLEM.has(decision)) continue;
    if (decision === 'held') {
      problems.set(need, HELD);
      continue;
    }
    const entry = ledger.entries.get(need);
    if (!entry && baseline?.byId.has(need)) continue;
    const problem = entry ? PROBLEMS[entry.outcome] : 'which was never synced';
    if (problem !== null) problems.set(need, problem);
  }
  return problems;
}

const NO_PROBLEM: ReadonlySet<Selected['decision']> = new Set([
  'removed',
  'excluded',
  'run',
  'done',
] as const);

const PROBLEMS: Record<LedgerEntry['outcome'], string | null> = {
  succeeded: null,
  failed: 'whose last sync failed',
  started: 'whose last sync was cut off',
  cancelled: 'whose last sync was cancelled',
  removed: 'which was never synced since it is back',
};
