/** Reads and prints the holds that a server tells about. */

import { z } from 'zod';
import { printable } from '../client/ask-as-caller.ts';

export const holdSchema = z.object({
  id: z.string(),
  reason: z.string(),
  by: z.string(),
  services: z.array(z.string()).nullable(),
  until: z.string().nullable(),
});
export const holdsSchema = z.object({ holds: z.array(holdSchema) });

export function holdLine({ id, reason, by, services, until }: z.output<typeof holdSchema>): string {
  const end = until === null ? 'until released' : `until ${until}`;
  return printable(`${id}  ${services?.join(', ') ?? 'everything'}  by ${by}, ${end}: ${reason}`);
}
