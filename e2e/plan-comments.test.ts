/** Plans that Pub/Sub requests: from the message over the real tool to one comment, with the request's own token. */

import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  ACCOUNT,
  AUDIENCE,
  goodClaims,
  ISSUER,
  type KeyServer,
  startKeyServer,
} from '../src/triggers/key-server.fixture.ts';
import { withoutTerraform } from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import { type GitServer, serveGitOverHttp } from './support/git-over-http.ts';
import { expectNoViolations, type LocalGithub, startLocalGithub } from './support/local-github.ts';
import { obtainedInvoke } from './support/obtained.ts';
import type { Runner } from './support/runner.ts';
import { type Stage, setStage } from './support/stage.ts';
import { until } from './support/until.ts';

const TOKEN = 'ghs_e2eCANARY0123456789';
const ONE = 'resource "terraform_data" "one" {\n  input = "x"\n}\n';

describeUnless(withoutTerraform(), 'Plans that Pub/Sub requests', () => {
  let stage: Stage;
  let keys: KeyServer;
  let github: LocalGithub;
  let git: GitServer;
  let runner: Runner;
  let environment: Record<string, string | undefined>;
  let lastMessage = 0;

  beforeAll(async () => {
    stage = await setStage({ name: 'plan-comments', invoke: obtainedInvoke() });
    keys = await startKeyServer();
    github = await startLocalGithub({ fullName: 'acme/infra', token: TOKEN });
    git = await serveGitOverHttp({
      repositoryPath: stage.repository.path,
      user: 'x-access-token',
      password: TOKEN,
      onRequest: () => undefined,
    });
    const bin = join(stage.folder, 'bin');
    await mkdir(bin);
    await writeFile(join(bin, 'tofu'), '#!/bin/sh\nexec terraform "$@"\n');
    await chmod(join(bin, 'tofu'), 0o755);
    environment = {
      PATH: `${bin}:${process.env.PATH}`,
      GITHUB_API_URL: github.url,
      // The server has no token of its own, because comments need none.
      GITHUB_TOKEN: undefined,
      PUBSUB_AUDIENCE: AUDIENCE,
      TRUST_PULL_REQUEST_AUTHORS: 'true',
      PUBSUB_SERVICE_ACCOUNT: ACCOUNT,
      PUBSUB_ISSUER: ISSUER,
      PUBSUB_JWKS_URL: keys.url,
      PLAN_ALLOWED_HOSTS: `${new URL(github.url).host},${git.address.split('/')[0]}`,
      GIT_ALLOWED_PROTOCOLS: 'https,http',
      DEPLOY_DIR: join(stage.folder, 'deployments'),
      PLANS: 'false',
    };
    runner = await stage.start({ environment });
  });

  afterAll(async () => {
    await stage?.close();
    await Promise.all([keys?.close(), github?.close(), git?.close()]);
  });

  async function head(text: string, file = 'infra/main.tf'): Promise<string> {
    const { repository } = stage;
    await repository.write(file, text);
    const commit = await repository.commit('Change the infrastructure');
    await repository.push({ refspec: `HEAD:refs/pull/7/head`, force: true });
    return commit;
  }

  async function push(
    revision: string,
    { planId = 'p1', number = 7, token = TOKEN, messageId = '' } = {},
  ): Promise<number> {
    lastMessage += 1;
    const request = {
      request_id: 'r-1',
      repo: { full_name: 'acme/infra', clone_url: `http://${git.address}`, default_branch: 'main' },
      pull_request: { number, head_sha: revision, head_ref: 'topic', base_ref: 'main' },
      installation: { id: 1, token },
      work: { dir: 'infra', plan_id: planId },
      github_api_base_url: github.url,
    };
    const data = Buffer.from(JSON.stringify(request)).toString('base64');
    const message = { data, messageId: messageId || `m-${lastMessage}` };
    const response = await fetch(`${runner.url}/pubsub/push`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await keys.sign(goodClaims())}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({ message, subscription: 'projects/p/subscriptions/s' }),
    });
    return response.status;
  }

  const commentsOf = (number: number) =>
    github.comments.of(number).filter(({ login }) => login === github.comments.ownLogin);

  function comment(number: number, fits: (body: string) => boolean): Promise<string> {
    return until(
      `a comment on #${number}`,
      async () => commentsOf(number).find(({ body }) => fits(body))?.body ?? null,
      { seen: () => [commentsOf(number), runner.output().slice(-3_000)] },
    );
  }

  it('are shown in one comment, which is edited in place among more than a page of others', async () => {
    for (let i = 0; i < 130; i += 1) github.comments.add(7, `Comment ${i}`);
    const first = await head(ONE);
    expect(await push(first)).toBe(204);
    const body = await comment(7, (text) => text.includes(first));
    expect(body).toContain('<!-- runners-poc:plan:p1 -->');
    expect(body).toContain('**Plan: 1 to add, 0 to change, 0 to destroy.**');
    expect(body).toContain('terraform_data.one will be created');

    const second = await head(ONE + ONE.replace('"one"', '"two"'));
    expect(await push(second)).toBe(204);
    expect(await comment(7, (text) => text.includes(second))).toContain('2 to add');
    expect(commentsOf(7)).toHaveLength(1);
    expect(commentsOf(7)[0]?.edits).toBe(1);

    expect(await push(second, { planId: 'p2' })).toBe(204);
    await comment(7, (text) => text.includes('plan:p2'));
    expect(commentsOf(7)).toHaveLength(2);
    expectNoViolations(github);
  });

  it('that fail explain the failure in the same comment', async () => {
    const broken = await head('resource "nonsense" {\n');
    await push(broken, { number: 8 });
    const body = await comment(8, (text) => text.includes(broken));
    expect(body).toContain('### OpenTofu plan failed');
    expect(body).toContain('Next step: ');
    const fixed = await head(ONE);
    await push(fixed, { number: 8 });
    expect(await comment(8, (text) => text.includes(fixed))).toContain('1 to add');
    expect(commentsOf(8)).toHaveLength(1);
  });

  it('with a token that is no longer valid end as undeliverable and delay no other plan', async () => {
    const revision = await head(ONE);
    await push(revision, { number: 9, token: 'ghs_e2eCANARYexpired' });
    await push(revision, { number: 10 });
    await comment(10, (text) => text.includes(revision));
    await until('the undeliverable comment', async () =>
      runner.output().includes('pull request comment is undeliverable') ? true : null,
    );
    expect(commentsOf(9)).toEqual([]);
  });

  it('of a head from a fork wait for an approval before anything is fetched', async () => {
    const revision = await head(ONE);
    github.pulls.set({ number: 11, head: revision, fork: 'stranger/infra' });
    const before = git.admitted;
    await push(revision, { number: 11 });
    const body = await comment(11, (text) => text.includes(revision));
    expect(body).toContain('awaits approval');
    expect(git.admitted).toBe(before);
  });

  it.each([0, 250, 600, 1_200])(
    'survive a kill -9 after %i ms and are shown in one comment in the end',
    async (delayMs) => {
      const revision = await head(ONE);
      const number = 100 + delayMs;
      await push(revision, { number });
      await sleep(delayMs);
      await runner.kill();
      runner = await stage.start({ environment });
      const body = await comment(number, (text) => text.includes(revision));
      expect(body).toContain('1 to add');
      expect(commentsOf(number)).toHaveLength(1);
    },
  );

  it('survive a kill -9 between their end and their comment: the token is kept until the comment is written', async () => {
    const revision = await head(ONE);
    const how = { kind: 'answer', status: 502, body: 'Bad gateway' } as const;
    const stopFailing = github.misbehave({ how, times: 'forever', path: /\/issues\/30\/comments/ });
    await push(revision, { number: 30 });
    await until('an attempt to write the comment', async () =>
      runner.output().includes('comment not sent yet') ? true : null,
    );
    await runner.kill();
    stopFailing();
    runner = await stage.start({ environment });
    expect(await comment(30, (text) => text.includes(revision))).toContain('1 to add');
  });

  it('F41: leave the token nowhere: not in a file, a log, an argument or a comment', async () => {
    const found: string[] = [];
    for (const entry of await readdir(stage.folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const file = join(entry.parentPath, entry.name);
      const content = await readFile(file).catch(() => Buffer.alloc(0));
      const spellings = [TOKEN, Buffer.from(`x-access-token:${TOKEN}`).toString('base64').slice(20, 50)];
      if (spellings.some((spelling) => content.includes(spelling))) found.push(file);
    }
    expect(found).toEqual([]);
    expect(runner.output()).not.toContain('CANARY');
    expect(JSON.stringify(github.comments.of(7))).not.toContain('CANARY');
    expect(await readdir(join(stage.folder, 'deployments'))).toEqual([]);
  });

  it('cannot be requested without a valid token', async () => {
    const before = (await runner.runs()).length;
    const headers: Record<string, string>[] = [{}, { authorization: 'Bearer a.b.c' }];
    for (const header of headers) {
      const response = await fetch(`${runner.url}/pubsub/push`, {
        method: 'POST',
        headers: header,
        body: '{}',
      });
      expect(response.status).toBe(401);
      expect(await response.json()).toMatchObject({ error: expect.any(String) });
    }
    expect((await runner.runs()).length).toBe(before);
  });

  it('whose message is larger than 1 MiB are set aside, so that it is not sent again', async () => {
    const headers = { authorization: `Bearer ${await keys.sign(goodClaims())}` };
    const response = await fetch(`${runner.url}/pubsub/push`, {
      method: 'POST',
      headers,
      body: 'x'.repeat(3_000_000),
    });
    expect(response.status).toBe(204);
    const { body } = await runner.getJson('/deliveries');
    expect(JSON.stringify(body)).toContain('larger than 1 MiB');
  });
});
