/** A day on a platform: most of it works, a service is broken, one was rolled back, and one is held. */

import { z } from 'zod';
import { writeShellService } from '../support/hand-made-service.ts';
import { pushRun } from '../support/pushed-run.ts';
import type { Runner } from '../support/runner.ts';
import { API_TOKENS } from '../support/runner-environment.ts';
import type { Stage } from '../support/stage.ts';

const acceptedSchema = z.object({ run_id: z.string() });

export interface Story {
  /** The id of the run that failed. */
  failedRun: string;
  /** The id of a run of many services. */
  wholeRun: string;
}

const SHOP = 'platform/21.shop';
const BLOG = 'platform/22.blog';
const WORKS = `echo 'Pulling registry.example.com/shop:4.1'
echo 'Waiting for the container to be healthy'
sleep 0.4
echo 'The container is healthy'`;
const FAILS = `echo 'Pulling registry.example.com/shop:4.2'
echo 'Waiting for the container to be healthy'
sleep 0.3
echo 'error: connect to postgres.internal:5432: connection refused' >&2
echo 'The container is not healthy after 3 tries' >&2
exit 1`;

export async function tellStory(stage: Stage, runner: Runner): Promise<Story> {
  const { repository } = stage;
  const push = async (message: string, state: 'succeeded' | 'failed' = 'succeeded') => {
    const pushed = await pushRun(stage, runner, message);
    await runner.waitForRun(pushed.runId, state);
    return pushed;
  };
  const post = async (path: string, body: object): Promise<unknown> => {
    const response = await fetch(runner.url + path, {
      method: 'POST',
      headers: { Authorization: `Bearer ${API_TOKENS.admin}` },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path} was answered ${response.status}: ${await response.text()}`);
    return response.json();
  };
  await writeShellService(repository, SHOP, WORKS);
  await writeShellService(repository, BLOG, WORKS);
  await push('Add the shop and the blog');
  const { run_id: wholeRun } = acceptedSchema.parse(await post('/sync', { all: true, force: true }));
  await runner.waitForRun(wholeRun, 'succeeded');
  await repository.write('platform/02.redis/settings', 'maxmemory 512mb\n');
  await push('Give redis more memory');
  await repository.write(`${BLOG}/theme`, 'dark\n');
  const blog = await push('Give the blog a dark theme');
  await repository.write(`${BLOG}/theme`, 'light\n');
  await push('Give the blog a light theme');
  const back = { to: blog.commit, reason: 'The light theme hurts' };
  const { run_id: backRun } = acceptedSchema.parse(await post('/services/platform/blog/rollback', back));
  await runner.waitForRun(backRun, 'succeeded');
  await post('/holds', { services: ['platform/postgres'], reason: 'Its disk is being moved' });
  await writeShellService(repository, SHOP, FAILS);
  const failed = await push('Update the shop to 4.2', 'failed');
  return { failedRun: failed.runId, wholeRun };
}
