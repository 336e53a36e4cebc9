/** Reads the bodies of /webhook and /sync: raw bytes → signature → JSON, each refusal with its status. */

import type { Context } from 'hono';
import { RequestError } from '../errors.ts';
import { hasSignatureForm, isSigned, type Secret } from './signature.ts';

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** Bounds the senders who have not proved who they are. */
export interface Gate {
  /** Reads the whole body. Throws RequestError 413, 503 or 400. */
  readBody(context: Context, maxBytes: number): Promise<Uint8Array>;
  /** Notes that the sender proved who they are. */
  verified(context: Context): void;
  /** Notes that the credential was wrong; returns the error to answer with, 401 or 429. */
  failed(context: Context, credential: 'signature' | 'pubsub_token', message: string): RequestError;
}

export interface SignedBodyOptions {
  secrets: readonly Secret[];
  gate: Gate;
  maxBytes: number;
  /** The text that is signed before the body, if there is one. */
  prefix?: string | undefined;
}

/**
 * Resolves to the JSON of a request whose signature over the raw bytes is right. Throws RequestError 401, 413, 415,
 * 429, 503 or 400.
 */
export async function readSignedJson(context: Context, options: SignedBodyOptions): Promise<unknown> {
  const { secrets, gate, maxBytes, prefix } = options;
  const body = await gate.readBody(context, maxBytes);
  const signed = prefix === undefined ? body : Buffer.concat([Buffer.from(prefix), body]);
  const signature = context.req.header('x-hub-signature-256');
  if (!isSigned(secrets, signed, signature)) throw refusal(context, gate, signature);
  gate.verified(context);
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

/** A header without the form of a signature is no attempt to guess the secret, so it does not count as a failure. */
function refusal(context: Context, gate: Gate, signature: string | undefined): RequestError {
  const message = 'Invalid signature';
  return hasSignatureForm(signature)
    ? gate.failed(context, 'signature', message)
    : new RequestError(401, message);
}

function parseJson(body: Uint8Array): unknown {
  try {
    // The decoder also drops a byte order mark, which JSON.parse refuses.
    return JSON.parse(UTF8.decode(body));
  } catch (cause) {
    throw new RequestError(400, 'The body is not valid JSON', { cause });
  }
}
