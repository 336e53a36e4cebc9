/** Notifications of a real server: whom its file names, what they get, and that no address is shown. */

import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { expect, it, onTestFinished } from 'vitest';
import { z } from 'zod';
import { beginEnvironments, promote } from './support/environments.ts';
import { writeShellService } from './support/hand-made-service.ts';
import { pushRun, readPage } from './support/pushed-run.ts';
import { runProgram } from './support/runner.ts';
import { setTestStage } from './support/test-stage.ts';

const CONFIGURATION_ERROR = 3;
const SECRET = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
const OWN_VARIABLES = { GIT_REPO_URL: undefined, GIT_BRANCH: undefined, GITHUB_REPOSITORY: undefined };

const eventSchema = z.looseObject({
  type: z.string(),
  data: z.looseObject({ message: z.string(), services: z.array(z.looseObject({ service: z.string() })) }),
});

interface Received {
  path: string;
  headers: Record<string, string>;
  text: string;
}

/** An address outside of this program, which takes everything. */
async function startReceiver() {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    received.push({ path: request.url ?? '', headers, text });
    response.end('ok');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const events = () =>
    received.filter(({ path }) => path === '/events').map(({ text }) => eventSchema.parse(JSON.parse(text)));
  const chat = () => received.filter(({ path }) => path === '/chat/T0/s3cr3t-path').map(({ text }) => text);
  return { url, received, events, chat };
}

it('A failure and its recovery are told once each, signed and to a chat, beside the repository of the variables', async () => {
  const stage = await setTestStage('notifications');
  const { url, received, events, chat } = await startReceiver();
  const CONFIG_FILE = join(stage.folder, 'config.yaml');
  await writeFile(
    CONFIG_FILE,
    `notify:
  - url: { env: ALERTS_URL }
    events: [failed, recovered]
    environments: [default]
  - url: { env: CHAT_URL }
    format: slack
    events: [failed, recovered]
`,
  );
  const environment = {
    CONFIG_FILE,
    EVENT_WEBHOOK_SECRET: SECRET,
    ALERTS_URL: `${url}/events`,
    CHAT_URL: `${url}/chat/T0/s3cr3t-path`,
  };
  const runner = await stage.start({ environment });
  const { repository } = stage;
  await writeShellService(repository, 'platform/07.shop', 'env; echo broken; exit 3');
  const failed = await pushRun(stage, runner, 'Open the shop');
  await runner.waitForRun(failed.runId, 'failed');
  await repository.write('platform/07.shop/note', 'again');
  const again = await pushRun(stage, runner, 'Open it again');
  await runner.waitForRun(again.runId, 'failed');
  await writeShellService(repository, 'platform/07.shop', 'echo open');
  const repaired = await pushRun(stage, runner, 'Repair the shop');
  await runner.waitForRun(repaired.runId, 'succeeded');

  await expect.poll(() => [events().length, chat().length]).toEqual([2, 2]);
  expect(events().map(({ type, data }) => [type, data.services.map(({ service }) => service)])).toEqual([
    ['sync.failed', ['platform/shop']],
    ['sync.recovered', ['platform/shop']],
  ]);
  expect(events()[0]?.data).toMatchObject({
    environment: 'default',
    repository: stage.github.fullName,
    run_id: failed.runId,
    run_url: expect.stringMatching(new RegExp(`^http.*/runs/${failed.runId}$`)),
    commit: failed.commit,
    subject: 'Open the shop',
  });
  const signed = received.find(({ path }) => path === '/events');
  expect(new Webhook(SECRET).verify(signed?.text ?? '', signed?.headers ?? {})).toMatchObject({
    type: 'sync.failed',
  });
  expect(JSON.parse(chat()[0] ?? '')).toEqual({
    text: expect.stringMatching(/^\*acme\/platform: platform\/shop failed at [0-9a-f]{8}: Exit code 3/),
  });
  const page = await readPage(runner, `/runs/${failed.runId}`);
  const log = await readPage(runner, `/runs/${failed.runId}/log.txt`);
  for (const text of [page, log, runner.output()]) expect(text).not.toContain('s3cr3t-path');
});

it('Who may approve a promotion is told, a hold is told when it stops something, and a break-glass to everybody', async () => {
  const { url, events } = await startReceiver();
  const environments = await beginEnvironments('notify-promotions', {
    production: ['approval: other'],
    more: `notify:
  - url: { env: ALERTS_URL }
    secret: { env: ALERTS_SECRET }
    events: [approval_needed, held]
    environments: [production]
    services: [apps/app]
`,
    environment: { ALERTS_URL: `${url}/events`, ALERTS_SECRET: SECRET },
  });
  const { push, runner, ask } = environments;
  const { runId } = await push('app', 'one');
  await runner.waitForRun(runId, 'succeeded');
  const asked = await promote(environments, 'ada', {}, 'awaiting_approval');
  await expect
    .poll(events)
    .toMatchObject([
      { type: 'sync.approval_needed', data: { environment: 'production', run_id: asked, actor: 'ada' } },
    ]);
  const hold = await ask('ada', '/holds', { environment: 'production', reason: 'The fair' });
  expect(hold.status).toBe(201);
  expect((await ask('bob', `/runs/${asked}/approve`, {})).status).toBe(200);
  await expect.poll(() => events().length).toBe(2);
  expect(events()[1]).toMatchObject({
    type: 'sync.held',
    data: {
      message: expect.stringMatching(/production: apps\/app is held at [0-9a-f]{8}: Held by ada: The fair$/),
    },
  });
  const broken = { break_glass: true, reason: 'The shop is down', environment: 'production' };
  const glass = await ask('ada', '/promote', broken);
  expect(glass.status).toBe(202);
  await expect.poll(() => events().at(-1)?.type).toBe('sync.break_glass');
  expect(events().at(-1)?.data.message).toContain('By ada: The shop is down');
});

it('A rule that cannot work keeps the server from starting, and no address is shown', async () => {
  const stage = await setTestStage('wrong-notify');
  const CONFIG_FILE = join(stage.folder, 'config.yaml');
  const serve = async (rules: string, environment: Record<string, string | undefined> = {}) => {
    await writeFile(CONFIG_FILE, `notify:\n${rules}`);
    const all = { CONFIG_FILE, CHAT_URL: 'ftp://CANARY', ...environment };
    const { exitCode, stderr } = await runProgram(['serve'], { ...stage.runnerOptions, environment: all });
    expect({ exitCode, stderr }).toEqual({ exitCode: CONFIGURATION_ERROR, stderr: expect.any(String) });
    expect(stderr).not.toContain('CANARY');
    return stderr;
  };
  const chat = '  - { url: { env: CHAT_URL }, format: slack, events: [failed] }\n';
  expect(await serve(chat)).toContain(
    'CONFIG_FILE line 2, notify.0.url: expected an http(s) URL without credentials',
  );
  expect(await serve('  - { url: { env: CHAT_URL }, events: [broken] }\n')).toContain('notify.0.events.0');
  expect(await serve('  - { url: { env: NONE }, events: [failed] }\n')).toContain(
    'expected a secret in the variable NONE, which is not set or empty',
  );
  const CHAT_URL = 'https://chat.example.com/CANARY';
  expect(await serve('  - { url: { env: CHAT_URL }, events: [failed] }\n', { CHAT_URL })).toContain(
    'notify.0: expected a secret that signs: `secret`, or EVENT_WEBHOOK_SECRET',
  );
  expect(
    await serve('  - { url: { env: CHAT_URL }, format: slack, events: [failed], environments: [stagin] }\n', {
      CHAT_URL,
    }),
  ).toContain('notify.0.environments.0: expected one of default, not stagin');
  expect(await serve(chat, { CHAT_URL, ...OWN_VARIABLES })).toContain('GIT_REPO_URL');
});
