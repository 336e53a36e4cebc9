/** POST /pubsub/push: an authenticated message becomes a plan or is set aside; either is stored before the answer. */

import type { Context, Handler } from 'hono';
import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { MEBIBYTE } from '../../units.ts';
import type { Gate } from '../signed-body.ts';
import type { VerifyBearer } from './oidc.ts';
import { type PlanRequestRules, parsePlanRequest } from './plan-request.ts';
import { sealPlanSecrets } from './plan-secrets.ts';

export interface PubsubPushOptions extends PlanRequestRules {
  store: RunStore;
  /** Null if the endpoint is off. `verify` is null if anybody may push. */
  pubsub: { verify: VerifyBearer | null } | null;
  gate: Gate;
  seal(text: string): string;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

const IS_OFF = 'There is nothing at /pubsub/push: PUBSUB_AUDIENCE and PUBSUB_SERVICE_ACCOUNT are not set';
const MAX_BODY_BYTES = MEBIBYTE;
const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** https://cloud.google.com/pubsub/docs/push#receive_push */
const envelopeSchema = z.object({
  message: z.object({
    data: z.string().regex(/^[A-Za-z0-9+/_-]+={0,2}$/),
    messageId: z
      .string()
      .regex(/^[\w.:-]{1,128}$/)
      .nullish(),
  }),
  subscription: z.string().max(300).nullish(),
});

export function createPubsubPush(options: PubsubPushOptions): Handler {
  const { pubsub, gate } = options;
  return async function pubsubPush(context) {
    if (pubsub === null) throw new RequestError(404, IS_OFF);
    if (pubsub.verify) await requireToken(pubsub.verify, gate, context);
    const body = await readBounded(gate, context);
    await (body === null
      ? setAside(options, null, 'The message is larger than 1 MiB')
      : take(options, parseJson(body)));
    return context.body(null, 204);
  };
}

/**
 * Counts the refused tokens of an address. A good token is accepted from any address, however many were refused
 * there.
 */
async function requireToken(verify: VerifyBearer, gate: Gate, context: Context): Promise<void> {
  const authorization = context.req.header('authorization');
  try {
    await verify(authorization);
  } catch (error) {
    const isRefused = error instanceof RequestError && error.status === 401;
    throw isRefused && authorization ? gate.failed(context, 'pubsub_token', error.message) : error;
  }
  gate.verified(context);
}

/** Throws StoreUnavailableError; only then does Pub/Sub have to send the message again. */
async function take(options: PubsubPushOptions, body: unknown): Promise<void> {
  const envelope = envelopeSchema.safeParse(body);
  if (!envelope.success) return setAside(options, null, 'The body is not a Pub/Sub push message');
  const { message, subscription } = envelope.data;
  const messageId = message.messageId ?? null;
  const parsed = parsePlanRequest(parseJson(Buffer.from(message.data, 'base64')), options);
  if (!parsed.ok) return setAside(options, messageId, parsed.problem);
  const { input, token } = parsed;
  const { run, created } = await enqueueRun(options.store, 'plan', {
    trigger: { source: 'pubsub', deliveryId: messageId },
    input,
    dedupeKey: messageId && `pubsub:${subscription ?? ''}:${messageId}`,
    sealed: sealPlanSecrets({ token }, options.seal),
    delivery: {
      event: 'pubsub',
      detail: `Plan of ${input.repository}#${input.pullRequest} at ${shortCommit(input.revision)}`,
    },
  });
  options.log.info({ runId: run.id, messageId, created }, 'plan request taken');
}

async function setAside(
  options: PubsubPushOptions,
  messageId: string | null,
  problem: string,
): Promise<void> {
  await options.store.recordDelivery({
    deliveryId: messageId,
    event: 'pubsub',
    decision: 'refused',
    detail: problem,
    runId: null,
    request: null,
  });
  options.log.warn({ messageId, problem }, 'Pub/Sub message set aside');
}

/** Resolves to null for a body over the limit. Pub/Sub would send it again after a 413. */
async function readBounded(gate: Gate, context: Context): Promise<Uint8Array | null> {
  try {
    return await gate.readBody(context, MAX_BODY_BYTES);
  } catch (error) {
    if (error instanceof RequestError && error.status === 413) return null;
    throw error;
  }
}

/** Returns undefined if the bytes are not JSON. */
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(UTF8.decode(bytes));
  } catch {
    return undefined;
  }
}
