/** What is bounded: ends, attempts, output, waiting runs, the disk, the history. */

import { count, seconds, text } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

const MEBIBYTE = 1024 * 1024;
const DAY_MS = 86_400_000;

export const LIMIT_VARIABLES = {
  DRAIN_TIMEOUT: variable({
    schema: seconds,
    expected: 'a number of seconds',
    example: '30',
    description: 'Seconds that running tasks get to finish after SIGTERM, before their run is handed back.',
    default: '30',
  }),
  RETRY_LIMIT: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '3',
    description: 'How many times a run is started when the server dies under it.',
    default: '3',
  }),
  LOG_LIMIT_MB: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '64',
    description:
      'Megabytes of output kept of one task; of more, the middle is dropped and the last megabyte kept.',
    default: '64',
  }),
  QUEUE_LIMIT: variable({
    schema: text.regex(/^[1-9]\d{0,6}$/).transform(Number),
    expected: 'a whole number from 1 to 9999999',
    example: '10000',
    description: 'Runs that may wait; a request for one more is answered 503.',
    default: '10000',
  }),
  DISK_FLOOR_MB: variable({
    schema: text.regex(/^\d{1,7}$/).transform(Number),
    expected: 'a whole number from 0 to 9999999',
    example: '512',
    description:
      'Megabytes kept free under DATA_DIR and WORKSPACE_DIR: with less nothing is fetched or checked out.',
    default: '512',
  }),
  RETENTION_DAYS: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '90',
    description: 'Days after which ended runs, their logs, and deliveries are deleted.',
    default: '90',
  }),
} as const;

export interface LimitsConfig {
  drainTimeoutMs: number;
  retryLimit: number;
  logLimitBytes: number;
  queueLimit: number;
  diskFloorBytes: number;
  retentionMs: number;
}

export function limitsConfig(values: ValuesOf<typeof LIMIT_VARIABLES>): LimitsConfig {
  return {
    drainTimeoutMs: values.DRAIN_TIMEOUT,
    retryLimit: values.RETRY_LIMIT,
    logLimitBytes: logLimitBytes(values),
    queueLimit: values.QUEUE_LIMIT,
    diskFloorBytes: values.DISK_FLOOR_MB * MEBIBYTE,
    retentionMs: values.RETENTION_DAYS * DAY_MS,
  };
}

export function logLimitBytes(values: { LOG_LIMIT_MB: number }): number {
  return values.LOG_LIMIT_MB * MEBIBYTE;
}
