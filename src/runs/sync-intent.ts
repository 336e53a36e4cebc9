/** What a sync is meant to do, and everything that follows from it. Pure. */

import type { SyncInput, SyncIntent, SyncRun } from './run.ts';

export interface SyncMeaning {
  intent: SyncIntent;
  /** A newer run like it makes it needless, as both end at the newest commit. */
  coalesces: boolean;
  /** Pins and newer commits do not stand in the way. */
  goesBack: boolean;
  waitsForWindow: boolean;
  /** What takes the place of a commit that is not on the branch; null: nothing, the run ends. */
  offBranch: 'head' | null;
}

/** Stored runs of earlier versions have no intent: theirs follows from who asked. */
export function meaningOf({ trigger, input }: Asked): SyncMeaning {
  const intent = input.intent ?? intentBefore({ trigger, input });
  const leavesChoice = input.selection.mode === 'changed' && !input.force && !input.dryRun;
  return {
    intent,
    coalesces: intent === 'follow' && leavesChoice,
    goesBack: intent === 'back',
    waitsForWindow: !input.force && !input.dryRun,
    offBranch: intent === 'back' ? null : 'head',
  };
}

type Asked = Pick<SyncRun, 'trigger' | 'input'>;

export interface SyncPlace {
  /** Means where the branch is when the run begins, as the run had to wait and the branch may have moved on. */
  takesHead: boolean;
  /** The commit to work on unless the head is taken. */
  commit: string | null;
}

/** Where a sync works. `hasSteps` says that an earlier attempt had come so far as to plan its steps. */
export function placeOf(run: SyncRun, hasSteps: boolean): SyncPlace {
  const { input, revision, attempt } = run;
  const follows = meaningOf(run).intent === 'follow';
  // It goes on at the commit that its steps were at. To be put off is no attempt, and leaves it free to move on.
  const wasCutOff = attempt > 1 && hasSteps;
  if (follows && input.revision !== null && wasCutOff) {
    return { takesHead: false, commit: revision ?? input.revision };
  }
  return { takesHead: follows && (input.revision === null || revision !== null), commit: input.revision };
}

/** The intent and the commit of the run that repeats `run`: what it did, or was about to do. */
export function retryOf(run: SyncRun): Pick<SyncInput, 'intent' | 'revision'> {
  const { intent } = meaningOf(run);
  if (intent === 'back') return { intent, revision: run.input.revision };
  const revision = run.revision ?? run.input.revision;
  return { intent: revision === null ? 'follow' : 'exact', revision };
}

function intentBefore({ trigger, input }: Pick<SyncRun, 'trigger' | 'input'>): SyncIntent {
  if (input.revision === null) return 'follow';
  if (trigger.source === 'sync_api') return 'back';
  return trigger.source === 'retry' ? 'exact' : 'follow';
}
