/** The door of /webhook and /sync: raw bytes → signature → JSON, each refusal with its status. */

import type { Context } from 'hono';
import { RequestError } from '../errors.ts';
import { isSigned, type Secret } from './signature.ts';

const UTF8 = new TextDecoder('utf-8', { fatal: true });

export interface Door {
  secrets: readonly Secret[];
  /** What is signed besides the body; undefined when the body alone is. */
  prefix?: string | undefined;
}

/** The request's JSON, once its signature over the raw bytes holds. Throws RequestError 401, 415 or 400. */
export async function readSignedJson(context: Context, door: Door): Promise<unknown> {
  const body = Buffer.from(await context.req.arrayBuffer());
  const signed = door.prefix === undefined ? body : Buffer.concat([Buffer.from(door.prefix), body]);
  if (!isSigned(door.secrets, signed, context.req.header('x-hub-signature-256'))) {
    throw new RequestError(401, 'Invalid signature');
  }
  const type = context.req.header('content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new RequestError(
      415,
      'The body must be application/json: choose that as "Content type" in the webhook\'s settings on GitHub',
    );
  }
  const encoding = context.req.header('content-encoding') ?? 'identity';
  if (encoding !== 'identity') throw new RequestError(415, 'The body must not be compressed');
  return parseJson(body);
}

function parseJson(body: Buffer): unknown {
  try {
    // Also drops a byte order mark, which JSON.parse refuses.
    return JSON.parse(UTF8.decode(body));
  } catch (cause) {
    throw new RequestError(400, 'The body is not valid JSON', { cause });
  }
}
