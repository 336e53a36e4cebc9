/** The ids of events. */

import { createHash } from 'node:crypto';

/**
 * Returns the same id each time this event is sent to this target, so that a receiver can drop duplicates. It has no full
 * stop, because full stops separate the signed parts.
 */
export function eventId(runId: string, target: string, type: string): string {
  return `msg_${createHash('sha256').update(`${runId}\n${target}\n${type}`).digest('base64url').slice(0, 32)}`;
}
