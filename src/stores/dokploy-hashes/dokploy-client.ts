/** The three requests to Dokploy's API that config hashes need, bounded in time and size. */

import { z } from 'zod';
import { RunnerError } from '../../errors.ts';
import { type Projects, projectsSchema } from './places.ts';

export interface DokployClient {
  projects(signal: AbortSignal): Promise<Projects>;
  /** The environment text of a compose service; null counts as empty. */
  environmentOf(composeId: string, signal: AbortSignal): Promise<string>;
  saveEnvironment(composeId: string, env: string, signal: AbortSignal): Promise<void>;
}

export interface DokployClientOptions {
  /** The address with the path of the API, without a final slash: `https://cloud.example.com/api`. */
  url: string;
  apiKey: string;
  timeoutMs?: number;
}

/** Thrown if Dokploy gave no usable answer. The message is one line, without the key or any contents. */
export class DokployError extends RunnerError {
  /** The HTTP status, or null when there was no whole answer. */
  readonly status: number | null;

  constructor(status: number | null, message: string, options: { nextAction?: string } = {}) {
    super(message, options);
    this.status = status;
  }
}

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

const composeSchema = z.object({ composeId: z.string(), env: z.string().nullish() });
/**
 * The error code that tRPC sends beside the status (https://trpc.io/docs/server/error-handling). No other part of its
 * answer is shown.
 */
const errorSchema = z.object({ code: z.string().regex(/^[A-Z_]{1,40}$/) });

export function createDokployClient(options: DokployClientOptions): DokployClient {
  const { url, apiKey, timeoutMs = TIMEOUT_MS } = options;
  const api: Api = { url, host: new URL(url).host, apiKey, timeoutMs };
  return {
    async projects(signal) {
      return parseAnswer(
        projectsSchema,
        await request(api, { procedure: 'project.all' }, signal),
        'project.all',
      );
    },
    async environmentOf(composeId, signal) {
      const query = `?${new URLSearchParams({ composeId })}`;
      const answer = await request(api, { procedure: 'compose.one', query }, signal);
      const compose = parseAnswer(composeSchema, answer, 'compose.one');
      if (compose.composeId === composeId) return compose.env ?? '';
      throw new DokployError(null, 'Dokploy answered compose.one with another compose service.');
    },
    async saveEnvironment(composeId, env, signal) {
      await request(api, { procedure: 'compose.update', body: { composeId, env } }, signal);
    },
  };
}

interface Api {
  url: string;
  host: string;
  apiKey: string;
  timeoutMs: number;
}

/** Calls a procedure of the API: with POST if there is a body, else with GET. */
async function request(
  { url, host, apiKey, timeoutMs }: Api,
  { procedure, query = '', body }: { procedure: string; query?: string; body?: object },
  signal: AbortSignal,
): Promise<unknown> {
  const timeout = AbortSignal.timeout(timeoutMs);
  let text: string;
  let status: number;
  try {
    const response = await fetch(`${url}/${procedure}${query}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        accept: 'application/json',
        'x-api-key': apiKey,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      // The key must not reach any other address.
      redirect: 'manual',
      signal: AbortSignal.any([signal, timeout]),
    });
    status = response.status;
    text = await readBounded(response);
  } catch (error) {
    signal.throwIfAborted();
    const reason = timeout.aborted ? `no answer within ${timeoutMs / 1_000} s` : codeOf(error);
    throw new DokployError(null, `Dokploy at ${host} did not answer ${procedure}: ${reason}.`);
  }
  if (status >= 200 && status < 300) return parseJson(text, procedure);
  throw refusalError(status, text, procedure, host);
}

async function readBounded({ body }: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error('too large');
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Returns only codes, because messages of fetch can contain the address with everything in it. */
function codeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (!(cause instanceof Error)) return 'failed';
  if ('code' in cause && typeof cause.code === 'string' && /^[A-Z0-9_]+$/.test(cause.code)) return cause.code;
  return cause.message === 'too large' ? 'more than 32 MiB' : 'the connection failed';
}

function refusalError(status: number, text: string, procedure: string, host: string): DokployError {
  const code = errorSchema.safeParse(safeJson(text)).data?.code;
  const message = `Dokploy at ${host} answered ${status}${code ? ` ${code}` : ''} to ${procedure}.`;
  if (status === 401 || status === 403) {
    return new DokployError(status, message, { nextAction: 'Check DOKPLOY_API_KEY and its permissions.' });
  }
  if (status >= 300 && status < 400) {
    return new DokployError(status, message, {
      nextAction: 'Set DOKPLOY_URL to the address that it redirects to.',
    });
  }
  return new DokployError(status, message);
}

function parseJson(text: string, procedure: string): unknown {
  const parsed = safeJson(text);
  if (parsed !== undefined) return parsed;
  throw new DokployError(null, `Dokploy's answer to ${procedure} is not JSON.`, {
    nextAction: 'Check that DOKPLOY_URL ends in the path of its API.',
  });
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function parseAnswer<Schema extends z.ZodType>(
  schema: Schema,
  answer: unknown,
  procedure: string,
): z.output<Schema> {
  const result = schema.safeParse(answer);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue && issue.path.length > 0 ? ` (at ${issue.path.map(String).join('.')})` : '';
  throw new DokployError(null, `Dokploy's answer to ${procedure} is not understood${where}.`);
}
