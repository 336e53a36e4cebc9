/** Actions on runs by the API: retry and cancel. */

import { expect } from 'vitest';
import { z } from 'zod';
import type { Runner } from './runner.ts';
import type { DetailedRun } from './runner-client.ts';
import { API_TOKENS } from './runner-environment.ts';
import { type Delivery, parseBody } from './webhook-sender.ts';

const acceptedSchema = z.object({
  status: z.literal('accepted'),
  services: z.array(z.string()).optional(),
  run_id: z.string(),
});

/** Returns the run that an answer to a push or a request names. The request must have been accepted. */
export function acceptedRun({ status, body }: Pick<Delivery, 'status' | 'body'>): string {
  expect({ status, body }).toMatchObject({ status: 200, body: { status: 'accepted' } });
  return acceptedSchema.parse(body).run_id;
}

/** Acts as the operator by default, or with another token, or without one if the token is null. */
export async function actOnRun(
  runner: Runner,
  runId: string,
  action: 'retry' | 'cancel',
  token: string | null = API_TOKENS.operator,
): Promise<{ status: number; body: unknown }> {
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(`${runner.url}/runs/${runId}/${action}`, {
    method: 'POST',
    headers: { accept: 'application/json', ...headers },
    redirect: 'manual',
    signal: AbortSignal.timeout(15_000),
  });
  return { status: response.status, body: parseBody(await response.text()) };
}

/** Requests a sync and waits for the end of the run. */
export async function sync(
  { runner }: { runner: Runner },
  body: object,
  state = 'succeeded',
): Promise<DetailedRun> {
  return runner.waitForRun(acceptedRun(await runner.signedPost('/sync', body)), state);
}

/** Returns whether this server has started the run, and not another one that shares the database. */
export function worksOn({ logs }: Runner, runId: string): boolean {
  return logs().some(({ msg, run_id }) => msg === 'run started' && run_id === runId);
}
