/** Sets aside the runs whose reports meet a defect, so that they do not hold up the reports of the others. */

import { StoreUnavailableError } from '../../errors.ts';
import type { Run } from '../../runs/run.ts';

/** If this many runs meet a defect and no report is sent in between, a restart may help. Fewer damaged runs do no harm. */
const MANY = 3;
const NEXT_ACTION = 'Report the defect. The run is tried again after a restart, and not reported until then.';

export type SetAside = ReturnType<typeof createSetAside>;

/** `what` names the reports for the log. */
export function createSetAside(what: string, log: { error(fields: object, message: string): void }) {
  const aside = new Set<string>();
  /** The runs set aside since the last report that was sent. */
  const inARow = new Set<string>();
  let defect: unknown;
  const keyOf = ({ id, state }: Run): string => `${id} ${state}`;

  return {
    /** True if the run is set aside. It is tried again when its state has changed, and after a restart. */
    has: (run: Run): boolean => aside.has(keyOf(run)),
    /** Does `work`, which concerns the run. If `work` meets a defect, this sets the run aside and returns null. */
    async guard<T>(run: Run, work: () => Promise<T>): Promise<T | null> {
      try {
        return await work();
      } catch (error) {
        if (error instanceof StoreUnavailableError) throw error;
        if (aside.has(keyOf(run))) return null;
        aside.add(keyOf(run));
        inARow.add(run.id);
        defect = error;
        log.error(
          { err: error, runId: run.id, nextAction: NEXT_ACTION },
          `${what}: a run is set aside by a defect; the others go on`,
        );
        return null;
      }
    },
    /** Notes that a report was sent, or that a run had nothing to report. */
    cameThrough: (): void => inARow.clear(),
    /** Throws the latest defect if many runs in a row have met one. */
    throwIfMany(): void {
      if (inARow.size >= MANY) throw defect;
    },
  };
}
