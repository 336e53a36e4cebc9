/** Previews of pull requests show what a merge would sync, as a status on the head and in one comment. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { appendLine, FOLDERS } from './support/platform-services.ts';
import { buildPullRequestPayload, type PullRequestEvent } from './support/pull-request-payload.ts';
import { pushRun } from './support/pushed-run.ts';
import { API_TOKENS, WEBHOOK_SECRET } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';
import { until } from './support/until.ts';
import type { Delivery } from './support/webhook-sender.ts';

const CONTEXT = 'IaC Runner / Preview';
const MARK = '<!-- iac-runner:preview -->';

const acceptedSchema = z.object({ status: z.literal('accepted'), run_id: z.string(), url: z.string() });

describe('Previews', () => {
  const stage = shareStage('previews', () => ({ PREVIEWS: 'true' }));
  let lastNumber = 6;

  /** Commits the change on a branch of its own, as GitHub keeps a pull request. The main branch does not move. */
  async function open(change: () => Promise<void>, from = 'main') {
    const { repository } = stage().stage;
    lastNumber += 1;
    const number = lastNumber;
    await repository.git('checkout', '--quiet', '-B', `pull-${number}`, from);
    await change();
    const head = await repository.commit(`Pull request ${number}`);
    await repository.push({ refspec: `HEAD:refs/pull/${number}/head`, force: true });
    await repository.git('checkout', '--quiet', 'main');
    return { number, head };
  }

  function deliver(event: Partial<PullRequestEvent> & Pick<PullRequestEvent, 'number' | 'head'>) {
    const { stage: set, runner } = stage();
    const { fullName } = set.github;
    const payload = buildPullRequestPayload({ action: 'opened', fullName, ...event });
    return set.github.deliver({
      url: `${runner.url}/webhook`,
      secret: WEBHOOK_SECRET,
      event: 'pull_request',
      payload,
    });
  }

  function runOf({ status, body }: Delivery): string {
    expect({ status, body }).toMatchObject({ status: 200, body: { status: 'accepted' } });
    return acceptedSchema.parse(body).run_id;
  }

  async function commentOf(number: number, fits: (body: string) => boolean = () => true): Promise<string> {
    const { github } = stage().stage;
    const ours = () => github.comments.of(number).filter(({ login }) => login === github.comments.ownLogin);
    return until(`a comment on #${number}`, async () => ours().find(({ body }) => fits(body))?.body ?? null, {
      seen: ours,
    });
  }

  const touch = (id: string) => appendLine(stage().stage.repository, `${FOLDERS[id]}/compose.yaml`, '# more');

  it('show on the head and in one comment what a merge would sync and because of which file, and run nothing', async () => {
    const { stage: set, runner } = stage();
    const pull = await open(() => touch('platform/redis'));
    const delivery = await deliver(pull);
    expect(delivery.body).toMatchObject({
      pull_request: pull.number,
      commit: pull.head.slice(0, 8),
    });
    const run = await runner.waitForRun(runOf(delivery), 'succeeded');
    expect(run).toMatchObject({
      kind: 'preview',
      message: 'Merging this will sync 1 service(s)',
      revision: pull.head,
      pull_request: pull.number,
      steps: [],
    });
    const status = await set.github.statuses.waitFor({ sha: pull.head, state: 'success', context: CONTEXT });
    expect(status).toMatchObject({
      description: 'Merging this will sync 1 service(s)',
      targetUrl: expect.stringContaining(`/runs/${run.run_id}?key=`),
    });
    const comment = await commentOf(pull.number);
    expect(comment.startsWith(MARK)).toBe(true);
    expect(comment).toContain('Merging this will sync 1 service(s)');
    expect(comment).toContain('- `platform/redis`: ');
    expect(comment).toContain('  - `platform/01.redis/compose.yaml`');
    expect(comment).toContain('Not affected: 12');
    expect((await set.journal.read()).syncs).toEqual([]);
    expect(set.github.statuses.history(pull.head, 'IaC Runner / Sync')).toEqual([]);
  });

  it('show what would wait for the end of a hold', async () => {
    const { stage: set, runner } = stage();
    const headers = { authorization: `Bearer ${API_TOKENS.operator}`, accept: 'application/json' };
    const body = JSON.stringify({ reason: 'Freeze', services: ['platform/redis'] });
    const held = await fetch(`${runner.url}/holds`, { method: 'POST', headers, body });
    const { id } = z.object({ id: z.string() }).parse(await held.json());
    const pull = await open(async () => {
      await touch('platform/redis');
      await touch('platform/vault');
    });
    const message = 'Merging this will sync 2 service(s), 1 of them after a hold';
    expect(await runner.waitForRun(runOf(await deliver(pull)), 'succeeded')).toMatchObject({ message });
    const comment = await commentOf(pull.number);
    expect(comment).toContain('#### Would be synced after a hold\n\n- `platform/redis`: Held by operator');
    await set.github.statuses.waitFor({ sha: pull.head, state: 'success', context: CONTEXT });
    await fetch(`${runner.url}/holds/${id}`, { method: 'DELETE', headers });
  });

  it('edit their comment in place when the head moves, among hundreds of others, one of which has our mark', async () => {
    const { stage: set, runner } = stage();
    const pull = await open(() => touch('platform/vault'));
    const { comments } = set.github;
    for (let i = 0; i < 130; i += 1) comments.add(pull.number, `Comment ${i}`);
    comments.add(pull.number, `${MARK}\nNot by us`);
    await runner.waitForRun(runOf(await deliver(pull)), 'succeeded');
    await commentOf(pull.number, (body) => body.includes('platform/vault'));
    const { repository } = set;
    await repository.git('checkout', '--quiet', `pull-${pull.number}`);
    await touch('platform/minio');
    const head = await repository.commit('One more');
    await repository.push({ refspec: `HEAD:refs/pull/${pull.number}/head` });
    await repository.git('checkout', '--quiet', 'main');
    const delivery = await deliver({ ...pull, head, action: 'synchronize' });
    await runner.waitForRun(runOf(delivery), 'succeeded');
    await commentOf(pull.number, (body) => body.includes('sync 2 service(s)'));
    const ours = comments.of(pull.number).filter(({ login }) => login === comments.ownLogin);
    expect(ours).toMatchObject([{ edits: 1 }]);
    expect(comments.of(pull.number).find(({ body }) => body.endsWith('Not by us'))?.edits).toBe(0);
  });

  it('say that nothing would be synced, and why not', async () => {
    const { stage: set, runner } = stage();
    const pull = await open(() => set.repository.write('README.md', 'Words.\n'));
    const run = await runner.waitForRun(runOf(await deliver(pull)), 'succeeded');
    expect(run.message).toBe('Merging this will sync nothing');
    expect(await commentOf(pull.number)).toContain('- `README.md`');
  });

  it('fail when the rules file of the head is broken, naming line and field', async () => {
    const { stage: set, runner } = stage();
    const pull = await open(() =>
      set.repository.write('.iac-runner.yaml', 'needs:\n  platform/redis: minio\n'),
    );
    const run = await runner.waitForRun(runOf(await deliver(pull)), 'failed');
    expect(run).toMatchObject({ reason: 'rules_invalid' });
    expect(run.message).toMatch(/^\.iac-runner\.yaml line 2, needs\.platform\/redis: /);
    await set.github.statuses.waitFor({ sha: pull.head, state: 'failure', context: CONTEXT });
    expect(await commentOf(pull.number)).toContain('`.iac-runner.yaml` line 2, ');
  });

  it('fail when two folders claim one id', async () => {
    const { stage: set, runner } = stage();
    const pull = await open(() => set.repository.write('platform/09.redis/deploy.py', '# twice\n'));
    const run = await runner.waitForRun(runOf(await deliver(pull)), 'failed');
    expect(run).toMatchObject({ reason: 'repository_invalid' });
    expect(run.message).toContain('platform/01.redis and platform/09.redis');
  });

  it('look at the merge, not at the branch alone: changes of main are not changes of the pull request', async () => {
    const { stage: set, runner } = stage();
    const pull = await open(() => touch('platform/dashy'));
    await touch('platform/signoz');
    const pushed = await pushRun(set, runner, 'Meanwhile on main');
    await runner.waitForRun(pushed.runId, 'succeeded');
    const run = await runner.waitForRun(runOf(await deliver(pull)), 'succeeded');
    expect(run.message).toBe('Merging this will sync 1 service(s)');
    await set.repository.git('merge', '--quiet', '--no-ff', '-m', 'Merge it', pull.head);
    const merge = await pushRun(set, runner, 'Empty');
    const merged = await runner.waitForRun(merge.runId, 'succeeded');
    expect(merged.steps.map(({ id }) => id)).toEqual(['platform/dashy']);
  });

  it('preview a conflict all the same, and say that it must be resolved', async () => {
    const { stage: set, runner } = stage();
    const file = `${FOLDERS['platform/authentik']}/compose.yaml`;
    const pull = await open(() => set.repository.write(file, 'services:\n  ours:\n    image: x\n'));
    await set.repository.write(file, 'services:\n  theirs:\n    image: x\n');
    await runner.waitForRun((await pushRun(set, runner, 'The other side')).runId, 'succeeded');
    const run = await runner.waitForRun(runOf(await deliver(pull)), 'succeeded');
    expect(run.message).toBe('Merging this will sync 1 service(s), once its conflicts with main are solved');
  });

  it('read forks, and leave nothing of them behind', async () => {
    const { stage: set, runner } = stage();
    const pull = await open(() => touch('platform/postgres'));
    const delivery = await deliver({ ...pull, fork: 'mallory/platform' });
    const run = await runner.waitForRun(runOf(delivery), 'succeeded');
    expect(run.message).toBe('Merging this will sync 1 service(s)');
    const mirror = join(set.runnerOptions.folder, 'data/mirrors/platform.git');
    const refs = await set.repository.git('--git-dir', mirror, 'for-each-ref', '--format=%(refname)');
    expect(refs).toBe('refs/heads/main');
    await expect(set.repository.git('--git-dir', mirror, 'cat-file', '-e', pull.head)).rejects.toThrow();
    await expect(readFile(join(set.runnerOptions.folder, 'data/previews', run.run_id))).rejects.toThrow(
      'ENOENT',
    );
  });

  it('make hostile names of files harmless in the comment', async () => {
    const { stage: set, runner } = stage();
    const folder = FOLDERS['platform/clickhouse'];
    const names = ['@octocat #1 <img src=x>', 'a`b``c|d', '](http:)', 'line\nbreak </details>', '*_~'];
    const pull = await open(async () => {
      for (const name of names)
        await set.repository.write(`${folder}/${name.replaceAll('/', '\u2215')}`, 'x');
    });
    await runner.waitForRun(runOf(await deliver(pull)), 'succeeded');
    const comment = await commentOf(pull.number);
    const outside = comment.replace(/(`+)(?!`).*?(?<!`)\1(?!`)/g, '');
    expect(outside).not.toMatch(/@|#1|<img|http:\)|\*_~/);
    expect(comment.match(/<\/details>/g)).toHaveLength(comment.match(/<details>/g)?.length ?? 0);
  });

  it('answer other events with the reason why they are ignored, and run nothing for them', async () => {
    const { head } = { head: await stage().stage.repository.head() };
    const cases: [Partial<PullRequestEvent>, string][] = [
      [{ action: 'closed' }, 'Action closed'],
      [{ action: 'labeled' }, 'Action labeled'],
      [{ action: 'edited', changes: { title: { from: 'Before' } } }, 'Action edited'],
      [
        { action: 'edited', changes: { base: { ref: { from: 'main' } } }, base: 'develop' },
        'Not main branch',
      ],
      [{ base: 'develop' }, 'Not main branch'],
      [{ fullName: 'mallory/platform' }, 'Not repository acme/platform'],
    ];
    for (const [event, reason] of cases) {
      const { status, body } = await deliver({ number: 3, head, ...event });
      expect({ status, body }).toEqual({ status: 200, body: { status: 'ignored', reason } });
    }
    const { status } = await deliver({ number: 3, head: 'not a commit' });
    expect(status).toBe(400);
    expect((await stage().runner.runs()).filter(({ pull_request: number }) => number === 3)).toEqual([]);
  });

  it('look again when the base of the pull request is changed to the branch', async () => {
    const { stage: set, runner } = stage();
    const pull = await open(() => touch('platform/redis'));
    const changes = { base: { ref: { from: 'develop' }, sha: { from: pull.head } } };
    const run = await runner.waitForRun(
      runOf(await deliver({ ...pull, action: 'edited', changes })),
      'succeeded',
    );
    expect(run).toMatchObject({ revision: pull.head, message: 'Merging this will sync 1 service(s)' });
    await set.github.statuses.waitFor({ sha: pull.head, state: 'success', context: CONTEXT });
  });

  it('look at the current head when a delivery arrives late, and end the status of the old head', async () => {
    const { stage: set, runner } = stage();
    const { repository, github } = set;
    const pull = await open(() => touch('platform/uptime-kuma'));
    await repository.git('checkout', '--quiet', `pull-${pull.number}`);
    await touch('finance_report/app');
    const newer = await repository.commit('Newer');
    await repository.push({ refspec: `HEAD:refs/pull/${pull.number}/head` });
    await repository.git('checkout', '--quiet', 'main');
    const late = await runner.waitForRun(runOf(await deliver(pull)), 'superseded');
    const covering = await runner.waitForRun(late.covered_by ?? '', 'succeeded');
    expect(covering).toMatchObject({ revision: newer, message: 'Merging this will sync 2 service(s)' });
    await github.statuses.waitFor({ sha: pull.head, state: 'success', context: CONTEXT });
    await github.statuses.waitFor({ sha: newer, state: 'success', context: CONTEXT });
  });

  it('report a comment that GitHub refuses, once, and send the status all the same', async () => {
    const { stage: set, runner } = stage();
    const { github } = set;
    const pull = await open(() => touch('finance_report/postgres'));
    const answer = { kind: 'answer', status: 403, body: { message: 'Resource not accessible' } } as const;
    const stop = github.misbehave({ how: answer, times: 'forever', path: /\/issues\// });
    const run = await runner.waitForRun(runOf(await deliver(pull)), 'succeeded');
    await github.statuses.waitFor({ sha: pull.head, state: 'success', context: CONTEXT });
    const shown = await until('the problem on the run', async () => {
      const { undelivered } = await runner.waitForRun(run.run_id, 'final');
      return Array.isArray(undelivered) && undelivered.length > 0 ? undelivered : null;
    });
    stop();
    expect(shown).toMatchObject([{ reporter: 'pull-request-comment', given_up: true }]);
    const tries = github.requests.filter(({ url }) => url.includes(`/issues/${pull.number}/`));
    expect(tries).toHaveLength(1);
  });

  it('write one comment although GitHub fails after the write took effect', async () => {
    const { stage: set, runner } = stage();
    const { github } = set;
    const pull = await open(() => touch('platform/activepieces'));
    const broken = { kind: 'answer', status: 502, body: '<html>' } as const;
    github.misbehave({ how: broken, times: 1, method: 'POST', path: /\/issues\//, takesEffect: true });
    await runner.waitForRun(runOf(await deliver(pull)), 'succeeded');
    await until('the second look', async () => {
      const looks = github.requests.filter(
        ({ method, url }) => method === 'GET' && url.includes(`/issues/${pull.number}/`),
      );
      return looks.length >= 2 ? true : null;
    });
    expect(github.comments.of(pull.number)).toHaveLength(1);
  });
});
