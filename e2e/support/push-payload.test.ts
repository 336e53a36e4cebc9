/** Payloads of real pushes, compared with the pushed changes, and their delivery. */

import { createServer } from 'node:http';
import { Webhooks } from '@octokit/webhooks';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { git } from './git.ts';
import { createPlatformRepository, type PlatformRepository } from './platform-repository.ts';
import { buildPushPayload, NO_COMMIT, type PushPayload } from './push-payload.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';
import { createWebhookSender } from './webhook-sender.ts';

const COMPOSE = 'platform/01.redis/compose.yaml';

let repository: PlatformRepository;

beforeEach(async () => {
  const folder = await makeTemporaryFolder('payload');
  onTestFinished(() => removeFolder(folder));
  repository = await createPlatformRepository(folder);
});

async function pushed(options: Parameters<PlatformRepository['push']>[0] = {}): Promise<PushPayload> {
  const refUpdate = await repository.push(options);
  return buildPushPayload({ repository: { path: repository.path, fullName: 'acme/platform' }, ...refUpdate });
}

describe('the payload', () => {
  it('lists the added, removed and modified files of each commit, oldest first, whatever their names', async () => {
    await repository.write(COMPOSE, 'services: {}\n');
    await repository.write('platform/06.ünïcode/a"b\n–.tf', 'x');
    const first = await repository.commit('Add odd names\n\nWith a body.');
    await repository.move('platform/04.dashy', 'platform/07.dashy');
    await repository.remove('README.md');
    const second = await repository.commit('Move dashy');
    const payload = await pushed();

    expect(payload).toMatchObject({
      ref: 'refs/heads/main',
      after: second,
      created: false,
      deleted: false,
      forced: false,
      repository: { full_name: 'acme/platform', default_branch: 'main', owner: { login: 'acme' } },
    });
    expect(payload.commits.map(({ id }) => id)).toEqual([first, second]);
    expect(payload.commits[0]).toMatchObject({
      message: 'Add odd names\n\nWith a body.',
      added: ['platform/06.ünïcode/a"b\n–.tf'],
      removed: [],
      modified: [COMPOSE],
    });
    const dashy = ['compose.yaml', 'conf.yml', 'deploy.py'];
    expect(payload.head_commit).toMatchObject({
      id: second,
      added: dashy.map((name) => `platform/07.dashy/${name}`),
      removed: ['README.md', ...dashy.map((name) => `platform/04.dashy/${name}`)],
      modified: [],
    });
  });

  it('shows a merge by its changes against its first parent', async () => {
    await repository.git('checkout', '--quiet', '-b', 'side');
    await repository.write('side.txt', '1');
    await repository.commit('Side');
    await repository.git('checkout', '--quiet', 'main');
    await repository.commit('Nothing');
    await repository.git('merge', '--quiet', '--no-ff', '--message=Merge side', 'side');
    const payload = await pushed();
    expect(payload.commits).toHaveLength(3);
    expect(payload.head_commit).toMatchObject({ message: 'Merge side', added: ['side.txt'] });
    expect(payload.commits.find(({ message }) => message === 'Nothing')).toMatchObject({
      added: [],
      modified: [],
    });
  });

  it('F39: says whether a branch was created, forced or deleted', async () => {
    const created = await pushed({ refspec: 'HEAD:refs/heads/feature' });
    expect(created).toMatchObject({ before: NO_COMMIT, created: true, forced: false, commits: [] });
    expect(created.head_commit?.id).toBe(await repository.head());

    await repository.write('a', '1');
    await repository.commit('One');
    await repository.push();
    await repository.git('reset', '--quiet', '--hard', 'HEAD~1');
    await repository.write('a', '2');
    const rewritten = await repository.commit('Another');
    const forced = await pushed({ force: true });
    expect(forced).toMatchObject({ forced: true, after: rewritten, commits: [{ id: rewritten }] });

    const deleted = await pushed({ refspec: ':refs/heads/feature' });
    expect(deleted).toMatchObject({ after: NO_COMMIT, deleted: true, head_commit: null, commits: [] });
  });

  it('F40b: contains at most the newest 2,048 commits', async () => {
    const stream = [`reset refs/heads/main\nfrom ${await repository.head()}\n\n`];
    for (let at = 1; at <= 2_100; at += 1) {
      const committer = `committer Platform Team <platform@example.com> ${1_760_000_000 + at} +0000`;
      stream.push(
        `commit refs/heads/main\n${committer}\ndata 1\nx\nM 100644 inline count\ndata 4\n${at + 1_000}\n`,
      );
    }
    await git(repository.clone, ['fast-import', '--quiet'], stream.join(''));
    const payload = await pushed();
    expect(payload.commits).toHaveLength(2_048);
    expect(payload.commits.at(-1)).toMatchObject({ id: await repository.head(), modified: ['count'] });
  });
});

describe('the delivery', () => {
  it('is signed over the bytes, and a redelivery repeats bytes and id', async () => {
    const received: { body: string; headers: NodeJS.Dict<string | string[]> }[] = [];
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      received.push({ body: Buffer.concat(chunks).toString(), headers: request.headers });
      response.end('{"status":"accepted"}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const address = server.address();
    const url = typeof address === 'object' ? `http://127.0.0.1:${address?.port}/webhook` : '';

    await repository.write('ünïcode.txt', '1');
    await repository.commit('Ünïcode');
    const refUpdate = await repository.push();
    const sender = createWebhookSender();
    const target = { path: repository.path, fullName: 'acme/platform' };
    const first = await sender.deliverPush({
      url,
      secret: 's3cret-of-the-hook',
      repository: target,
      ...refUpdate,
    });
    const again = await sender.redeliver(first.deliveryId);

    expect(first).toMatchObject({ status: 200, body: { status: 'accepted' } });
    expect(again.deliveryId).toBe(first.deliveryId);
    expect(received[1]?.body).toBe(received[0]?.body);
    expect(received[1]?.headers['x-github-delivery']).toBe(first.deliveryId);
    expect(received[0]?.headers).toMatchObject({
      'x-github-event': 'push',
      'content-type': 'application/json',
    });
    const signature = String(received[0]?.headers['x-hub-signature-256']);
    const webhooks = new Webhooks({ secret: 's3cret-of-the-hook' });
    expect(await webhooks.verify(received[0]?.body ?? '', signature)).toBe(true);
  });

  it('F11: to a server that is down is recorded as failed', async () => {
    const sender = createWebhookSender();
    const delivery = await sender.deliver({
      url: 'http://127.0.0.1:9/',
      secret: 'x',
      event: 'ping',
      payload: { zen: '' },
    });
    expect(delivery.status).toBeNull();
    expect(sender.deliveries).toEqual([delivery]);
  });
});
