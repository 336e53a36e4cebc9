/** Sends one event, signed in the form of Standard Webhooks or as a text for a chat. Every outcome is a value. */

import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import type { LookupFunction } from 'node:net';
import { askedWaitMs, type RetryOutcome, type SendOutcome } from '../../github/github-answer.ts';
import { describeSilence } from '../../github/github-client.ts';
import {
  checkOutsideUrl,
  type OutsideAnswer,
  PrivateAddressError,
  type Resolve,
  requestOutside,
} from '../../github/outside-request.ts';
import type { RemoteUrlRules } from '../../runs/texts/remote-url.ts';
import { HOUR, SECOND } from '../../units.ts';

interface EventMessage {
  url: string;
  /** The operator's own address may be any address. An address from a request must obey the rules. */
  isOperators: boolean;
  /** The id is the same for each try. */
  id: string;
  /** JSON. */
  body: string;
  signal: AbortSignal;
}

/** Sends an event. Never throws: the outcome says what went wrong and when to try again. */
export type SendEvent = (message: EventMessage) => Promise<SendOutcome>;

export interface EventWebhookOptions {
  /** `whsec_` and base64. */
  secret: string;
  /** The protocols and hosts that requests may name. */
  rules: Omit<RemoteUrlRules, 'what'>;
  /** Our own version, for the User-Agent. */
  version: string;
  timeoutMs?: number;
  /** The most tries of an event that the receiver calls wrong (4xx). Left out: it is tried for a day, like all others. */
  maxTriesOfWrong?: number;
  clock?: () => number;
  /** Looks up the addresses of a name. */
  resolve?: Resolve;
}

const TIMEOUT_MS = 10 * SECOND;
const FIRST_PAUSE_MS = 5 * SECOND;
/** This many tries take a day, because the pauses double up to LONGEST_PAUSE_MS. */
const MAX_TRIES = 19;
export const LONGEST_PAUSE_MS = 3 * HOUR;

export function createEventWebhook(options: EventWebhookOptions): SendEvent {
  const { clock = Date.now } = options;
  const key = createSecretKey(Buffer.from(options.secret.replace(/^whsec_/, ''), 'base64'));
  return async ({ url, isOperators, id, body, signal }) => {
    const place = isOperators ? { ok: true as const, url } : checkCallback(url, options);
    if (!place.ok) return { kind: 'refused', problem: place.problem };
    const timestamp = Math.floor(clock() / SECOND);
    const headers = {
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signature(key, `${id}.${timestamp}.${body}`),
    };
    return post(place, { headers, body, signal }, options);
  };
}

/** Sends texts to an address of the operator that takes those of Slack, whose path is the secret: nothing is signed. */
export function createChatWebhook(options: Omit<EventWebhookOptions, 'secret' | 'rules'>): SendEvent {
  return ({ url, body, signal }) => post({ url }, { headers: {}, body, signal }, options);
}

interface Post extends Pick<EventMessage, 'body' | 'signal'> {
  headers: Readonly<Record<string, string>>;
}

type PostOptions = Pick<EventWebhookOptions, 'version' | 'timeoutMs' | 'maxTriesOfWrong'>;

async function post(
  { url, lookup }: { url: string; lookup?: LookupFunction },
  { headers, body, signal }: Post,
  { version, timeoutMs = TIMEOUT_MS, maxTriesOfWrong = MAX_TRIES }: PostOptions,
): Promise<SendOutcome> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const { host } = new URL(url);
  try {
    const answer = await requestOutside(url, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', 'user-agent': `iac-runner/${version}`, ...headers },
      signal: AbortSignal.any([signal, timeout]),
      lookup,
    });
    const outcome = classifyAnswer(answer, host);
    const isWrong = answer.status >= 400 && answer.status < 500 && answer.status !== 429;
    return outcome.kind === 'retry' && isWrong ? { ...outcome, maxTries: maxTriesOfWrong } : outcome;
  } catch (error) {
    if (error instanceof PrivateAddressError) return { kind: 'refused', problem: error.message };
    const reason = timeout.aborted ? `no answer within ${timeoutMs / SECOND} s` : describeSilence(error);
    return failedTry(`${host} did not answer (${reason}).`);
  }
}

/** https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme */
function signature(key: KeyObject, content: string): string {
  return `v1,${createHmac('sha256', key).update(content).digest('base64')}`;
}

/** The rules may have changed since the address was accepted. */
function checkCallback(url: string, { rules, resolve }: EventWebhookOptions) {
  const protocols = ['https', ...rules.protocols.filter((name) => name === 'http')];
  return checkOutsideUrl(url, { protocols, hosts: rules.hosts, what: 'callback_url' }, resolve);
}

/** The status decides, even if the rest of the answer broke off. Redirects are answers like others. */
function classifyAnswer({ status, headers }: OutsideAnswer, host: string): SendOutcome {
  if (status >= 200 && status < 300) return { kind: 'ok' };
  const said = `${host} answered HTTP ${status}`;
  if (status === 410) return { kind: 'refused', problem: `${said}: it wants no more of these.` };
  if (status >= 300 && status < 400) return failedTry(`${said}; redirects are not followed.`);
  const askedMs = status === 429 || status >= 500 ? askedWaitMs(headers) : null;
  if (askedMs === null) return failedTry(`${said}.`);
  return { ...failedTry(`${said}.`), scope: 'everything', afterMs: Math.max(FIRST_PAUSE_MS, askedMs) };
}

/** Such an event is tried again for a day. */
export function failedTry(problem: string): RetryOutcome {
  return { kind: 'retry', scope: 'target', afterMs: FIRST_PAUSE_MS, maxTries: MAX_TRIES, problem };
}
