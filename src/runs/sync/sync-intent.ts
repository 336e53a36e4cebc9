/** Decides what a sync is meant to do, and everything that follows from that. Pure. */

import type { SyncRun } from '../run.ts';
import type { SyncInput, SyncIntent } from './sync-input.ts';

export interface SyncMeaning {
  intent: SyncIntent;
  /** True if a newer run of this sort makes it unnecessary, as both end at the newest commit. */
  coalesces: boolean;
  /** True if it ignores pins and newer commits. */
  goesBack: boolean;
  waitsForWindow: boolean;
  /** The commit that replaces one that is not on the branch. Null: no commit replaces it, and the run ends. */
  offBranch: 'head' | null;
}

/** Stored runs of earlier versions have no intent. Theirs follows from their trigger. */
export function meaningOf({ trigger, input }: Asked): SyncMeaning {
  const intent = input.intent ?? intentBefore({ trigger, input });
  const leavesChoice = input.selection.mode === 'changed' && !input.force && !input.dryRun;
  return {
    intent,
    coalesces: (intent === 'follow' || intent === 'promote') && leavesChoice,
    goesBack: intent === 'back',
    waitsForWindow: !input.force && !input.dryRun,
    offBranch: intent === 'back' || intent === 'promote' ? null : 'head',
  };
}

type Asked = Pick<SyncRun, 'trigger' | 'input'>;

export interface SyncPlace {
  /** True if the run takes the branch head at its start, because the branch may have moved while the run waited. */
  takesHead: boolean;
  /** The commit to work on unless the head is taken. */
  commit: string | null;
}

/** Returns the commit that a sync works on. `hasSteps`: an earlier attempt has planned its steps. */
export function placeOf(run: SyncRun, hasSteps: boolean): SyncPlace {
  const { input, revision, attempt } = run;
  const follows = meaningOf(run).intent === 'follow';
  // A run that was cut off goes on at the commit of its steps. One that was postponed may take a newer commit.
  const wasCutOff = attempt > 1 && hasSteps;
  if (follows && input.revision !== null && wasCutOff) {
    return { takesHead: false, commit: revision ?? input.revision };
  }
  return { takesHead: follows && (input.revision === null || revision !== null), commit: input.revision };
}

/**
 * Returns the intent and the commit of the run that repeats `run`. They are those that `run` had, or was about to get.
 */
export function retryOf(run: SyncRun): Pick<SyncInput, 'intent' | 'revision'> {
  const { intent } = meaningOf(run);
  if (intent === 'back' || intent === 'promote') return { intent, revision: run.input.revision };
  const revision = run.revision ?? run.input.revision;
  return { intent: revision === null ? 'follow' : 'exact', revision };
}

function intentBefore({ trigger, input }: Pick<SyncRun, 'trigger' | 'input'>): SyncIntent {
  if (input.revision === null) return 'follow';
  if (trigger.source === 'sync_api') return 'back';
  return trigger.source === 'retry' ? 'exact' : 'follow';
}
