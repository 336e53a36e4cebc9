/** Fetches the token of the private registry for one run. */

import { z } from 'zod';
import { parseJson } from '../../../parse-json.ts';

type RegistryToken = { token: string } | { problem: string };

interface TokenRequest {
  signal: AbortSignal;
  /** For all requests together; default 10 s. */
  timeoutMs?: number;
}

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 64 * 1024;
const MAX_REDIRECTS = 3;

/** The characters that a header can carry. No known token is this long. */
const answerSchema = z.object({ token: z.string().regex(/^[\x21-\x7e]{1,16384}$/) });

/**
 * `GET <url>/api/internal/registry-token` is answered by `{"token": "…"}`. Never throws, because a run continues
 * without a token, and its log says why. The problem is one sentence and quotes nothing of the answer.
 */
export async function fetchRegistryToken(url: string, request: TokenRequest): Promise<RegistryToken> {
  const timeoutMs = request.timeoutMs ?? TIMEOUT_MS;
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([request.signal, timeout]);
  const host = URL.parse(url)?.host ?? 'the registry';
  try {
    return await ask(new URL(`${url}/api/internal/registry-token`), signal);
  } catch (error) {
    if (timeout.aborted) return { problem: `${host} did not answer within ${timeoutMs / 1_000} s.` };
    if (request.signal.aborted) return { problem: 'The run was ended.' };
    return { problem: `${host} cannot be reached: ${causeOf(error)}.` };
  }
}

async function ask(first: URL, signal: AbortSignal): Promise<RegistryToken> {
  let url = first;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const response = await fetch(url, {
      signal,
      redirect: 'manual',
      headers: { Accept: 'application/json' },
    });
    const target = response.status >= 300 && response.status < 400 ? response.headers.get('location') : null;
    if (target === null) return await read(response, first.host);
    await response.body?.cancel();
    const next = URL.parse(target, url.href);
    // Nothing is sent to another host, or without TLS.
    if (next?.host !== first.host || next.protocol !== first.protocol) {
      return { problem: `${first.host} redirects to another host.` };
    }
    url = next;
  }
  return { problem: `${first.host} redirects without end.` };
}

async function read(response: Response, host: string): Promise<RegistryToken> {
  if (!response.ok) {
    await response.body?.cancel();
    return { problem: `${host} answered ${response.status}.` };
  }
  const text = await bounded(response);
  if (text === null) return { problem: `${host} answered with more than ${MAX_BYTES} bytes.` };
  const answer = answerSchema.safeParse(parseJson(text));
  return answer.success ? answer.data : { problem: `${host} answered without a token.` };
}

async function bounded(response: Response): Promise<string | null> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function causeOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error;
  if (cause instanceof Error && 'code' in cause) return String(cause.code);
  return cause instanceof Error ? cause.message : 'unknown';
}
