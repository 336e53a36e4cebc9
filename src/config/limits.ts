/** Limits: the end of the process, attempts, output, waiting runs, disk space, history. */

import { DAY, MEBIBYTE } from '../units.ts';
import { count, seconds, wholeNumber } from './shapes.ts';
import { variable } from './variable.ts';

export const LIMITS = {
  drainTimeoutMs: variable('DRAIN_TIMEOUT', seconds, {
    default: '30',
    description: 'Seconds that running tasks get to finish after SIGTERM, before their run is handed back.',
  }),
  retryLimit: variable('RETRY_LIMIT', count, {
    default: '3',
    description: 'How many times a run is started when the server dies while it runs.',
  }),
  logLimitBytes: variable('LOG_LIMIT_MB', wholeNumber(1, 9_999, MEBIBYTE), {
    default: '64',
    description:
      'Megabytes of output that are kept of one task. If the output is longer, its middle is dropped and its last megabyte is kept.',
  }),
  queueLimit: variable('QUEUE_LIMIT', wholeNumber(1, 9_999_999), {
    default: '10000',
    description: 'How many runs may wait; a request for one more is answered 503.',
  }),
  diskFloorBytes: variable('DISK_FLOOR_MB', wholeNumber(0, 9_999_999, MEBIBYTE), {
    default: '512',
    description:
      'Megabytes that must stay free under DATA_DIR and WORKSPACE_DIR; with less, nothing is fetched or checked out.',
  }),
  retentionMs: variable('RETENTION_DAYS', wholeNumber(1, 9_999, DAY), {
    default: '90',
    description: 'Days after which ended runs, their logs, and deliveries are deleted.',
  }),
} as const;
