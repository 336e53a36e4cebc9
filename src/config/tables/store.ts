/** The store that several machines share, and the name and the labels of this machine among them. */

import { leaseSeconds, listOf, matching, text } from '../shapes.ts';
import { variable } from '../variable.ts';

const postgresUrl = text.refine(
  (value) => /^postgres(ql)?:\/\/[^\s/]+\/[^\s/]+$/i.test(value) && URL.canParse(value),
);

const storeUrlShape = {
  schema: postgresUrl,
  expected:
    'the address of a PostgreSQL database, postgres://user:password@host/database (Redis does not hold the store any more)',
};
const workerIdShape = matching(/^[\w.-]{1,64}$/, 'up to 64 letters, digits, dots, dashes and underscores');

export const STORE = {
  storeUrl: variable('STORE_URL', storeUrlShape, {
    unset: 'none',
    example: 'postgres://runner:password@postgres.example.com/runner',
    description:
      'Keeps the store in PostgreSQL, so that several machines can share the work; see postgres.md. Unset: a file in DATA_DIR.',
    secret: 'in_url',
  }),
  leaseMs: variable('LEASE_SECONDS', leaseSeconds, {
    default: '60',
    description:
      'How long a machine may be silent before another machine takes over its runs. Only used with `STORE_URL`.',
  }),
  workerId: variable('WORKER_ID', workerIdShape, {
    unset: 'made from the host name and DATA_DIR',
    example: 'runner-1',
    description:
      'The name of this machine among those that share STORE_URL. It must stay the same after a restart, and be unique.',
  }),
} as const;

const labelsShape = listOf(
  (label) => /^[\w.-]{1,64}$/.test(label),
  'labels of letters, digits, dots, dashes and underscores, comma-separated',
);

export const LABELS = {
  labels: variable('WORKER_LABELS', labelsShape, {
    default: '',
    example: 'aws,linux',
    description:
      'This machine takes only deployments whose `labels` are all among these. Unset: it takes any.',
  }),
} as const;
