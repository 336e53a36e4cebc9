/** Signs and delivers webhooks as GitHub does, and can deliver the same bytes again. */

import { createHmac, randomUUID } from 'node:crypto';
import { buildPushPayload, type Push } from './push-payload.ts';

/** GitHub gives up after 10 s and does not try again by itself. */
const ANSWER_LIMIT_MS = 10_000;

export interface Delivery {
  /** The value of X-GitHub-Delivery. A redelivery keeps it. */
  deliveryId: string;
  event: string;
  /** The time of the attempt, in milliseconds since the epoch. */
  at: number;
  /** Null if there was no answer in time. */
  status: number | null;
  headers: Headers;
  /** The parsed answer, or its text if it is no JSON, or the problem if there was no answer. */
  body: unknown;
  durationMs: number;
}

export interface Message {
  url: string;
  secret: string;
  event: string;
  /** A string or bytes are sent unchanged, everything else as JSON. */
  payload: unknown;
  /** Added to the headers that GitHub sends, or in place of them. */
  headers?: Record<string, string>;
  deliveryId?: string;
}

type PushMessage = Push & Omit<Message, 'event' | 'payload'>;

export interface WebhookSender {
  /** All attempts so far, oldest first, including failed ones. */
  deliveries: Delivery[];
  deliver(message: Message): Promise<Delivery>;
  deliverPush(push: PushMessage): Promise<Delivery>;
  /** Sends the same bytes with the same id, as the Redeliver button does. */
  redeliver(deliveryId: string): Promise<Delivery>;
}

interface SentRequest {
  event: string;
  url: string;
  headers: Record<string, string>;
  body: Uint8Array<ArrayBuffer>;
}

export function createWebhookSender(): WebhookSender {
  const sent = new Map<string, SentRequest>();
  const deliveries: Delivery[] = [];

  async function send(deliveryId: string, request: SentRequest): Promise<Delivery> {
    sent.set(deliveryId, request);
    const delivery = await post(deliveryId, request);
    deliveries.push(delivery);
    return delivery;
  }

  function deliver(message: Message): Promise<Delivery> {
    const deliveryId = message.deliveryId ?? randomUUID();
    const body = toBytes(message.payload);
    const headers = { ...githubHeaders(message, body, deliveryId), ...message.headers };
    return send(deliveryId, { event: message.event, url: message.url, headers, body });
  }

  return {
    deliveries,
    deliver,
    async deliverPush(push) {
      return deliver({ ...push, event: 'push', payload: await buildPushPayload(push) });
    },
    async redeliver(deliveryId) {
      const request = sent.get(deliveryId);
      if (!request) throw new Error(`No delivery ${deliveryId} was ever sent.`);
      return send(deliveryId, request);
    },
  };
}

/** Returns `sha256=…` over exactly these bytes: the value of X-Hub-Signature-256. */
export function signBody(secret: string, body: string | Uint8Array): string {
  return `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
}

function toBytes(payload: unknown): Uint8Array<ArrayBuffer> {
  if (payload instanceof Uint8Array) return new Uint8Array(payload);
  return new TextEncoder().encode(typeof payload === 'string' ? payload : JSON.stringify(payload));
}

function githubHeaders(message: Message, body: Uint8Array, deliveryId: string): Record<string, string> {
  return {
    Accept: '*/*',
    'Content-Type': 'application/json',
    'User-Agent': 'GitHub-Hookshot/2c5bf97',
    'X-GitHub-Delivery': deliveryId,
    'X-GitHub-Event': message.event,
    'X-GitHub-Hook-ID': '292430182',
    'X-GitHub-Hook-Installation-Target-ID': '186853002',
    'X-GitHub-Hook-Installation-Target-Type': 'repository',
    'X-Hub-Signature': `sha1=${createHmac('sha1', message.secret).update(body).digest('hex')}`,
    'X-Hub-Signature-256': signBody(message.secret, body),
  };
}

async function post(deliveryId: string, { event, url, headers, body }: SentRequest): Promise<Delivery> {
  const attempt = { deliveryId, event, at: Date.now() };
  const startedAt = performance.now();
  const took = (): number => Math.round(performance.now() - startedAt);
  try {
    const signal = AbortSignal.timeout(ANSWER_LIMIT_MS);
    const response = await fetch(url, { method: 'POST', headers, body, signal, redirect: 'manual' });
    const answer = parseBody(await response.text());
    return {
      ...attempt,
      status: response.status,
      headers: response.headers,
      body: answer,
      durationMs: took(),
    };
  } catch (error) {
    return { ...attempt, status: null, headers: new Headers(), body: String(error), durationMs: took() };
  }
}

/** Returns the parsed JSON, or the text if it is no JSON. */
export function parseBody(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
