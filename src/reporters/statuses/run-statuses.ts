/** Derives the commit status of a run, and the commits that show it. */

import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { commitStatus, isPromise, sharesOutcome, statusTargets } from './commit-status.ts';
import type { StatusesOfRun, StatusKind } from './owed-statuses.ts';

type Store = Pick<RunStore, 'run' | 'reports'>;

const REPORTER = 'commit-status';

/** The status of each run, under the name of its kind and environment. */
export function runStatuses(store: Store): StatusKind {
  return {
    reporter: REPORTER,
    async statusesOf(run, known) {
      const source = await readSource(store, run, known);
      const status = commitStatus(run, source);
      if (!status) return null;
      const reports = await store.reports(REPORTER, run.id);
      // A commit that got a status stays a target even if the run has moved on, because its pending state must end.
      const commits = new Set([...statusTargets(run), ...reports.map(({ target }) => target)]);
      const isFinal = status.state !== 'pending';
      const found: StatusesOfRun = {
        source,
        isFinal,
        isPromised: isFinal && isPromise(run),
        // Commits that runs really worked on come before those that they only cover or preview.
        isOwn: source.id === run.id && isPromise(run),
        // A commit that was just pushed has few statuses. One that is looked at again and again may have too many.
        keepsSpace: run.trigger.source === 'webhook' ? null : 'context',
        reports,
        shown: [...commits].map((sha) => ({ target: sha, sha, status, anchor: '' })),
      };
      return found;
    },
  };
}

/** Returns the run whose outcome `run` shares: itself, or the last in the chain of runs that cover it. */
async function readSource(store: Store, run: Run, known: Map<string, Run | null>): Promise<Run> {
  let source = run;
  const passed = new Set<string>();
  while (!passed.has(source.id)) {
    const id = nextSource(source, run);
    if (id === null) return source;
    passed.add(source.id);
    const covering = known.has(id) ? known.get(id) : await store.run(id);
    known.set(id, covering ?? null);
    if (!covering) return source;
    source = covering;
  }
  return source;
}

/** A run that is not on the branch has its own outcome, but the runs that it covered are synced by its successor. */
function nextSource(source: Run, run: Run): string | null {
  const isFollowed = source.id !== run.id && source.reason === 'not_on_branch';
  return isFollowed || sharesOutcome(source) ? source.coveredBy : null;
}
