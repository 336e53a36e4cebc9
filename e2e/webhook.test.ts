/** The answers of /webhook, row by row, and the runs that follow. */

import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { deliver, expectNothingStored, pushOf, signedLink, waitUntilIdle } from './support/deliveries.ts';
import { webhookExamples } from './support/github-examples.ts';
import { appendLine, commitChange, syncedAt } from './support/platform-services.ts';
import { NO_COMMIT } from './support/push-payload.ts';
import { acceptedRun } from './support/run-actions.ts';
import { shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import type { Delivery } from './support/webhook-sender.ts';

const REDIS = 'platform/01.redis/compose.yaml';
const NOT_MAIN = { status: 'ignored', reason: 'Not main branch' };
const NO_CHANGES = { status: 'no_changes', message: 'No service files changed' };
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const answerOf = ({ status, body }: Delivery): object => ({ status, body });

describe('An event that is no push to the branch', () => {
  const shared = shareStage('ignored');

  it('is ignored by its name: every example of GitHub is answered 200, and nothing is stored', async () => {
    const examples = webhookExamples();
    expect(examples.length).toBeGreaterThan(300);
    await expectNothingStored(shared().runner, async () => {
      for (const { event, payload } of examples) {
        const expected = event === 'push' ? NOT_MAIN : { status: 'ignored', event };
        const { status, headers, body } = await deliver(shared(), payload, { event });
        const type = headers.get('content-type');
        expect({ event, status, type, body }).toEqual({
          event,
          status: 200,
          type: 'application/json',
          body: expected,
        });
      }
    });
  });

  it('is ignored when it is a push to our branch of another repository', async () => {
    await expectNothingStored(shared().runner, async () => {
      for (const { payload } of webhookExamples().filter(({ event }) => event === 'push')) {
        const pushed = { ...payload, ref: 'refs/heads/main', deleted: false, after: '1'.repeat(40) };
        expect(answerOf(await deliver(shared(), pushed))).toEqual({
          status: 200,
          body: { status: 'ignored', reason: 'Not repository acme/platform' },
        });
      }
      const lookalikes = ['acme/platform2', 'evil/platform', 'acme/platform ', 'acme', '', 'acme/platform/x'];
      for (const full_name of lookalikes) {
        const { body } = await deliver(shared(), { ...pushOf(REDIS), repository: { full_name } });
        expect({ full_name, body }).toMatchObject({ full_name, body: { status: 'ignored' } });
      }
    });
  });

  it('is ignored when it is a push to another branch or a tag, however similar its name is', async () => {
    const refs = [
      'heads/feature',
      'heads/main2',
      'heads/Main',
      'heads/x/main',
      'tags/main',
      'tags/v1.0',
      'notes/main',
    ];
    await expectNothingStored(shared().runner, async () => {
      for (const ref of [
        ...refs.map((name) => `refs/${name}`),
        'main',
        'refs/heads/main\n',
        '',
        ' refs/heads/main',
      ]) {
        const answer = answerOf(await deliver(shared(), { ...pushOf(REDIS), ref }));
        expect({ ref, ...answer }).toEqual({ ref, status: 200, body: NOT_MAIN });
      }
    });
  });

  it('is ignored when it is the deletion of the branch', async () => {
    await expectNothingStored(shared().runner, async () => {
      const payload = { ...pushOf(REDIS), head_commit: null };
      const forms = [
        { ...payload, after: NO_COMMIT, deleted: true },
        { ...payload, after: NO_COMMIT },
        { ...payload, deleted: true },
      ];
      for (const form of forms) {
        const { status, body } = await deliver(shared(), form);
        expect({ status, body }).toEqual({
          status: 200,
          body: { status: 'ignored', reason: 'Branch main deleted' },
        });
      }
    });
  });

  it('is ignored when its name is unknown, missing or hostile', async () => {
    await expectNothingStored(shared().runner, async () => {
      for (const event of [
        'pushed',
        'PUSH',
        'push,push',
        'constructor',
        '__proto__',
        '<script>',
        'x'.repeat(4_000),
      ]) {
        const { status, body } = await deliver(shared(), pushOf(REDIS), { event });
        expect({ event, status, body }).toMatchObject({ event, status: 200, body: { status: 'ignored' } });
        expect(JSON.stringify(body)).not.toContain('<');
      }
      expect(await deliver(shared(), {}, { event: '' })).toMatchObject({
        status: 200,
        body: { status: 'ignored' },
      });
    });
  });

  it('is ignored with an answer that has the real name of the branch', async () => {
    const stage = await setTestStage('branch');
    const runner = await stage.start({ environment: { GIT_BRANCH: 'release/2026' } });
    const { body } = await deliver({ stage, runner }, pushOf(REDIS));
    expect(body).toEqual({ status: 'ignored', reason: 'Not release/2026 branch' });
  });
});

describe('A push that changes no service', () => {
  const shared = shareStage('no-changes');

  const PATHS = [
    'README.md',
    'platform/README.md',
    'platform/notes/deploy.py',
    'platform/1x.redis/deploy.py',
    'platform/01.-redis/deploy.py',
    'platform/01.Redis/deploy.py',
    'finance_report/01.postgres/compose.yaml',
    'bootstrap/05.iac-runner/compose.yaml',
    'libs.py',
    'docs/libs/deployer.py',
    '',
    '/',
    '../platform/01.redis/compose.yaml',
  ];

  it('gets an answer that says so, and nothing is stored', async () => {
    await expectNothingStored(shared().runner, async () => {
      for (const path of PATHS) {
        expect({ path, ...answerOf(await deliver(shared(), pushOf(path))) }).toEqual({
          path,
          status: 200,
          body: NO_CHANGES,
        });
      }
      expect((await deliver(shared(), pushOf())).body).toEqual(NO_CHANGES);
      expect((await deliver(shared(), { ...pushOf(), commits: [] })).body).toEqual(NO_CHANGES);
    });
  });
});

describe('A push that changes services', () => {
  const shared = shareStage('accepted');

  it('is answered with exactly these services, sorted, however they changed, and with its commit and the run', async () => {
    const { stage, runner } = shared();
    const { repository, github } = stage;
    await repository.move('platform/04.dashy/conf.yml', 'platform/02.vault/conf.yml');
    await repository.write('platform/02.minio/notes.md', 'Buckets.\n');
    await appendLine(repository, 'finance_report/finance_report/10.app/compose.yaml', '# New.');
    const commit = await repository.commit('Move files about');
    const { status, headers, body } = await stage.push(runner);
    expect({ status, type: headers.get('content-type') }).toEqual({ status: 200, type: 'application/json' });
    expect(body).toEqual({
      status: 'accepted',
      services: ['finance_report/app', 'platform/dashy', 'platform/minio', 'platform/vault'],
      commit: commit.slice(0, 8),
      run_id: expect.stringMatching(UUID),
      url: expect.stringContaining(`http://localhost/runs/${acceptedRun({ status, body })}?key=`),
    });
    await runner.waitForRun(acceptedRun({ status, body }), 'succeeded');
    expect(await github.statuses.waitFor({ sha: commit, state: 'success' })).toMatchObject({
      targetUrl: `http://localhost${signedLink({ body })}`,
      description: '4 service(s) synced successfully',
    });
  });

  it('gets an address that opens the run, and no other run, without a token', async () => {
    const { stage, runner } = shared();
    await commitChange(stage.repository, ['platform/redis'], 'Open the run');
    const { status, body } = await stage.push(runner);
    const runId = acceptedRun({ status, body });
    const link = signedLink({ body });
    const [pathname = '', key = ''] = link.split('?');
    expect(await runner.getJson(link, null)).toMatchObject({
      status: 200,
      body: { run_id: runId },
    });
    expect((await runner.getJson(pathname, null)).status).toBe(401);
    const other = (await runner.runs()).find((run) => run.run_id !== runId)?.run_id ?? randomUUID();
    expect((await runner.getJson(`/runs/${other}?${key}`, null)).status).toBe(401);
  });

  it('names all services when a shared path changed, beside those that it names itself', async () => {
    const { stage, runner } = shared();
    await appendLine(stage.repository, 'libs/console.py', '# Shared.');
    await appendLine(stage.repository, 'platform/01.redis/compose.yaml', '# Own.');
    await stage.repository.commit('Change what all share');
    const { body } = await stage.push(runner);
    expect(body).toMatchObject({ status: 'accepted', services: ['__all__', 'platform/redis'] });
    const { body: entry } = await deliver(shared(), pushOf('tasks.py', 'platform/07.new/deploy.py'));
    expect(entry).toMatchObject({ services: ['__all__', 'platform/new'] });
  });

  it('is accepted from our repository in upper and lower case, and without a repository', async () => {
    for (const repository of [{ full_name: 'ACME/Platform' }, { full_name: null }, {}, null, undefined]) {
      const answer = await deliver(shared(), { ...pushOf(REDIS), repository });
      expect({ repository, body: answer.body }).toMatchObject({ repository, body: { status: 'accepted' } });
    }
  });

  const MINIMAL: Record<string, (head: string) => string> = {
    'with a short commit': (head) =>
      JSON.stringify({ ref: 'refs/heads/main', after: head.slice(0, 7), commits: [{ modified: [REDIS] }] }),
    'with half a commit': (head) =>
      JSON.stringify({ ref: 'refs/heads/main', after: head.slice(0, 20), commits: [{ added: [REDIS] }] }),
    'without a commit': () => JSON.stringify({ ref: 'refs/heads/main', commits: [{ removed: [REDIS] }] }),
    'with an empty commit': () =>
      JSON.stringify({ ref: 'refs/heads/main', after: '', commits: [{ modified: [REDIS] }] }),
    'with a commit that is no commit id': () =>
      JSON.stringify({ ref: 'refs/heads/main', after: 'HEAD; touch x', commits: [{ modified: [REDIS] }] }),
    'without commits at all': (head) => JSON.stringify({ ref: 'refs/heads/main', after: head }),
    'in odd white space': (head) =>
      ` {\r\n\t"ref" : "refs/heads/main",\n\n"after":\t"${head}" , "commits" : [ { "modified" : [ "${REDIS}" ] } ] }\n\n`,
  };

  for (const [what, payload] of Object.entries(MINIMAL)) {
    it(`may be as small as a payload ${what}: the branch head runs`, async () => {
      const { stage, runner } = shared();
      await waitUntilIdle(runner);
      const head = await commitChange(stage.repository, ['platform/redis'], `Push a payload ${what}`);
      await stage.repository.push();
      const text = payload(head);
      const { status, body } = await deliver(shared(), text);
      const after = /"after"\s*:\s*"([^"]*)"/.exec(text)?.[1] ?? '';
      const services = text.includes(REDIS) ? ['platform/redis'] : [];
      expect(body).toMatchObject({ status: 'accepted', services, commit: after.slice(0, 8) });
      const run = await runner.waitForRun(acceptedRun({ status, body }), 'succeeded');
      expect(run.revision).toBe(head);
      // Without a `before`, there may be more to do, because nothing says what is deployed already.
      expect(await syncedAt(stage.journal, head)).toContain('platform/redis');
      await stage.github.statuses.waitFor({ sha: head, state: 'success' });
    });
  }
});
