/** Sends one signed event in the Standard Webhooks form; every outcome is a value. */

import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { askedWaitMs, type SendOutcome } from '../../github/github-answer.ts';
import { describeSilence } from '../../github/github-client.ts';
import { createPublicLookup, PrivateAddressError, type Resolve } from '../../github/public-lookup.ts';
import { checkRemoteUrl } from '../../runs/texts/remote-url.ts';

interface EventMessage {
  url: string;
  /** The operator's own address may be any; one from a request is held to the rules. */
  isOperators: boolean;
  /** The same for each try. */
  id: string;
  /** JSON. */
  body: string;
  signal: AbortSignal;
}

export interface EventWebhookClient {
  /** Never throws: what went wrong, and when to try again, is in the outcome. */
  send(message: EventMessage): Promise<SendOutcome>;
}

export interface EventWebhookClientOptions {
  /** `whsec_` and base64. */
  secret: string;
  /** What requests may name: URLs with these schemes and hosts. */
  rules: { protocols: readonly string[]; hosts: readonly string[] };
  /** Our own version, for the User-Agent. */
  version: string;
  timeoutMs?: number;
  clock?: () => number;
  /** How names are looked up. */
  resolve?: Resolve;
}

interface Answer {
  status: number;
  headers: Record<string, string>;
}

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;
const FIRST_PAUSE_MS = 5_000;
/** With pauses that double up to LONGEST_PAUSE_MS these take a day. */
const MAX_TRIES = 19;
export const LONGEST_PAUSE_MS = 3 * 3_600_000;

const resolveAll: Resolve = (host) => lookup(host, { all: true });

export function createEventWebhookClient(options: EventWebhookClientOptions): EventWebhookClient {
  const { rules, version, timeoutMs = TIMEOUT_MS, clock = Date.now, resolve = resolveAll } = options;
  const key = createSecretKey(Buffer.from(options.secret.replace(/^whsec_/, ''), 'base64'));
  const publicLookup = createPublicLookup(resolve);
  return {
    async send({ url, isOperators, id, body, signal }) {
      const place = isOperators ? { url, lookup: undefined } : checkedPlace(url, rules, publicLookup);
      if (typeof place === 'string') return { kind: 'refused', problem: place };
      const timestamp = Math.floor(clock() / 1_000);
      const timeout = AbortSignal.timeout(timeoutMs);
      const { host } = new URL(place.url);
      try {
        const answer = await post(place.url, body, {
          headers: {
            'content-type': 'application/json',
            'user-agent': `iac-runner/${version}`,
            'webhook-id': id,
            'webhook-timestamp': String(timestamp),
            'webhook-signature': signature(key, `${id}.${timestamp}.${body}`),
          },
          signal: AbortSignal.any([signal, timeout]),
          ...(place.lookup && { lookup: place.lookup }),
        });
        return judge(answer, host);
      } catch (error) {
        if (error instanceof PrivateAddressError) return { kind: 'refused', problem: error.message };
        const reason = timeout.aborted ? `no answer within ${timeoutMs / 1_000} s` : describeSilence(error);
        return failedTry(`${host} did not answer (${reason}).`);
      }
    },
  };
}

/** https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme */
function signature(key: KeyObject, content: string): string {
  return `v1,${createHmac('sha256', key).update(content).digest('base64')}`;
}

/** The problem when the address may not be asked. Rules may have changed since it was accepted. */
function checkedPlace(
  text: string,
  rules: EventWebhookClientOptions['rules'],
  publicLookup: LookupFunction,
): { url: string; lookup: LookupFunction | undefined } | string {
  const protocols = ['https', ...rules.protocols.filter((name) => name === 'http')];
  const checked = checkRemoteUrl(text, { protocols, hosts: rules.hosts, what: 'callback_url' });
  if (!checked.ok) return checked.problem;
  return { url: checked.url, lookup: checked.isListed ? undefined : publicLookup };
}

/** On a connection of its own, so that each is looked up anew. Redirects are answers like others. */
function post(url: string, body: string, options: RequestOptions): Promise<Answer> {
  const open = url.startsWith('https:') ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = open(url, { ...options, method: 'POST', agent: false });
    request.on('error', reject);
    request.on('response', (response) => {
      const headers = Object.fromEntries(
        Object.entries(response.headers).map(([name, value]) => [name, String(value)]),
      );
      const answer = { status: response.statusCode ?? 0, headers };
      // The status says it all, also when the rest breaks off or the time is up.
      request.on('error', () => resolve(answer)).off('error', reject);
      discard(response, () => resolve(answer));
    });
    request.end(body);
  });
}

/** Reads what else there is, so that the receiver may finish in peace. */
function discard(response: IncomingMessage, done: () => void): void {
  let bytes = 0;
  response.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) response.destroy();
  });
  response.on('error', () => undefined);
  response.on('close', done);
}

function judge({ status, headers }: Answer, host: string): SendOutcome {
  if (status >= 200 && status < 300) return { kind: 'ok' };
  const said = `${host} answered HTTP ${status}`;
  if (status === 410) return { kind: 'refused', problem: `${said}: it wants no more of these.` };
  if (status >= 300 && status < 400) return failedTry(`${said}; redirects are not followed.`);
  const askedMs = status === 429 || status >= 500 ? askedWaitMs(headers) : null;
  if (askedMs === null) return failedTry(`${said}.`);
  return { ...failedTry(`${said}.`), scope: 'everything', afterMs: Math.max(FIRST_PAUSE_MS, askedMs) };
}

/** Tried again for a day. */
export function failedTry(problem: string): Extract<SendOutcome, { kind: 'retry' }> {
  return { kind: 'retry', scope: 'target', afterMs: FIRST_PAUSE_MS, maxTries: MAX_TRIES, problem };
}
