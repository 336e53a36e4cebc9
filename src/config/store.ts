/** The store when several machines share it, and what this machine is among them. */

import { labels, positiveSeconds, postgresUrl, text } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

export const STORE_VARIABLES = {
  STORE_URL: variable({
    schema: postgresUrl.optional().transform((value) => value ?? null),
    expected:
      'the address of a PostgreSQL database, postgres://user:password@host/database (Redis does not hold the store any more)',
    example: 'postgres://runner:password@postgres.example.com/runner',
    description:
      'Keeps the store in PostgreSQL, so that several machines share the work; see postgres.md. Unset: a file in DATA_DIR.',
    default: '(none)',
    secret: 'in_url',
  }),
  LEASE_SECONDS: variable({
    schema: positiveSeconds.refine((value) => value >= 10_000 && value <= 600_000),
    expected: 'whole seconds from 10 to 600',
    example: '60',
    description:
      'How long a machine may be silent before another takes over what it works on. Of use with `STORE_URL`.',
    default: '60',
  }),
  WORKER_ID: variable({
    schema: text
      .regex(/^[\w.-]{1,64}$/)
      .optional()
      .transform((value) => value ?? null),
    expected: 'up to 64 letters, digits, dots, dashes and underscores',
    example: 'runner-1',
    description:
      "Names this machine beside others that share STORE_URL: the same after a restart, and nobody else's.",
    default: '(made from the host name and DATA_DIR)',
  }),
  WORKER_LABELS: variable({
    schema: labels,
    expected: 'labels of letters, digits, dots, dashes and underscores, comma-separated',
    example: 'aws,linux',
    description: 'Takes only deployments whose `labels` are all among these. Unset: takes any.',
    default: '',
  }),
} as const;

export interface StoreConfig {
  /** The PostgreSQL database that is the store, or null: a file in `dataDir`. */
  storeUrl: string | null;
  workerId: string | null;
  /** How long a worker may be silent before another takes its runs over. */
  leaseMs: number;
}

export function storeConfig(values: ValuesOf<typeof STORE_VARIABLES>): StoreConfig {
  return { storeUrl: values.STORE_URL, workerId: values.WORKER_ID, leaseMs: values.LEASE_SECONDS };
}
