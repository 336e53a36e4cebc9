/** Errors as JSON: a sentence for people, and for programs a code of a closed list. */

import type { Context } from 'hono';
import type { RequestError } from '../../errors.ts';

const CODES = {
  400: 'invalid_request',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  405: 'method_not_allowed',
  409: 'conflict',
  413: 'too_large',
  415: 'unsupported_media_type',
  429: 'too_many_requests',
  500: 'internal',
  503: 'unavailable',
} as const;

export type ErrorStatus = keyof typeof CODES;

/** The paths of the earlier receiver, whose clients know `error` only. */
const WITHOUT_CODE = new Set(['/webhook', '/sync']);
const RETRY_AFTER_SECONDS = '5';

export function jsonError(
  c: Context,
  status: ErrorStatus,
  error: string,
  headers: Record<string, string> = {},
) {
  const body = WITHOUT_CODE.has(c.req.path) ? { error } : { error, code: CODES[status] };
  return c.json(body, status, status === 503 ? { 'Retry-After': RETRY_AFTER_SECONDS, ...headers } : headers);
}

/** The answer to a request that was refused with an error. */
export function requestErrorAnswer(c: Context, { status, message, retryAfterSeconds, code }: RequestError) {
  const headers = retryAfterSeconds === null ? {} : { 'Retry-After': String(retryAfterSeconds) };
  // The codes of promotions are new, also for clients of the earlier receiver.
  return code === null
    ? jsonError(c, status, message, headers)
    : c.json({ error: message, code }, status, headers);
}
