/** Speaks to a running server as its callers do: reads runs with a token and posts with a signature. */

import { z } from 'zod';
import { API_TOKENS, WEBHOOK_SECRET } from './runner-environment.ts';
import { PATIENCE_MS, until } from './until.ts';
import { parseBody, signBody } from './webhook-sender.ts';

export interface Answer {
  status: number;
  headers: Headers;
  /** The parsed JSON, or the text if it is no JSON. */
  body: unknown;
}

const stepSchema = z.looseObject({
  id: z.string(),
  state: z.string(),
  message: z.string(),
  exit_code: z.number().nullable(),
});
const runSchema = z.looseObject({
  run_id: z.string(),
  state: z.string(),
  reason: z.string().nullable(),
  message: z.string(),
  revision: z.string().nullable(),
  covered_by: z.string().nullable(),
  attempt: z.number(),
  url: z.string(),
});
const runDetailsSchema = runSchema.extend({ steps: z.array(stepSchema) });
const runListSchema = z.looseObject({ runs: z.array(runSchema) });

export type ListedRun = z.infer<typeof runSchema>;
export type DetailedRun = z.infer<typeof runDetailsSchema>;

/** The final states of a run. */
const FINAL = new Set(['succeeded', 'failed', 'errored', 'cancelled', 'timed_out', 'superseded']);

export interface RunnerClient {
  /** Uses the viewer's token by default, or another token, or none if the token is null. */
  getJson(path: string, token?: string | null): Promise<Answer>;
  /** Posts JSON, signed as GitHub signs. A string or bytes are sent unchanged. */
  signedPost(
    path: string,
    body: unknown,
    options?: { secret?: string; headers?: Record<string, string> },
  ): Promise<Answer>;
  runs(): Promise<ListedRun[]>;
  /**
   * Waits until the run with this id, or the newest run that matches, has the state. `final` means any final state. If a
   * newer run covers it, that one is waited for: a server that looks at the branch may see a push before its delivery
   * arrives. Throws as soon as the run ends in another state, and after `timeoutMs`.
   */
  waitForRun(
    which: string | ((run: ListedRun) => boolean),
    state: string,
    options?: { timeoutMs?: number },
  ): Promise<DetailedRun>;
}

/** `url` returns the server's address for each call, because the server may be restarted. */
export function createRunnerClient(url: () => string): RunnerClient {
  async function getJson(path: string, token: string | null = API_TOKENS.viewer): Promise<Answer> {
    const authorization: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
    const headers = { accept: 'application/json', ...authorization };
    return readAnswer(
      await fetch(url() + path, { headers, redirect: 'manual', signal: AbortSignal.timeout(PATIENCE_MS) }),
    );
  }

  async function runs(): Promise<ListedRun[]> {
    return runListSchema.parse((await getJson('/runs')).body).runs;
  }

  async function details(id: string): Promise<DetailedRun | null> {
    const answer = await getJson(`/runs/${id}`);
    return answer.status === 404 ? null : runDetailsSchema.parse(answer.body);
  }

  return {
    getJson,
    runs,
    async signedPost(path, body, { secret = WEBHOOK_SECRET, headers = {} } = {}) {
      const bytes =
        body instanceof Uint8Array || typeof body === 'string'
          ? Buffer.from(body)
          : Buffer.from(JSON.stringify(body));
      const signature = signBody(secret, bytes);
      const response = await fetch(url() + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-hub-signature-256': signature, ...headers },
        body: bytes,
        redirect: 'manual',
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      return readAnswer(response);
    },
    async waitForRun(which, state, { timeoutMs = PATIENCE_MS } = {}) {
      let seen: DetailedRun | null = null;
      let covering: string | null = null;
      const probe = async (): Promise<DetailedRun | null> => {
        const id = covering ?? (typeof which === 'string' ? which : (await runs()).find(which)?.run_id);
        seen = id === undefined ? null : await details(id);
        if (!seen) return null;
        if (seen.state === state || (state === 'final' && FINAL.has(seen.state))) return seen;
        covering = seen.reason === 'covered_by_newer' ? seen.covered_by : null;
        if (covering !== null) return null;
        if (FINAL.has(seen.state))
          throw new Error(`The run did not become ${state}: ${JSON.stringify(seen, null, 1)}`);
        return null;
      };
      return until(`a run that is ${state}`, probe, { timeoutMs, seen: () => seen });
    },
  };
}

async function readAnswer(response: Response): Promise<Answer> {
  return { status: response.status, headers: response.headers, body: parseBody(await response.text()) };
}
