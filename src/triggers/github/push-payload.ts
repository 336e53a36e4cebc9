/** The few fields of GitHub's push payload that are used; the rest of its 25 MB is never looked at. */

import { z } from 'zod';

/** GitHub lists at most this many commits; more were pushed when it is reached. */
const MAX_LISTED_COMMITS = 2_048;

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
  commits: z.array(z.object({ added: paths, removed: paths, modified: paths })).nullish(),
});

export interface Push {
  ref: string;
  repository: string | null;
  /** As delivered: usually 40 hex digits, but clients may send less or nothing. */
  after: string;
  before: string | null;
  deleted: boolean;
  /** True when what was pushed before may have left the branch by it. */
  rewrites: boolean;
  /** Login of who pushed, as GitHub says. */
  sender: string | null;
  /** Every path the payload lists, in any order, repeated ones included. */
  paths: string[];
  /** False when more may have changed than the payload lists, so that only git can tell. */
  complete: boolean;
}

const FULL_ID = /^[0-9a-f]{40}$/;
const NO_COMMIT = /^0+$/;

/** Null when this is not a push payload at all. */
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
    paths: commits.flatMap(({ added, removed, modified }) => [
      ...(added ?? []),
      ...(removed ?? []),
      ...(modified ?? []),
    ]),
    complete:
      data.commits != null && // a payload without a list names nothing, which is not the same as naming no file
      data.forced !== true &&
      data.created !== true &&
      commits.length < MAX_LISTED_COMMITS,
  };
}

/** The full commit id, or null when only git can tell which commit was meant. */
export function revisionOf(push: Push): string | null {
  return FULL_ID.test(push.after) ? push.after : null;
}
