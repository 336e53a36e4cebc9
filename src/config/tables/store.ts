/** The store when several machines share it, and what this machine is among them. */

import { leaseSeconds, listOf, matching, text } from '../shapes.ts';
import { variable } from '../variable.ts';

const postgresUrl = text.refine(
  (value) => /^postgres(ql)?:\/\/[^\s/]+\/[^\s/]+$/i.test(value) && URL.canParse(value),
);

export const STORE = {
  /** Unset: a file in `dataDir`. */
  storeUrl: variable(
    'STORE_URL',
    {
      schema: postgresUrl,
      expected:
        'the address of a PostgreSQL database, postgres://user:password@host/database (Redis does not hold the store any more)',
    },
    {
      unset: 'none',
      example: 'postgres://runner:password@postgres.example.com/runner',
      description:
        'Keeps the store in PostgreSQL, so that several machines share the work; see postgres.md. Unset: a file in DATA_DIR.',
      secret: 'in_url',
    },
  ),
  leaseMs: variable('LEASE_SECONDS', leaseSeconds, {
    default: '60',
    description:
      'How long a machine may be silent before another takes over what it works on. Of use with `STORE_URL`.',
  }),
  workerId: variable(
    'WORKER_ID',
    matching(/^[\w.-]{1,64}$/, 'up to 64 letters, digits, dots, dashes and underscores'),
    {
      unset: 'made from the host name and DATA_DIR',
      example: 'runner-1',
      description:
        "Names this machine beside others that share STORE_URL: the same after a restart, and nobody else's.",
    },
  ),
} as const;

export const LABELS = {
  labels: variable(
    'WORKER_LABELS',
    listOf(
      (label) => /^[\w.-]{1,64}$/.test(label),
      'labels of letters, digits, dots, dashes and underscores, comma-separated',
    ),
    {
      default: '',
      example: 'aws,linux',
      description: 'Takes only deployments whose `labels` are all among these. Unset: takes any.',
    },
  ),
} as const;
