/** The keys of jobs in Redis. Producers know some of them, and the others are ours. */

export const STREAM = 'jobs:stream';
export const GROUP = 'jobs:stream:runners';
/** The stream of the newest thousand entries that could not be used: entry, job_id, user_id, reason, at. */
export const ASIDE = 'jobs:stream:aside';

/** Jobs by the end of their lease. This key is ours. */
export const LEASES = 'runner:leases';

export const jobKey = (id: string): string => `job:${id}`;
export const outputKey = (id: string): string => `job:${id}:output`;
export const providerKey = (userId: string, providerId: string): string =>
  `git_provider:${userId}:${providerId}`;
