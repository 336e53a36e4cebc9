/**
 * Lists the kinds of runs. A new kind needs an input in run.ts, a file beside this one, a line here, and a pipeline.
 */

import type { Run, RunKind } from '../run.ts';
import { RUN_REASONS } from '../run-reasons.ts';
import { COMMAND } from './command.ts';
import { DEPLOY } from './deploy.ts';
import type { Kind } from './kind.ts';
import { PLAN } from './plan.ts';
import { PREVIEW } from './preview.ts';
import { SYNC } from './sync.ts';

const KINDS: { readonly [K in RunKind]: Kind<K> } = {
  sync: SYNC,
  preview: PREVIEW,
  deploy: DEPLOY,
  plan: PLAN,
  command: COMMAND,
};

/** The order is that in which pages list the kinds. */
export const RUN_KINDS = Object.keys(KINDS) as RunKind[];

/** The compiler cannot check the input: give the kind only inputs of its own runs. */
export function kindOf({ kind }: { kind: RunKind }): Kind {
  return KINDS[kind] as Kind;
}

/** Returns what the reader should do after a bad ending; null if there is nothing to do. */
export function nextActionOf({ kind, reason }: Pick<Run, 'kind' | 'reason'>): string | null {
  return reason === null ? null : (KINDS[kind].nextActions?.[reason] ?? RUN_REASONS[reason]);
}
