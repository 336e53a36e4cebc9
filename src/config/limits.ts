/** What is bounded: ends, attempts, output, waiting runs, the disk, the history. */

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
    description: 'How many times a run is started when the server dies under it.',
  }),
  logLimitBytes: variable('LOG_LIMIT_MB', wholeNumber(1, 9_999, MEBIBYTE), {
    default: '64',
    description:
      'Megabytes of output kept of one task; of more, the middle is dropped and the last megabyte kept.',
  }),
  queueLimit: variable('QUEUE_LIMIT', wholeNumber(1, 9_999_999), {
    default: '10000',
    description: 'Runs that may wait; a request for one more is answered 503.',
  }),
  diskFloorBytes: variable('DISK_FLOOR_MB', wholeNumber(0, 9_999_999, MEBIBYTE), {
    default: '512',
    description:
      'Megabytes kept free under DATA_DIR and WORKSPACE_DIR: with less nothing is fetched or checked out.',
  }),
  retentionMs: variable('RETENTION_DAYS', wholeNumber(1, 9_999, DAY), {
    default: '90',
    description: 'Days after which ended runs, their logs, and deliveries are deleted.',
  }),
} as const;
