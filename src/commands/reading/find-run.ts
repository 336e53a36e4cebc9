/** Finds the run that a person means by a part of its id. */

import { z } from 'zod';
import { UsageError } from '../../errors.ts';
import type { AskAsCaller } from '../client/ask-as-caller.ts';

const WHOLE_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const SHORTEST = 4;
const runsSchema = z.object({ runs: z.array(z.looseObject({ run_id: z.string() })) });

/** Returns the id. Throws UsageError if none or several of the newest runs have the part. */
export async function findRun(ask: AskAsCaller, named: string): Promise<string> {
  if (WHOLE_ID.test(named)) return named;
  if (named.length < SHORTEST) throw new UsageError(`Give at least ${SHORTEST} characters of the run's id.`);
  const { runs } = runsSchema.parse(await ask('GET', '/runs'));
  const found = runs.map(({ run_id: id }) => id).filter((id) => id.includes(named));
  const [only, ...others] = found;
  if (only === undefined) throw new UsageError(`None of the newest runs has an id with ${named}.`);
  if (others.length > 0) throw new UsageError(`Several runs have an id with ${named}: ${found.join(', ')}.`);
  return only;
}
