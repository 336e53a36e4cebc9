/** Measures how long a run takes for a client. */

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Runner } from '../../e2e/support/runner.ts';
import type { Answer } from '../../e2e/support/runner-client.ts';

const POLL_MS = 10;
const LIMIT_MS = 180_000;

const acceptedSchema = z.object({ status: z.literal('accepted'), run_id: z.string() });
const listedSchema = z.object({
  runs: z.array(z.looseObject({ run_id: z.string(), state: z.string(), message: z.string() })),
});

/** Resolves to the ms from the request to the end of the run. Throws unless the run succeeds with the expected message. */
export async function timedRun(
  runner: Runner,
  request: () => Promise<Answer>,
  expected: { message?: string },
): Promise<number> {
  const startedAt = performance.now();
  const answer = await request();
  const accepted = acceptedSchema.safeParse(answer.body);
  if (!accepted.success) throw new Error(`Not accepted: ${JSON.stringify(answer.body)}`);
  for (;;) {
    // The list is asked instead of the run, because it omits the steps and explanations of a thousand services.
    const { runs } = listedSchema.parse((await runner.getJson('/runs')).body);
    const run = runs.find(({ run_id: id }) => id === accepted.data.run_id);
    const tookMs = performance.now() - startedAt;
    if (run?.state === 'succeeded') {
      if (expected.message !== undefined && run.message !== expected.message)
        throw new Error(`It said: ${run.message}`);
      return tookMs;
    }
    if (run !== undefined && run.state !== 'queued' && run.state !== 'running') {
      throw new Error(`The run is ${run.state}: ${run.message}`);
    }
    if (tookMs > LIMIT_MS) throw new Error(`The run is still ${run?.state} after ${LIMIT_MS / 1000} s.`);
    await sleep(POLL_MS);
  }
}
