/** Reads the bodies of requests whose sender was identified: JSON of programs, and forms of our pages. */

import type { Context, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { RequestError } from '../../errors.ts';
import { MEBIBYTE } from '../../units.ts';
import { tooLarge } from '../doors/unverified-bodies.ts';
import { requestErrorAnswer } from './error-answer.ts';

const MAX_BODY_BYTES = MEBIBYTE;

/** Refuses larger bodies. */
export function limitedBody(): MiddlewareHandler {
  return bodyLimit({
    maxSize: MAX_BODY_BYTES,
    onError: (c) => requestErrorAnswer(c, tooLarge(MAX_BODY_BYTES)),
  });
}

/** Reads JSON whatever the content type is: old clients send none, and the origin of a session was checked. */
export async function readJson(c: Context): Promise<unknown> {
  const text = await c.req.text();
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RequestError(400, 'The body is not valid JSON', { cause });
  }
}

/** Returns the fields of a form that are not empty, or null if the body is no form. */
export async function readForm(c: Context): Promise<Map<string, string> | null> {
  const type = c.req.header('Content-Type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/x-www-form-urlencoded') return null;
  const fields = new URLSearchParams(await c.req.text());
  return new Map(
    [...fields].map(([name, value]) => [name, value.trim()] as const).filter(([, value]) => value),
  );
}
