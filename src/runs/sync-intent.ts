/** What a sync is meant to do, and everything that follows from it. Pure. */

import type { SyncInput, SyncIntent, SyncRun } from './run.ts';

export interface SyncMeaning {
  intent: SyncIntent;
  /** A newer run like it makes it needless, as both end at the newest commit. */
  coalesces: boolean;
  /** Pins and newer commits do not stand in the way. */
  goesBack: boolean;
  /** Means where the branch is when the run begins, as the run had to wait and the branch may have moved on. */
  takesHead: boolean;
  /** The commit to work on unless the head is taken: of a run that was cut off, the one that it was at. */
  commit: string | null;
  waitsForWindow: boolean;
  /** What takes the place of a commit that is not on the branch; null: nothing, the run ends. */
  offBranch: 'head' | null;
}

/** Stored runs of earlier versions have no intent: theirs follows from who asked. */
export function meaningOf({ trigger, input, revision, attempt }: Asked): SyncMeaning {
  // It found its commit before and was put off, which is no attempt; one that was cut off goes on where it was.
  const hadToWait = revision !== null && attempt <= 1;
  const intent = input.intent ?? intentBefore({ trigger, input });
  const wasCutOff = intent === 'follow' && input.revision !== null && attempt > 1;
  const leavesChoice = input.selection.mode === 'changed' && !input.force && !input.dryRun;
  return {
    intent,
    coalesces: intent === 'follow' && leavesChoice,
    goesBack: intent === 'back',
    takesHead: intent === 'follow' && (input.revision === null || hadToWait),
    commit: wasCutOff ? (revision ?? input.revision) : input.revision,
    waitsForWindow: !input.force && !input.dryRun,
    offBranch: intent === 'back' ? null : 'head',
  };
}

type Asked = Pick<SyncRun, 'trigger' | 'input' | 'revision' | 'attempt'>;

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
