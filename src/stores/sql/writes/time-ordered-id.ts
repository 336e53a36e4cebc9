/** Makes ids of runs, which are random and in the order of time. */

import { randomUUID } from 'node:crypto';

/**
 * Returns a UUID of version 7 (RFC 9562). Ids of about the same time share a page of an index, so a commit writes fewer
 * pages.
 */
export function timeOrderedId(now: number): string {
  const time = now.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}
