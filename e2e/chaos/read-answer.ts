/** The promise in an answer of the server. */

import { z } from 'zod';

const acceptedSchema = z.object({ status: z.literal('accepted'), run_id: z.string() });

/** Returns the run that an answer 200 named, or null if it named none. */
export function readAccepted(answer: { status: number | null; body: unknown }): string | null {
  if (answer.status !== 200) return null;
  const parsed = acceptedSchema.safeParse(answer.body);
  return parsed.success ? parsed.data.run_id : null;
}
