/** The door of /webhook and /sync: raw bytes → signature → JSON, each refusal with its status. */

import type { Context } from 'hono';
import { RequestError } from '../errors.ts';
import { hasSignatureForm, isSigned, type Secret } from './signature.ts';

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** What bounds those who have not proved who they are. */
export interface Gate {
  /** The whole body. Throws RequestError 413, 503 or 400. */
  readBody(context: Context, maxBytes: number): Promise<Uint8Array>;
  /** The sender proved who they are. */
  verified(context: Context): void;
  /** Notes that the credential was wrong; returns the error to answer with. */
  failed(context: Context, credential: 'signature', message: string): RequestError;
}

export interface Door {
  secrets: readonly Secret[];
  gate: Gate;
  maxBytes: number;
  /** What is signed besides the body; undefined when the body alone is. */
  prefix?: string | undefined;
}

/** The request's JSON, once its signature over the raw bytes holds. Throws RequestError 401, 413, 415, 429, 503 or 400. */
export async function readSignedJson(context: Context, door: Door): Promise<unknown> {
  const body = await door.gate.readBody(context, door.maxBytes);
  const signed = door.prefix === undefined ? body : Buffer.concat([Buffer.from(door.prefix), body]);
  const signature = context.req.header('x-hub-signature-256');
  if (!isSigned(door.secrets, signed, signature)) throw refusal(context, door.gate, signature);
  door.gate.verified(context);
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

/** Only what has the form of a signature is an attempt to pass for somebody who knows the secret. */
function refusal(context: Context, gate: Gate, signature: string | undefined): RequestError {
  const message = 'Invalid signature';
  return hasSignatureForm(signature)
    ? gate.failed(context, 'signature', message)
    : new RequestError(401, message);
}

function parseJson(body: Uint8Array): unknown {
  try {
    // Also drops a byte order mark, which JSON.parse refuses.
    return JSON.parse(UTF8.decode(body));
  } catch (cause) {
    throw new RequestError(400, 'The body is not valid JSON', { cause });
  }
}
