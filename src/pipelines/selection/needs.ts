/** What services need holds over runs: nothing is synced on top of what failed, or was never there. Pure. */

import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import { ofService, type Rules } from '../rules/service-rules.ts';
import type { Snapshot } from '../rules/snapshot.ts';
import type { Selected } from './select-services.ts';

export interface NeedsInput {
  selected: readonly Selected[];
  needs: Rules['needs'];
  ledger: Pick<Ledger, 'entries'>;
  /** The commit that was taken as deployed when the branch was first met: what it holds counts as synced. */
  baseline: Snapshot | null;
  /** Services that are to run although something they need failed. */
  forced: readonly string[];
}

/**
 * The decisions, with `blocked` in place of `run` where something needed cannot be built on. What is to run in the same
 * sync may still succeed before: that is for its schedule.
 */
export function blockByNeeds(input: NeedsInput): Selected[] {
  const { selected, needs } = input;
  const forced = new Set(input.forced);
  const waiting = selected.filter(({ service, decision }) => decision === 'run' && !forced.has(service));
  const blocked = new Map<string, string>();
  const byNeed = new Map<string, string[]>();
  for (const { service } of waiting) {
    for (const need of ofService(needs, service) ?? []) {
      const others = byNeed.get(need);
      if (others) others.push(service);
      else byNeed.set(need, [service]);
    }
  }
  const problems = problemsOf(input, [...byNeed.keys()]);
  // Grows while it is read: what needs something blocked is blocked, too.
  for (const [need, problem] of problems) {
    for (const service of byNeed.get(need) ?? []) {
      if (blocked.has(service)) continue;
      blocked.set(service, `Needs ${need}, ${problem}.`);
      problems.set(service, 'which is blocked');
    }
  }
  return selected.map((item) => {
    const because = blocked.get(item.service);
    return because === undefined ? item : { ...item, decision: 'blocked', because };
  });
}

function problemsOf({ selected, ledger, baseline }: NeedsInput, needed: string[]): Map<string, string> {
  const decided = new Map(selected.map((item) => [item.service, item]));
  const problems = new Map<string, string>();
  for (const need of needed) {
    const decision = decided.get(need)?.decision;
    // Not at this commit, nothing that runs, or at work in this sync.
    if (decision === undefined || NO_PROBLEM.has(decision)) continue;
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
