/** What /sync answers, row by row, and what then runs. */

import { randomUUID } from 'node:crypto';
import { rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { expectNothingStored, idle, signedLink } from './support/deliveries.ts';
import { ALL_IDS, commitChange, syncedAt } from './support/platform-services.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import type { Answer } from './support/runner-client.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { signBody } from './support/webhook-sender.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

function sync(runner: Runner, body: unknown): Promise<Answer> {
  return runner.signedPost('/sync', body);
}

describe('A request that makes no sense', () => {
  const shared = shareStage('sync-refusals');

  it('names nothing and is answered so', async () => {
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

  it('names an unknown, excluded or malformed service among good ones: it is named back, and nothing runs', async () => {
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

  it('names one beside "all": it is named back, and nothing runs', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      for (const name of ['platform/nope', 'bootstrap/iac-runner']) {
        const { status, body } = await sync(runner, { all: true, services: [name] });
        expect({ status, body }).toEqual({ status: 400, body: { error: expect.stringContaining(name) } });
      }
    });
  });

  it('names ten thousand: it is refused in a few words', async () => {
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

  /** A body → what its error must name. */
  const WRONG: [object, string][] = [
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

  it('has a field of the wrong type or an unknown one: the field is named, and nothing runs', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      for (const [body, field] of WRONG) {
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

  it('asks for a commit that is not on the branch: it is named, and nothing runs', async () => {
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

  it('is no POST: it is answered 405', async () => {
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

describe('A request for services', () => {
  const shared = shareStage('sync');

  it('is answered with them, sorted and once each, and runs exactly them at the branch head', async () => {
    const { stage, runner } = shared();
    const head = await commitChange(
      stage.repository,
      ['platform/redis', 'platform/minio', 'platform/vault'],
      'Three',
    );
    await stage.repository.push();
    const answer = await sync(runner, { services: ['platform/vault', 'platform/redis', 'platform/vault'] });
    expect(answer).toMatchObject({ status: 200 });
    expect(answer.body).toEqual({
      status: 'accepted',
      services: ['platform/redis', 'platform/vault'],
      run_id: expect.stringMatching(UUID),
      url: expect.stringContaining('http://localhost/runs/'),
    });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run).toMatchObject({ revision: head, message: '2 service(s) synced successfully' });
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/redis', 'platform/vault']);
    expect((await runner.getJson(signedLink(answer), null)).status).toBe(200);
  });

  it('skips what is unchanged, and with force runs it', async () => {
    const { stage, runner } = shared();
    const head = await commitChange(stage.repository, ['platform/dashy'], 'Dash');
    await stage.repository.push();
    const asked = { services: ['platform/dashy'] };
    const first = await runner.waitForRun(acceptedRun(await sync(runner, asked)), 'succeeded');
    const second = await runner.waitForRun(acceptedRun(await sync(runner, asked)), 'succeeded');
    expect(second.message).toBe('No services required sync');
    expect(second.steps).toMatchObject([{ id: 'platform/dashy', state: 'skipped' }]);
    expect(second.steps[0]?.message).toMatch(/unchanged since run/i);
    expect(second.steps[0]?.message).toContain(first.run_id.slice(0, 8));
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/dashy']);
    const forced = await sync(runner, { ...asked, force: true });
    expect((await runner.waitForRun(acceptedRun(forced), 'succeeded')).message).toBe(
      '1 service(s) synced successfully',
    );
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/dashy', 'platform/dashy']);
  });

  it('knows a service that was pushed a second ago and never fetched', async () => {
    const { stage, runner } = shared();
    const { repository } = stage;
    await sync(runner, { services: ['platform/redis'] });
    await repository.write(
      'platform/08.brand-new/deploy.py',
      'from invoke import task\n\n@task\ndef sync(_c):\n    pass\n',
    );
    await repository.write('platform/08.brand-new/compose.yaml', 'services: {}\n');
    const head = await repository.commit('Add a service');
    await repository.push();
    const answer = await sync(runner, { services: ['platform/brand-new'] });
    expect(answer).toMatchObject({ status: 200, body: { services: ['platform/brand-new'] } });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run).toMatchObject({ revision: head, steps: [{ id: 'platform/brand-new', state: 'succeeded' }] });
    // And forgets it as soon.
    await repository.remove('platform/08.brand-new');
    await repository.commit('Remove it again');
    await repository.push();
    const gone = await sync(runner, { services: ['platform/brand-new'] });
    if (gone.status === 200) {
      const after = await runner.waitForRun(acceptedRun(gone), 'failed');
      expect(after.steps[0]?.message).toContain('There is no service platform/brand-new at');
    } else expect(gone.status).toBe(400);
  });

  it('with "all" is a request for every one', async () => {
    const { stage, runner } = shared();
    const answer = await sync(runner, { all: true, force: true });
    expect(answer.body).toMatchObject({ status: 'accepted', services: ALL_IDS });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run.message).toBe('12 service(s) synced successfully');
    const succeeded = run.steps.filter(({ state }) => state === 'succeeded');
    expect(succeeded.map(({ id }) => id).toSorted()).toEqual(ALL_IDS);
    expect((await stage.journal.read()).overlaps).toEqual([]);
  });

  it('as a dry run starts nothing, tells nothing to GitHub, and its page says what would be done', async () => {
    const { stage, runner } = shared();
    const head = await commitChange(stage.repository, ['platform/signoz'], 'Would be synced');
    await stage.repository.push();
    await idle(runner);
    const { syncs } = await stage.journal.read();
    const answer = await sync(runner, { services: ['platform/signoz', 'platform/redis'], dry_run: true });
    expect(answer.body).toMatchObject({
      status: 'accepted',
      services: ['platform/redis', 'platform/signoz'],
    });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run).toMatchObject({ dry_run: true, message: 'Dry run: 1 service(s) would be synced' });
    const page = await fetch(runner.url + signedLink(answer), { headers: { accept: 'text/html' } });
    expect(await page.text()).toContain('Would be synced');
    expect((await stage.journal.read()).syncs).toEqual(syncs);
    // What follows is told after it would have been.
    const really = await sync(runner, { services: ['platform/signoz'] });
    await runner.waitForRun(acceptedRun(really), 'succeeded');
    await stage.github.statuses.waitFor({ sha: head, state: 'success' });
    const told = stage.github.statuses.history(head).map(({ targetUrl }) => targetUrl);
    expect(told.filter((url) => url?.includes(run.run_id))).toEqual([]);
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/signoz']);
  });

  it('at a commit deploys exactly that one, also an older one, and says so', async () => {
    const { stage, runner } = shared();
    const { repository, journal, github } = stage;
    const older = await commitChange(repository, ['platform/vault'], 'Older');
    const newer = await commitChange(repository, ['platform/vault'], 'Newer');
    await repository.push();
    await runner.waitForRun(acceptedRun(await sync(runner, { services: ['platform/vault'] })), 'succeeded');
    expect(await syncedAt(journal, newer)).toEqual(['platform/vault']);
    const answer = await sync(runner, { services: ['platform/vault'], revision: older });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run).toMatchObject({ revision: older, requested_revision: older });
    expect(await syncedAt(journal, older)).toEqual(['platform/vault']);
    expect(await github.statuses.waitFor({ sha: older, state: 'success' })).toMatchObject({
      description: '1 service(s) synced successfully',
    });
  });
});

describe('The status of a sync', () => {
  const shared = shareStage('sync-status', () => ({ IAC_EXAMPLE_SLEEP_MS: '2500' }));
  const told = (sha: string): string[] =>
    shared()
      .stage.github.statuses.history(sha)
      .map(({ state, description, context }) => `${context}: ${state} ${description}`);

  it('is told in the texts that people know, from waiting to its end', async () => {
    const { stage, runner } = shared();
    const { repository, github } = stage;
    const first = await commitChange(repository, ['platform/redis'], 'First');
    await repository.push();
    await runner.waitForRun(acceptedRun(await sync(runner, { services: ['platform/redis'] })), 'running');
    await stage.journal.waitForStart('platform/redis');
    const second = await commitChange(repository, ['platform/redis', 'platform/minio'], 'Second');
    const behind = acceptedRun(await stage.push(runner));
    await github.statuses.waitFor({ sha: first, state: 'success' });
    await runner.waitForRun(behind, 'succeeded');
    await github.statuses.waitFor({ sha: second, state: 'success' });
    const context = 'IaC Runner / Sync';
    expect(told(first).slice(-2)).toEqual([
      `${context}: pending Syncing 1 service(s)...`,
      `${context}: success 1 service(s) synced successfully`,
    ]);
    expect(told(second)).toEqual([
      `${context}: pending Waiting for previous sync to complete`,
      `${context}: pending Syncing 2 service(s)...`,
      `${context}: success 2 service(s) synced successfully`,
    ]);
  });

  it('says that nothing was to do, and how many failed', async () => {
    const { stage, runner } = shared();
    const { repository, github } = stage;
    const same = await repository.commit('Change nothing');
    await repository.push();
    await idle(runner);
    const nothing = await sync(runner, { services: ['platform/redis'], revision: same });
    expect((await runner.waitForRun(acceptedRun(nothing), 'succeeded')).message).toBe(
      'No services required sync',
    );
    await github.statuses.waitFor({ sha: same, state: 'success' });
    expect(told(same).at(-1)).toBe('IaC Runner / Sync: success No services required sync');
    await repository.write('platform/01.postgres/compose.yaml', 'services: {}\n');
    const broken = await commitChange(repository, ['platform/vault'], 'Break postgres');
    await repository.push();
    const failing = await sync(runner, { services: ['platform/postgres', 'platform/vault'] });
    await runner.waitForRun(acceptedRun(failing), 'failed');
    await github.statuses.waitFor({ sha: broken, state: 'failure' });
    expect(told(broken).at(-1)).toBe('IaC Runner / Sync: failure 1/2 service(s) failed to sync');
  });
});

describe('A repository that cannot be reached', () => {
  it('is answered 503 with Retry-After where it must be asked, told as an error, and nothing stays broken', async () => {
    const stage = await setTestStage('unreachable');
    const { repository, github } = stage;
    const link = join(stage.folder, 'link.git');
    const away = join(stage.folder, 'away.git');
    await symlink(repository.path, away);
    const head = await repository.head();
    const runner = await stage.start({ environment: { GIT_REPO_URL: link } });
    const nothing = { status: 503, body: { error: expect.stringContaining('repository') } };
    for (const body of [{ all: true }, { services: ['platform/redis'] }, { services: ['platform/nope'] }]) {
      const answer = await sync(runner, body);
      expect(answer).toMatchObject(nothing);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(Object.keys(answer.body as object)).toEqual(['error']);
    }
    expect(await runner.runs()).toEqual([]);

    await rename(away, link);
    await runner.waitForRun(acceptedRun(await sync(runner, { all: true })), 'final');
    await rename(link, away);
    const known = await sync(runner, { services: ['platform/redis'], revision: head, force: true });
    const run = await runner.waitForRun(acceptedRun(known), 'errored');
    expect(run).toMatchObject({ reason: 'git_unavailable', message: 'Failed to update git repository' });
    expect(await github.statuses.waitFor({ sha: head, state: 'error' })).toMatchObject({
      description: 'Failed to update git repository',
    });
    expect(await sync(runner, { services: ['platform/nope'] })).toMatchObject(nothing);

    await rename(away, link);
    const again = await sync(runner, { services: ['platform/redis'], revision: head, force: true });
    await runner.waitForRun(acceptedRun(again), 'succeeded');
    await github.statuses.waitFor({ sha: head, state: 'success' });
  });
});

describe('The time and nonce of a request', () => {
  const shared = shareStage('nonces');
  const BODY = '{"services":["platform/redis"]}';
  const NOW = (): number => Math.floor(Date.now() / 1_000);

  interface Stamped {
    body?: string;
    timestamp?: string | number;
    nonce?: string;
    /** Default: as it should be. */
    signed?: string;
    without?: 'timestamp' | 'nonce';
  }

  function stamped(runner: Runner, options: Stamped = {}): Promise<Answer> {
    const { body = BODY, timestamp = NOW(), nonce = randomUUID(), without } = options;
    const signed = options.signed ?? `${timestamp}.${nonce}.${body}`;
    const stamp: Record<string, string> = { 'x-iac-timestamp': `${timestamp}`, 'x-iac-nonce': nonce };
    if (without) delete stamp[`x-iac-${without}`];
    const headers = { 'x-hub-signature-256': signBody(WEBHOOK_SECRET, signed), ...stamp };
    return runner.signedPost('/sync', body, { headers });
  }

  const refused = { status: 401, body: { error: expect.any(String) } };

  it('make it good once: a second time, with whatever body, it is refused', async () => {
    const { runner } = shared();
    const once = { timestamp: NOW(), nonce: 'nonce-0123456789_ABC' };
    expect(await stamped(runner, once)).toMatchObject({ status: 200, body: { status: 'accepted' } });
    await expectNothingStored(runner, async () => {
      expect(await stamped(runner, once)).toMatchObject(refused);
      expect(await stamped(runner, { ...once, timestamp: NOW() + 1 })).toMatchObject(refused);
      expect(await stamped(runner, { ...once, body: '{"all":true}' })).toMatchObject(refused);
    });
  });

  it('sent many times at once are good once', async () => {
    const { runner } = shared();
    const once = { timestamp: NOW(), nonce: randomUUID() };
    const answers = await Promise.all(Array.from({ length: 20 }, () => stamped(runner, once)));
    const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b);
    expect(statuses).toEqual([200, ...Array<number>(19).fill(401)]);
  });

  it('are good within 300 seconds of the clock and not beyond, in either direction', async () => {
    const { runner } = shared();
    for (const off of [-280, 280]) {
      expect({ off, status: (await stamped(runner, { timestamp: NOW() + off })).status }).toEqual({
        off,
        status: 200,
      });
    }
    await expectNothingStored(runner, async () => {
      for (const off of [-301, -320, -86_400, 330, 86_400]) {
        const { status } = await stamped(runner, { timestamp: NOW() + off });
        expect({ off, status }).toEqual({ off, status: 401 });
      }
    });
  });

  it('that are malformed, or one without the other, are refused', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const forms: Stamped[] = [
        ...[
          '',
          '0',
          '-1',
          '1e9',
          `${NOW()}.5`,
          `+${NOW()}`,
          `${NOW()}000`,
          'now',
          '99999999999999999999',
        ].map((timestamp) => ({ timestamp })),
        ...['', 'short12', 'x'.repeat(129), 'with space', 'with.dots', 'ünïcode8', 'a,b,c,d,e'].map(
          (nonce) => ({ nonce }),
        ),
        { without: 'timestamp' },
        { without: 'nonce' },
      ];
      for (const form of forms) {
        const answer = await stamped(runner, form);
        expect({ form, status: answer.status }).toEqual({ form, status: 401 });
      }
      for (const nonce of ['x'.repeat(8), 'x'.repeat(128)]) {
        expect((await stamped(runner, { nonce, body: '{}' })).status).toBe(400);
      }
    });
  });

  it('are part of what is signed', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const nonce = randomUUID();
      const timestamp = NOW();
      const forms = [
        BODY,
        `${timestamp - 1}.${nonce}.${BODY}`,
        `${timestamp}.${randomUUID()}.${BODY}`,
        `${timestamp}.${nonce}${BODY}`,
      ];
      for (const signed of forms) {
        const answer = await stamped(runner, { timestamp, nonce, signed });
        expect(answer).toMatchObject({ status: 401, body: { error: 'Invalid signature' } });
      }
      // A captured request without its stamp, and with its stamp inside of the body.
      const signature = signBody(WEBHOOK_SECRET, `${timestamp}.${nonce}.${BODY}`);
      const headers = { 'x-hub-signature-256': signature };
      expect((await runner.signedPost('/sync', BODY, { headers })).status).toBe(401);
      const inside = await runner.signedPost('/sync', `${timestamp}.${nonce}.${BODY}`, { headers });
      expect(inside.status).toBe(400);
    });
  });

  it('are demanded by SYNC_REQUIRE_TIMESTAMP, and stay spent over a restart', async () => {
    const stage = await setTestStage('demanded');
    const environment = { SYNC_REQUIRE_TIMESTAMP: 'true' };
    const runner = await stage.start({ environment });
    expect(await sync(runner, { all: true })).toMatchObject(refused);
    expect(await runner.runs()).toEqual([]);
    const once = { timestamp: NOW(), nonce: randomUUID() };
    await runner.waitForRun(acceptedRun(await stamped(runner, once)), 'succeeded');
    // GitHub cannot send them, so the other door does without.
    const head = await commitChange(stage.repository, ['platform/redis'], 'Without a nonce');
    const run = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(run.revision).toBe(head);
    await runner.kill();
    const restarted = await stage.start({ environment });
    await expectNothingStored(restarted, async () => {
      expect(await stamped(restarted, once)).toMatchObject(refused);
    });
  });
});
