/** Looks at the runs of the same group, to tell what is new. */

import type { Run, RunKind } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';

/** So many of the newest runs of a group are looked at. */
const LOOKED_AT = 100;

/** The newest runs of the group and the kind of a run, the newest first, with the run itself. */
export async function runsLike<K extends RunKind>(
  store: Pick<RunStore, 'runs'>,
  { kind, concurrencyGroup }: Pick<Run<K>, 'kind' | 'concurrencyGroup'>,
): Promise<Run<K>[]> {
  const found = await store.runs({ kind, concurrencyGroup, limit: LOOKED_AT });
  return found.filter((one): one is Run<K> => one.kind === kind);
}

/** The run among these that was the last to end before a run did; undefined if none had ended. */
export function lastEndedBefore<R extends Run>(runs: readonly R[], { id, finishedAt }: Run): R | undefined {
  return runs
    .filter((one) => one.id !== id && endOf(one) <= endOf({ finishedAt }))
    .toSorted((one, other) => endOf(one) - endOf(other))
    .at(-1);
}

/** When a run or a step ended, in ms since the epoch; infinite until then. */
export function endOf({ finishedAt }: { finishedAt: number | null }): number {
  return finishedAt ?? Number.POSITIVE_INFINITY;
}

/** True for a run that failed by itself. A cancelled or superseded run says nothing about its target. */
export function hasFailed({ state }: Pick<Run, 'state'>): boolean {
  return state === 'failed' || state === 'errored' || state === 'timed_out';
}
