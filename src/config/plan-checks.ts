/** The form of PLAN_CHECKS: commands that check a plan. */

import { z } from 'zod';
import { text, words } from './shapes.ts';
import type { Shape } from './variable.ts';

/** A command that checks a plan. `argv` may contain `{plan}`, the path of the plan as JSON. */
export interface PlanCheck {
  name: string;
  argv: readonly [string, ...string[]];
  /** If a required check fails, nothing is approved or applied. */
  required: boolean;
}

const schema = text
  .transform((value, context) => {
    try {
      return JSON.parse(value) as unknown;
    } catch {
      context.addIssue({ code: 'custom', message: 'not JSON' });
      return z.NEVER;
    }
  })
  .pipe(
    z.array(
      z.strictObject({
        name: z.string().regex(/^[A-Za-z0-9-]{1,40}$/),
        command: z.string(),
        required: z.boolean().default(false),
      }),
    ),
  )
  .transform((checks, context) =>
    checks.flatMap(({ name, command, required }): PlanCheck[] => {
      const argv = words.schema.safeParse(command).data;
      if (argv) return [{ name, argv, required }];
      context.addIssue({ code: 'custom', message: 'malformed' });
      return [];
    }),
  )
  .refine((checks) => new Set(checks.map(({ name }) => name)).size === checks.length);

export const planChecks: Shape<PlanCheck[]> = {
  schema,
  expected: 'a JSON array of {"name", "command", "required"}, names of letters, digits and dashes, each once',
};
