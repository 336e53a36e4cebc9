/** Requests that /sync refuses: nothing runs, and the answer names the mistake. */

import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { expectNothingStored, sync } from './support/deliveries.ts';
import { commitChange } from './support/platform-services.ts';
import type { Runner } from './support/runner.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';

describe('A request that is not valid', () => {
  const shared = shareStage('sync-refusals');

  it('names no service: the answer says so', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const bodies = [{}, { services: [] }, { all: false }, { services: [], all: false }, { force: true }];
      for (const body of [...bodies, { dry_run: true }, { revision: 'a'.repeat(40) }]) {
        const { status, body: answer } = await sync(runner, body);
        expect({ body, status, answer }).toEqual({
          body,
          status: 400,
          answer: { error: 'No services specified' },
        });
      }
    });
  });

  const UNKNOWN = [
    'platform/nope',
    'redis',
    'platform/01.redis',
    'platform/redis.sync',
    'platform/redis/',
    ' platform/redis',
    'Platform/Redis',
    'finance_report/redis',
    'bootstrap/nope',
    '__all__',
    '*',
    '.',
    '',
    '../platform/redis',
    'platform/-revil',
    'platform/a;touch$IFS',
    'platform/rédis',
    'constructor',
    'platform/new\nline',
  ];

  it('names an unknown, excluded or malformed service among good ones: the answer names it, and nothing runs', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      for (const name of [...UNKNOWN, 'bootstrap/iac-runner']) {
        const { status, body } = await sync(runner, { services: ['platform/redis', name, 'platform/vault'] });
        expect({ name, status, body }).toEqual({
          name,
          status: 400,
          body: { error: expect.stringContaining(JSON.stringify(name)) },
        });
        expect(JSON.stringify(body)).not.toContain('vault');
      }
      const several = await sync(runner, { services: ['platform/x1', 'platform/redis', 'platform/x2'] });
      expect(several.body).toEqual({ error: expect.stringMatching(/platform\/x1.*platform\/x2/) });
      const excluded = await sync(runner, { services: ['bootstrap/iac-runner'] });
      expect(excluded.body).toEqual({ error: expect.stringMatching(/excluded/i) });
    });
  });

  it('names an unknown service beside "all": the answer names it, and nothing runs', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      for (const name of ['platform/nope', 'bootstrap/iac-runner']) {
        const { status, body } = await sync(runner, { all: true, services: [name] });
        expect({ status, body }).toEqual({ status: 400, body: { error: expect.stringContaining(name) } });
      }
    });
  });

  it('names ten thousand services: it is refused in a few words', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      for (const count of [10_000, 10_001]) {
        const services = Array.from({ length: count }, (_, index) => `platform/service-${index}`);
        const { status, body } = await sync(runner, { services });
        expect(status).toBe(400);
        expect(JSON.stringify(body).length).toBeLessThan(1_000);
      }
      const { status, body } = await sync(runner, { services: ['x'.repeat(500_000)] });
      expect(status).toBe(400);
      expect(JSON.stringify(body).length).toBeLessThan(1_000);
    });
  });

  /** The texts that the error must contain, by the body of the request. */
  const WRONG_REQUESTS: [object, string][] = [
    [{ services: ['platform/redis'], all: 'false' }, 'all'],
    [{ all: 'true' }, 'all'],
    [{ all: 1 }, 'all'],
    [{ all: null }, 'all'],
    [{ services: 'platform/redis' }, 'services'],
    [{ services: { 0: 'platform/redis' } }, 'services'],
    [{ services: ['platform/redis', 1] }, 'services'],
    [{ services: ['platform/redis', null] }, 'services'],
    [{ services: [['platform/redis']] }, 'services'],
    [{ all: true, services: null }, 'services'],
    [{ all: true, force: 1 }, 'force'],
    [{ all: true, force: 'false' }, 'force'],
    [{ all: true, dry_run: 'yes' }, 'dry_run'],
    [{ all: true, dry_run: 0 }, 'dry_run'],
    [{ all: true, dryRun: true }, 'dryRun'],
    [{ all: true, service: 'platform/redis' }, 'service'],
    [{ all: true, revision: 'main' }, 'revision'],
    [{ all: true, revision: 'abcdef1' }, 'revision'],
    [{ all: true, revision: 'A'.repeat(40) }, 'revision'],
    [{ all: true, revision: `${'a'.repeat(40)}\n` }, 'revision'],
    [{ all: true, revision: '--upload-pack=touch x' }, 'revision'],
    [{ all: true, revision: 7 }, 'revision'],
  ];

  it('has a field of the wrong type or an unknown field: the answer names the field, and nothing runs', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      for (const [body, field] of WRONG_REQUESTS) {
        const { status, body: answer } = await sync(runner, body);
        expect({ body, status, answer }).toEqual({
          body,
          status: 400,
          answer: { error: expect.stringContaining(field) },
        });
      }
      for (const body of [
        '[]',
        'null',
        '"all"',
        '1',
        'true',
        '[{"all":true}]',
        '{"__proto__":{"all":true}}',
      ]) {
        expect({ body, status: (await sync(runner, body)).status }).toEqual({ body, status: 400 });
      }
    });
  });

  it('requests a commit that is not on the branch: the answer names the commit, and nothing runs', async () => {
    const { stage, runner } = shared();
    const { repository } = stage;
    const head = await repository.head();
    const local = await commitChange(repository, ['platform/redis'], 'Never pushed');
    await repository.git('reset', '--quiet', '--hard', head);
    const elsewhere = await commitChange(repository, ['platform/redis'], 'On another branch');
    await repository.push({ refspec: 'HEAD:refs/heads/other' });
    await repository.git('reset', '--quiet', '--hard', head);
    await expectNothingStored(runner, async () => {
      for (const revision of [local, elsewhere, '0'.repeat(40), 'f'.repeat(40)]) {
        const { status, body } = await sync(runner, { all: true, revision });
        expect({ status, body }).toEqual({ status: 400, body: { error: expect.stringContaining(revision) } });
      }
    });
  });

  it('is no POST: the answer is 405', async () => {
    const { runner } = shared();
    for (const path of ['/sync', '/webhook']) {
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const response = await fetch(runner.url + path, { method });
        expect({ path, method, status: response.status, allow: response.headers.get('allow') }).toEqual({
          path,
          method,
          status: 405,
          allow: 'POST',
        });
        expect(await response.json()).toEqual({ error: expect.stringContaining('POST') });
      }
    }
  });
});

describe('The secret that signs /sync', () => {
  const SYNC_SECRET = 'e2e-sync-secret-83aa';
  const PREVIOUS = 'e2e-previous-sync-secret-21dd';
  const WEBHOOK_PREVIOUS = 'e2e-previous-webhook-secret-77fe';
  const signed = (runner: Runner, path: string, secret: string) => {
    const headers = { 'x-github-event': 'ping', 'x-github-delivery': randomUUID() };
    return runner.signedPost(path, { services: ['platform/redis'], dry_run: true }, { secret, headers });
  };
  /** The answers to requests that are signed with each of the secrets, and with a secret that nobody configured. */
  async function statuses(runner: Runner, path: string): Promise<number[]> {
    const found: number[] = [];
    for (const secret of [SYNC_SECRET, PREVIOUS, WEBHOOK_SECRET, WEBHOOK_PREVIOUS, 'nobody-knows-it']) {
      found.push((await signed(runner, path, secret)).status);
    }
    return found;
  }

  it('is SYNC_SECRET or the previous one, and the webhook secrets where neither is set', async () => {
    const stage = await setTestStage('sync-secret');
    const environment = { WEBHOOK_SECRET_PREVIOUS: WEBHOOK_PREVIOUS };
    const shared = await stage.start({ environment });
    expect(await statuses(shared, '/sync')).toEqual([401, 401, 200, 200, 401]);
    await shared.stop();
    const apart = await stage.start({ environment: { ...environment, SYNC_SECRET } });
    expect(await statuses(apart, '/sync')).toEqual([200, 401, 401, 401, 401]);
    expect(await statuses(apart, '/webhook')).toEqual([401, 401, 200, 200, 401]);
    await apart.stop();
    const rotated = await stage.start({
      environment: { ...environment, SYNC_SECRET, SYNC_SECRET_PREVIOUS: PREVIOUS },
    });
    expect(await statuses(rotated, '/sync')).toEqual([200, 200, 401, 401, 401]);
    expect(await statuses(rotated, '/webhook')).toEqual([401, 401, 200, 200, 401]);
  });
});
