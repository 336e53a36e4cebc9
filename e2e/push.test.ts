/** The main job from end to end: a push to main syncs exactly the services that it changed. */

import { describe, expect, it } from 'vitest';
import { setTestStage } from './support/test-stage.ts';

describe('A push to main', () => {
  it('syncs exactly the services that it changed, at its commit, and reports the result on GitHub', async () => {
    const stage = await setTestStage('push');
    const runner = await stage.start();
    const { repository, github, journal } = stage;
    await repository.write('platform/01.redis/compose.yaml', 'services:\n  redis:\n    image: redis:8\n');
    await repository.write('platform/04.dashy/conf.yml', 'title: Home\n');
    await repository.write('README.md', 'The platform.\n');
    const commit = await repository.commit('Upgrade redis, name the dashboard');
    const delivery = await stage.push(runner);
    expect(delivery.status).toBe(200);
    expect(delivery.body).toMatchObject({
      status: 'accepted',
      services: ['platform/dashy', 'platform/redis'],
      commit: commit.slice(0, 8),
    });
    const { run_id: runId } = delivery.body as { run_id: string };
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run).toMatchObject({ revision: commit, message: '2 service(s) synced successfully' });
    const { syncs, overlaps } = await journal.read();
    expect(syncs.map(({ service, commit: at }) => [service, at])).toEqual([
      ['platform/redis', commit],
      ['platform/dashy', commit],
    ]);
    expect(overlaps).toEqual([]);
    await github.statuses.waitFor({ sha: commit, state: 'success' });
    expect(github.statuses.latest(commit)).toMatchObject({
      context: 'IaC Runner / Sync',
      description: '2 service(s) synced successfully',
    });
    expect(await runner.stop()).toBe(0);
  });
});
