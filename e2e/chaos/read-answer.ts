/** What an answer of the server promised. */

import { z } from 'zod';

const acceptedSchema = z.object({ status: z.literal('accepted'), run_id: z.string() });

/** The run that an answer 200 named, or null when it named none. */
export function readAccepted(answer: { status: number | null; body: unknown }): string | null {
  if (answer.status !== 200) return null;
  const parsed = acceptedSchema.safeParse(answer.body);
  return parsed.success ? parsed.data.run_id : null;
}
