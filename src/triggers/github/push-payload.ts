/** Picks the few fields of GitHub's push payload that are used. */

import { z } from 'zod';
import { replaceUnseen } from '../../runs/texts/unseen-characters.ts';

/** GitHub lists at most this many commits. A payload with so many may lack some. */
const MAX_LISTED_COMMITS = 2_048;

const MAX_SUBJECT = 300;

const paths = z.array(z.string()).nullish();

const pushSchema = z.object({
  ref: z.string(),
  before: z.string().nullish(),
  after: z.string().nullish(),
  created: z.boolean().nullish(),
  deleted: z.boolean().nullish(),
  forced: z.boolean().nullish(),
  repository: z.object({ full_name: z.string().nullish() }).nullish(),
  sender: z.object({ login: z.string().nullish() }).nullish(),
  head_commit: z.object({ message: z.string().nullish() }).nullish(),
  commits: z.array(z.object({ added: paths, removed: paths, modified: paths })).nullish(),
});

export interface Push {
  ref: string;
  repository: string | null;
  /** As delivered: usually 40 hex digits, but clients may send fewer or none. */
  after: string;
  before: string | null;
  deleted: boolean;
  /** True when earlier commits may have left the branch by this push. */
  rewrites: boolean;
  /** The login of the person who pushed, as GitHub says. */
  sender: string | null;
  /** First line of the message of the newest commit, at most 300 long; null if the payload does not say it. */
  subject: string | null;
  /** Every path that the payload lists, in any order and with repetitions. */
  paths: string[];
  /** False if more files may have changed than the payload lists, so that only git knows which. */
  complete: boolean;
}

const FULL_ID = /^[0-9a-f]{40}$/;
const NO_COMMIT = /^0+$/;

/** Returns null if this is not a push payload. */
export function parsePush(payload: unknown): Push | null {
  const result = pushSchema.safeParse(payload);
  if (!result.success) return null;
  const { data } = result;
  const commits = data.commits ?? [];
  const after = data.after ?? '';
  const before = data.before ?? '';
  return {
    ref: data.ref,
    repository: data.repository?.full_name ?? null,
    after,
    before: FULL_ID.test(before) && !NO_COMMIT.test(before) ? before : null,
    deleted: data.deleted === true || (after !== '' && NO_COMMIT.test(after)),
    rewrites: data.forced === true || data.created === true,
    sender: data.sender?.login ?? null,
    subject: subjectOf(data.head_commit?.message ?? ''),
    paths: commits.flatMap(({ added, removed, modified }) => [
      ...(added ?? []),
      ...(removed ?? []),
      ...(modified ?? []),
    ]),
    complete:
      // A payload without a list does not say which files changed.
      data.commits != null &&
      data.forced !== true &&
      data.created !== true &&
      commits.length < MAX_LISTED_COMMITS,
  };
}

function subjectOf(message: string): string | null {
  const [first = ''] = message.trimStart().split('\n', 1);
  return replaceUnseen(first, '').trim().slice(0, MAX_SUBJECT) || null;
}

/** Returns the full commit id, or null if only git knows which commit was meant. */
export function revisionOf(push: Push): string | null {
  return FULL_ID.test(push.after) ? push.after : null;
}
