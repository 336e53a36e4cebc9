/** Sends one request to a running server, and turns refusals into errors for people. */

import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { MINUTE } from '../../units.ts';

const ANSWER_TIMEOUT_MS = MINUTE;
const errorSchema = z.object({ error: z.string() });

/**
 * Resolves to the JSON of the answer. Throws RequestError with the error of the server, or if it cannot be reached. Its
 * status is that of the answer only for 404.
 */
export async function askServer(
  server: string,
  path: string,
  request: { method?: 'GET' | 'POST' | 'DELETE'; headers: Record<string, string>; body?: string },
): Promise<unknown> {
  let response: Response;
  try {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    response = await fetch(server + path, { ...request, redirect: 'error', signal });
  } catch (cause) {
    throw new RequestError(503, `${server} cannot be reached.`, {
      nextAction: 'Check --url, IAC_RUNNER_URL or PUBLIC_URL, and that the server runs.',
      cause,
    });
  }
  const said: unknown = await response.json().catch(() => null);
  if (response.ok) return said;
  const refusal = errorSchema.safeParse(said);
  throw new RequestError(
    response.status === 404 ? 404 : 400,
    `${server} answered ${response.status}${refusal.success ? `: ${refusal.data.error}` : ''}.`,
  );
}
