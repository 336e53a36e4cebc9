/** Builds what the server shows of jobs, their output and their queue, when REDIS_URL says where they stand. */

import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { JobRoutes } from '../jobs/job-routes.ts';
import type { JobReader } from '../jobs/store/job-reader.ts';
import type { Access } from '../web/access/access.ts';

/** Null without REDIS_URL; then nothing of it is loaded. Connects with the first request. */
export async function buildJobStream(
  { redisUrl }: Pick<Config, 'redisUrl'>,
  access: Access,
  log: Logger,
): Promise<(JobRoutes & Pick<JobReader, 'queue'> & { release(): Promise<void> }) | null> {
  if (redisUrl === null) return null;
  const [{ openJobReader }, { createJobRoutes }] = await Promise.all([
    import('../jobs/store/job-reader.ts'),
    import('../jobs/job-routes.ts'),
  ]);
  const reader = openJobReader(redisUrl);
  const routes = createJobRoutes({
    reader,
    access,
    onStreamError: (err) => log.warn({ err }, 'the stream of a job broke off'),
  });
  return { ...routes, queue: reader.queue, release: reader.close };
}
