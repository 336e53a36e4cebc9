/** Defines what a promotion would change, what its approval is bound to, and who may decide about it. Pure. */

import type { Promotion } from './sync-input.ts';

/** What taking a commit from another environment would change, and what stands against it. */
export interface Proposal {
  /** Full id of the commit, and the first line of its message. */
  revision: string;
  subject: string;
  /** The environment that has to hold the commit. */
  from: string;
  /** The services that would run, by id. */
  services: Promotion['services'];
  /** The services of these that `from` does not hold at the commit, with the reasons. */
  unheld: { service: string; because: string }[];
  /** The commits that the target gets, the newest first. */
  commits: Promotion['commits'];
  /** True if there are more commits. */
  hasMore: boolean;
  /** The services that a rollback keeps where they are, so that they do not run. */
  pinned: string[];
  /** The newer commit that the target examined before; null if there is none. */
  newer: string | null;
}

/** What an approval is bound to, as a text: equal ones change the same services, from and to the same commits. */
export function boundTo(revision: string, { from, services }: Pick<Promotion, 'from' | 'services'>): string {
  const sorted = services
    .map((one) => [one.service, one.from])
    .sort(([one], [other]) => (String(one) < String(other) ? -1 : 1));
  return JSON.stringify([revision, from, sorted]);
}

/** The rules of an environment about approvals. */
export interface ApprovalRules {
  /** `other`: somebody else than the one who asked. */
  approval: 'none' | 'any' | 'other';
  /** The names of those who may approve, besides the role admin. */
  approvers: readonly string[] | null;
}

/** Says who may decide, as the subject of a sentence. */
export function decidersOf({ approval, approvers }: ApprovalRules): string {
  const named = approvers === null ? '' : ` or the name ${approvers.join(' or ')}`;
  return `Anybody with the role admin${named}${approval === 'other' ? ', but the one who asked,' : ''}`;
}

/** Returns why somebody may not decide, or null. `asker` is null if nobody knows who asked. */
export function whyNotDecide(
  { approval, approvers }: ApprovalRules,
  { name, isAdmin }: { name: string; isAdmin: boolean },
  asker: string | null,
): string | null {
  if (!isAdmin && approvers?.includes(name) !== true) {
    return `${name} may not decide about it: that needs the role admin, or a name among the approvers of the environment`;
  }
  return approval === 'other' && name === asker
    ? `${name} asked for it, and somebody else has to decide about it`
    : null;
}
