/** The keys of jobs in Redis: those that producers know, and our own. */

export const STREAM = 'jobs:stream';
export const GROUP = 'jobs:stream:runners';
/** Stream of what could not be used: entry, job_id, user_id, reason, at. The newest thousand. */
export const ASIDE = 'jobs:stream:aside';

/** Jobs by the end of their lease; ours. */
export const LEASES = 'runner:leases';

export const jobKey = (id: string): string => `job:${id}`;
export const outputKey = (id: string): string => `job:${id}:output`;
export const providerKey = (userId: string, providerId: string): string =>
  `git_provider:${userId}:${providerId}`;
