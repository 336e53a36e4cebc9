/** Refuses a body that is too large, before or while it is read. */

import type { Context, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { jsonError } from '../frame/error-answer.ts';

/** Of every route but the webhook's. */
export const BODY_BYTES = 1024 * 1024;

export function limitBody(maxSize: number): MiddlewareHandler {
  const refuseTooLarge = (c: Context): Response =>
    jsonError(c, 413, `The body is larger than ${maxSize / 1024 / 1024} MiB`);
  const countWhileReading = bodyLimit({ maxSize, onError: refuseTooLarge });
  return async (c, next) => {
    // Node holds a sender to its Content-Length. Counting takes the body's stream, half the cost of an answer.
    const length = c.req.header('content-length');
    if (length === undefined || c.req.header('transfer-encoding') !== undefined) {
      return countWhileReading(c, next);
    }
    return Number(length) <= maxSize ? next() : refuseTooLarge(c);
  };
}
