/** Runs whose report meets a defect are set aside, so that they do not hold up the reports of the others. */

import { StoreUnavailableError } from '../../errors.ts';
import type { Run } from '../../runs/run.ts';

/**
 * When the reports of so many runs met a defect and none was sent in between, the defect is not one of a single run: a
 * restart may help. One or two damaged runs end nothing.
 */
const SO_MANY = 3;

export interface SetAside {
  /** Whether the run was set aside. It is looked at again when it has come further, and after a restart. */
  has(run: Run): boolean;
  /** Does `work`, which is about the run. Null when that meets a defect: then the run is set aside. */
  guard<T>(run: Run, work: () => Promise<T>): Promise<T | null>;
  /** To be called when a report was sent. */
  cameThrough(): void;
  /** Throws the latest defect when all runs seem to meet it. */
  judge(): void;
}

/** `what` is reported, for the log. */
export function createSetAside(
  what: string,
  log: { error(fields: object, message: string): void },
): SetAside {
  const aside = new Set<string>();
  /** Those set aside since the last report that was sent. */
  const inARow = new Set<string>();
  let defect: unknown;
  const keyOf = ({ id, state }: Run): string => `${id} ${state}`;

  return {
    has: (run) => aside.has(keyOf(run)),
    async guard(run, work) {
      try {
        return await work();
      } catch (error) {
        if (error instanceof StoreUnavailableError) throw error;
        if (aside.has(keyOf(run))) return null;
        aside.add(keyOf(run));
        inARow.add(run.id);
        defect = error;
        const nextAction =
          'Report the defect. The run is tried again after a restart; nobody is told of it before.';
        log.error(
          { err: error, runId: run.id, nextAction },
          `${what}: a run is set aside by a defect; the others go on`,
        );
        return null;
      }
    },
    cameThrough: () => inARow.clear(),
    judge() {
      if (inARow.size >= SO_MANY) throw defect;
    },
  };
}
