/** The token of a plan request, as it is sealed beside its run. */

import { z } from 'zod';
import type { PlanSecrets } from '../../runs/plan-comment.ts';

const secretsSchema = z.object({ token: z.string() });

export function sealPlanSecrets(secrets: PlanSecrets, seal: (text: string) => string): string {
  return seal(JSON.stringify(secrets));
}

/** Returns null when there are none, or when they were sealed with a key that the server no longer has. */
export function openPlanSecrets(
  sealed: string | null,
  open: (sealed: string) => string | null,
): PlanSecrets | null {
  const text = sealed === null ? null : open(sealed);
  return text === null ? null : secretsSchema.parse(JSON.parse(text));
}
