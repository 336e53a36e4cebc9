/** Refuses an unsigned commit before any of its code runs, if commits must be signed. */

import { shortCommit } from '../../runs/texts/short-commit.ts';
import type { Outcome } from '../pipeline.ts';
import { readRules } from '../rules/read-rules.ts';
import type { Explained } from '../selection/explain.ts';
import type { SyncOptions } from './sync-service.ts';

/** `lastGood` is the text of the branch's last good rules file, or null. Returns null if nothing is refused. */
export async function refuseUnsigned(
  { mirror, requireSignature }: Pick<SyncOptions, 'mirror' | 'requireSignature'>,
  { loaded, explanation: { revision } }: Explained,
  lastGood: string | null,
): Promise<Outcome | null> {
  // The last good rules count too, so that an unsigned commit cannot remove the rule.
  const before = lastGood === null ? null : await readRules(lastGood);
  const demanded =
    requireSignature || loaded.rules.requireSignature || (before?.ok && before.rules.requireSignature);
  if (!demanded || (await mirror.isSigned(revision))) return null;
  return {
    state: 'errored',
    reason: 'unsigned_commit',
    message: `${shortCommit(revision)} is not signed by an allowed key`,
  };
}
