/** Sends deliveries to a shared server, and checks that they left nothing behind in it. */

import { expect } from 'vitest';
import { z } from 'zod';
import type { Runner } from './runner.ts';
import type { Answer } from './runner-client.ts';
import { WEBHOOK_SECRET } from './runner-environment.ts';
import type { SharedStage } from './shared-stage.ts';
import { until } from './until.ts';
import type { Delivery, Message } from './webhook-sender.ts';

/** The payload of a push to main with one commit that changed these paths. */
export function pushOf(...modified: string[]): Record<string, unknown> {
  return { ref: 'refs/heads/main', after: '1234567', commits: [{ modified }] };
}

/** Sends a webhook, signed as GitHub signs. It is a push by default. */
export function deliver(
  { stage, runner }: SharedStage,
  payload: unknown,
  options: Partial<Message> = {},
): Promise<Delivery> {
  return stage.github.deliver({
    url: `${runner.url}/webhook`,
    secret: WEBHOOK_SECRET,
    event: 'push',
    payload,
    ...options,
  });
}

/** Requests a sync as an operator does. */
export function sync(runner: Runner, body: unknown): Promise<Answer> {
  return runner.signedPost('/sync', body);
}

/** The signed address of the run that an answer names, as path and query. */
export function signedLink({ body }: Pick<Delivery, 'body'>): string {
  const { pathname, search } = new URL(z.object({ url: z.string() }).parse(body).url);
  return pathname + search;
}

/** Waits until no run is queued or running. */
export async function waitUntilIdle(runner: Runner): Promise<void> {
  await until('a server without work', async () => {
    const runs = await runner.runs();
    return runs.some(({ state }) => state === 'queued' || state === 'running') ? null : true;
  });
}

/** Throws if `act` created a run. */
export async function expectNothingStored(runner: Runner, act: () => Promise<unknown>): Promise<void> {
  await waitUntilIdle(runner);
  const newest = async () => (await runner.runs())[0]?.run_id ?? null;
  const before = await newest();
  await act();
  expect(await newest()).toBe(before);
}
