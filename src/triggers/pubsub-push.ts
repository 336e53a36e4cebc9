/** POST /pubsub/push: an authenticated message becomes a plan or is set aside, stored before the answer. */

import type { Context, Handler } from 'hono';
import { z } from 'zod';
import { RequestError } from '../errors.ts';
import { enqueuePlan } from '../runs/enqueue.ts';
import type { RunStore } from '../runs/run-store.ts';
import type { VerifyBearer } from './oidc.ts';
import { type PlanRequestRules, parsePlanRequest } from './plan-request.ts';
import { sealPlanSecrets } from './plan-secrets.ts';

export interface PubsubPushOptions extends PlanRequestRules {
  store: RunStore;
  /** Null: the endpoint is off. `verify` null: anybody may push. */
  pubsub: { verify: VerifyBearer | null } | null;
  seal(text: string): string;
  log: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
}

const MAX_BODY_BYTES = 1024 * 1024;
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
  const { pubsub } = options;
  return async function pubsubPush(context) {
    if (pubsub === null)
      throw new RequestError(
        404,
        'Nothing is at /pubsub/push: PUBSUB_AUDIENCE and PUBSUB_SERVICE_ACCOUNT are not set',
      );
    await pubsub.verify?.(context.req.header('authorization'));
    const body = await readBounded(context);
    await (body === null
      ? setAside(options, null, 'The message is larger than 1 MiB')
      : take(options, parseJson(body)));
    return context.body(null, 204);
  };
}

/** Notes that a token was refused; returns the error to answer with, 401 or 429. */
export interface TokenGate {
  failed(context: Context, credential: 'pubsub_token', message: string): RequestError;
}

/** Counts the refused tokens of an address. A good token is taken from any address, however often others were refused. */
export function countRefusedTokens(gate: TokenGate, push: Handler): Handler {
  return async (context, next) => {
    try {
      return await push(context, next);
    } catch (error) {
      const isRefused = error instanceof RequestError && error.status === 401;
      if (!isRefused || !context.req.header('authorization')) throw error;
      throw gate.failed(context, 'pubsub_token', error.message);
    }
  };
}

/** Throws StoreUnavailableError: only then is the message to come again. */
async function take(options: PubsubPushOptions, body: unknown): Promise<void> {
  const envelope = envelopeSchema.safeParse(body);
  if (!envelope.success) return setAside(options, null, 'The body is not a Pub/Sub push message');
  const { message, subscription } = envelope.data;
  const messageId = message.messageId ?? null;
  const parsed = parsePlanRequest(parseJson(Buffer.from(message.data, 'base64')), options);
  if (!parsed.ok) return setAside(options, messageId, parsed.problem);
  const { input, token } = parsed;
  const { run, created } = await enqueuePlan(options.store, {
    trigger: { source: 'pubsub', deliveryId: messageId },
    input,
    dedupeKey: messageId && `pubsub:${subscription ?? ''}:${messageId}`,
    sealed: sealPlanSecrets({ token }, options.seal),
    delivery: {
      event: 'pubsub',
      detail: `Plan of ${input.repository}#${input.pullRequest} at ${input.revision.slice(0, 8)}`,
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

/** Null for more than we take. Pub/Sub would send again whatever is answered with a 413. */
async function readBounded(context: Context): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of context.req.raw.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Undefined for what is no JSON. */
function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(UTF8.decode(bytes));
  } catch {
    return undefined;
  }
}
