/** Services that are added, moved and removed, and folders that belong to no clear service. */

import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pushAndInspect, restore } from './support/inspected-push.ts';
import { commitChange, FOLDERS, writeGatedService } from './support/platform-services.ts';
import { openGate, shareStage } from './support/shared-stage.ts';

describe('A push', () => {
  const shared = shareStage('service-life');

  it('that adds a service runs it, a removal is reported once, and the restored service runs again', async () => {
    const { stage, runner } = shared();
    const { repository } = stage;
    await writeGatedService(repository, 'platform/06.grafana', 'open');
    await openGate(stage, 'open');
    await repository.commit('Add grafana');
    expect((await pushAndInspect(shared())).ran).toEqual(['platform/grafana']);

    await rename(join(repository.clone, 'platform/06.grafana'), join(stage.folder, 'kept'));
    const removal = await repository.commit('Remove grafana');
    const removed = await pushAndInspect(shared());
    expect(removed.ran).toEqual([]);
    expect(removed.run.steps).toMatchObject([{ id: 'platform/grafana', state: 'removed' }]);
    await stage.github.statuses.waitFor({ sha: removal, state: 'success' });
    expect(stage.github.statuses.latest(removal)).toMatchObject({ description: 'No services required sync' });

    await commitChange(repository, ['platform/redis'], 'Something else');
    const next = await pushAndInspect(shared());
    expect(next.run.steps.map(({ id }) => id)).toEqual(['platform/redis']);
    expect(await runner.signedPost('/sync', { services: ['platform/grafana'] })).toMatchObject({
      status: 400,
    });

    await rename(join(stage.folder, 'kept'), join(repository.clone, 'platform/06.grafana'));
    await repository.commit('Bring grafana back');
    expect((await pushAndInspect(shared())).ran).toEqual(['platform/grafana']);
  });

  it('that changes the number of a service, or moves a file out of a service, runs both services and removes none', async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await repository.move('platform/02.minio', 'platform/03.minio');
    await repository.move('platform/04.uptime-kuma/compose.yaml', 'docs/uptime-kuma.yaml');
    await repository.commit('Move things');
    const { run } = await pushAndInspect(shared(), 'failed');
    expect(run.steps).toMatchObject([
      { id: 'platform/minio', state: 'succeeded' },
      { id: 'platform/uptime-kuma', state: 'failed' },
    ]);
    await restore(shared(), before);
  });

  it('that removes a service that was never synced reports the removal once', async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await repository.remove(FOLDERS['platform/uptime-kuma'] ?? '');
    await repository.commit('Remove uptime-kuma');
    const { run, ran } = await pushAndInspect(shared());
    expect(run.steps).toMatchObject([{ id: 'platform/uptime-kuma', state: 'removed' }]);
    expect(ran).toEqual([]);
    await restore(shared(), before);
  });

  it('that makes two folders of one service names both in an error, while the other services run', async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await repository.write('platform/07.redis/deploy.py', 'raise SystemExit\n');
    const commit = await commitChange(repository, ['platform/dashy'], 'A second redis');
    const { run, ran } = await pushAndInspect(shared(), 'failed');
    expect(ran).toEqual(['platform/dashy']);
    expect(run.message).toBe('1/2 service(s) failed to sync');
    const redis = run.steps.find(({ id }) => id === 'platform/redis');
    expect(redis?.state).toBe('failed');
    expect(redis?.message).toContain('platform/01.redis');
    expect(redis?.message).toContain('platform/07.redis');
    await stage.github.statuses.waitFor({ sha: commit, state: 'failure' });
    await restore(shared(), before);
  });

  it('with a folder name with two dots takes everything after the first dot as the service', async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await writeGatedService(repository, 'platform/06.my.app', 'open');
    await openGate(stage, 'open');
    await repository.commit('Add my.app');
    const { run } = await pushAndInspect(shared(), 'final');
    expect(run.steps.map(({ id }) => id)).toEqual(['platform/my.app']);
    await restore(shared(), before);
  });

  it("that adds a platform/__init__.py, which shadows Python's own module, gets a warning in its run", async () => {
    const { stage } = shared();
    const { repository } = stage;
    const before = await repository.head();
    await repository.write('platform/__init__.py', '');
    await commitChange(repository, ['platform/dashy'], 'Make platform a package');
    const { why, ran } = await pushAndInspect(shared(), 'final');
    expect(why.notes.join('\n')).toContain('platform/__init__.py');
    expect(why.notes.join('\n')).toContain('remove it');
    expect(ran.length).toBeLessThanOrEqual(1);
    await restore(shared(), before);
  });
});
