/** The surroundings of a deployment: hostile requests, checks, the registry, events, metrics, other origins. */

import { readFile, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type DeploymentStage,
  deploymentClient,
  MODULE,
  setDeploymentStage,
  withoutTerraform,
} from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import type { Runner } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { until } from './support/until.ts';

const unavailable = withoutTerraform();
const EVENT_SECRET = `whsec_${Buffer.from('event-secret-of-the-tests-00001').toString('base64')}`;

interface Received {
  headers: IncomingMessage['headers'];
  url: string;
  body: string;
}

/** A server that stores the requests that it receives. */
async function receiver(
  answer: (url: string) => { status: number; body?: object } = () => ({ status: 204 }),
) {
  const received: Received[] = [];
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const url = request.url ?? '';
      received.push({ headers: request.headers, url, body: Buffer.concat(chunks).toString() });
      const { status, body } = answer(url);
      response.writeHead(status, { 'content-type': 'application/json' }).end(body && JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    received,
    close() {
      server.closeAllConnections();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

describeUnless(unavailable, 'A deployment', () => {
  let stage: DeploymentStage;
  let runner: Runner;
  let hooks: Awaited<ReturnType<typeof receiver>>;
  let registry: Awaited<ReturnType<typeof receiver>>;
  const api = deploymentClient(() => runner, '');
  const post = (fields: Record<string, unknown>) => api.post({ git_url: stage.gitUrl, ...fields });

  beforeAll(async () => {
    stage = await setDeploymentStage('deploy-edges');
    hooks = await receiver();
    registry = await receiver(() => ({ status: 200, body: { token: 'registry-token-CANARY' } }));
    await stage.commit({ 'main.tf': MODULE, 'large/main.tf': MODULE, 'denied/main.tf': MODULE });
    await stage.addTool(
      '9.9.9',
      `[ "$1" = plan ] && { cp "$TF_CLI_CONFIG_FILE" "${stage.folder}/cli-config"; stat -c %a "$TF_CLI_CONFIG_FILE" > "${stage.folder}/cli-mode"; env > "${stage.folder}/tool-env"; echo "$TF_CLI_CONFIG_FILE" > "${stage.folder}/cli-path"; }\nexec $REAL "$@"`,
    );
    const deny = join(stage.folder, 'deny');
    const { writeFile, chmod } = await import('node:fs/promises');
    await writeFile(
      deny,
      '#!/bin/sh\necho "checked $1"\ngrep -q \'"name":"greeting"\' "$1" || exit 9\ncase "$(cat "$1")" in *forbidden*) exit 1;; esac\n',
    );
    await chmod(deny, 0o755);
    runner = await stage.serve({
      EVENT_WEBHOOK_URL: `${hooks.url}/operator`,
      EVENT_WEBHOOK_SECRET: EVENT_SECRET,
      REGISTRY_HOST: registry.url,
      PLAN_CHECKS: JSON.stringify([
        { name: 'policy', command: `${deny} {plan}`, required: true },
        { name: 'advice', command: 'false' },
      ]),
      ALLOWED_ORIGINS: 'https://portal.example.com',
    });
  });
  afterAll(async () => {
    await stage.close();
    await hooks.close();
    await registry.close();
  });

  it.each([
    ['no tool', { tool: undefined }, 'tool'],
    ['another tool', { tool: 'bash' }, 'tool'],
    ['a path that leaves the checkout', { path: '../..' }, 'path'],
    ['an absolute path', { path: '/etc' }, 'path'],
    ['a local repository', { git_url: '/etc' }, 'git_url'],
    ['F36: a remote helper', { git_url: 'ext::sh -c id' }, 'git_url'],
    ['F36: one in capitals', { git_url: 'EXT::sh -c id' }, 'git_url'],
    ['F36: a file URL', { git_url: 'file:///etc' }, 'git_url'],
    ['F35: an option for a URL', { git_url: '--upload-pack=touch x' }, 'git_url'],
    ['F14: a private host', { git_url: 'https://169.254.169.254/x.git' }, 'git_url'],
    ['F14: a private host to call back', { callback_url: 'https://10.0.0.1/x' }, 'callback_url'],
    ['F35: an option for a ref', { git_ref: '--upload-pack=touch x' }, 'git_ref'],
    ['unclosed quotes', { plan_flags: `-var 'x` }, 'plan_flags'],
    ['a flag that changes the state', { plan_flags: '-state=/tmp/x' }, 'plan_flags'],
    ['a flag that changes the folder', { init_flags: '-chdir=/' }, 'init_flags'],
    ['a timeout of words', { timeout: '60' }, 'timeout'],
    ['a broken timeout', { timeout: 1.5 }, 'timeout'],
    ['a word for true', { auto_approve: 'false' }, 'auto_approve'],
    ['our own settings', { env_vars: { TF_CLI_ARGS_plan: '-destroy' } }, 'TF_CLI_ARGS_plan'],
    ['a preloaded library', { env_vars: { LD_PRELOAD: '/tmp/x.so' } }, 'LD_PRELOAD'],
  ])('refuses %s, naming it', async (_, fields, named) => {
    const before = (await api.call('GET', '/runs', undefined, 'viewer')).body;
    const answer = await post(fields);
    expect(answer.status).toBe(400);
    expect(String(answer.body.error)).toContain(named);
    expect((await api.call('GET', '/runs', undefined, 'viewer')).body).toEqual(before);
  });

  it('runs the checks before anybody is asked: a required check is a gate, the other one is advice', async () => {
    const good = await api.start({ git_url: stage.gitUrl });
    await api.waitForState(good, 'awaiting_approval');
    const { steps } = await runner.waitForRun(good, 'awaiting_approval');
    expect(steps.map(({ id, state }) => [id, state])).toEqual([
      ['clone', 'succeeded'],
      ['init', 'succeeded'],
      ['plan', 'succeeded'],
      ['check-policy', 'succeeded'],
      ['check-advice', 'failed'],
      ['apply', 'pending'],
      ['output', 'pending'],
    ]);
    await api.reject(good);
    const bad = await api.start({
      git_url: stage.gitUrl,
      plan_flags: '-var name=forbidden',
      auto_approve: true,
    });
    const failed = await api.waitForState(bad, 'failed');
    expect(failed.error).toContain('policy');
    expect((await api.approve(bad)).status).toBe(409);
  });

  it('gives the tool a configuration and an environment of its own, and removes both', async () => {
    const id = await api.start({
      git_url: stage.gitUrl,
      path: 'large',
      tool_version: '9.9.9',
      env_vars: { TF_VAR_name: 'x', AWS_REGION: 'eu-1' },
    });
    await api.waitForState(id, 'awaiting_approval');
    const config = await readFile(join(stage.folder, 'cli-config'), 'utf8');
    const host = new URL(registry.url).host;
    expect(config).toContain(`credentials "${host}" {`);
    expect(config).toContain('registry-token-CANARY');
    expect(config).toContain(`"modules.v1" = "${registry.url}/v1/modules/"`);
    expect((await readFile(join(stage.folder, 'cli-mode'), 'utf8')).trim()).toBe('600');
    const place = (await readFile(join(stage.folder, 'cli-path'), 'utf8')).trim();
    await expect(stat(place)).rejects.toThrow('ENOENT');
    const environment = await readFile(join(stage.folder, 'tool-env'), 'utf8');
    expect(environment).toContain('AWS_REGION=eu-1');
    for (const secret of ['WEBHOOK_SECRET', 'API_TOKENS', 'GITHUB_TOKEN', 'git-password']) {
      expect(environment).not.toContain(secret);
    }
    await api.reject(id);
  });

  it('sends signed events, in order', async () => {
    const id = await api.start({
      git_url: stage.gitUrl,
      path: 'denied',
      callback_url: `${hooks.url}/callback`,
    });
    await api.waitForState(id, 'awaiting_approval');
    await api.approve(id);
    await api.waitForState(id, 'success');
    const deliveries = await until('the last event', async () => {
      const own = hooks.received.filter(({ url, body }) => url === '/callback' && body.includes(id));
      return own.some(({ body }) => body.includes('deployment.succeeded')) ? own : null;
    });
    const webhook = new Webhook(EVENT_SECRET);
    const events = deliveries.map(({ body, headers }) =>
      webhook.verify(body, headers as Record<string, string>),
    );
    expect(events).toMatchObject([
      { type: 'deployment.started', data: { deployment_id: id } },
      { type: 'deployment.awaiting_approval', data: { plan: { add: 1, change: 0, destroy: 0 } } },
      { type: 'deployment.succeeded', data: { approved_by: 'admin' } },
    ]);
    expect(hooks.received.some(({ url, body }) => url === '/operator' && body.includes(id))).toBe(true);
    expect(JSON.stringify(hooks.received)).not.toContain('CANARY');
  });

  it('F13: is not changed by a request of another site, nor by a GET', async () => {
    const id = await api.start({ git_url: stage.gitUrl, path: 'large' });
    await api.waitForState(id, 'awaiting_approval');
    const login = await fetch(`${runner.url}/login`, {
      method: 'POST',
      redirect: 'manual',
      headers: { 'content-type': 'application/x-www-form-urlencoded', origin: runner.url },
      body: new URLSearchParams({ token: API_TOKENS.admin }),
    });
    const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? '';
    expect(cookie).not.toBe('');
    for (const action of ['approve', 'reject', 'cancel']) {
      const url = `${runner.url}/deploy/${id}/${action}`;
      const foreign = await fetch(url, {
        method: 'POST',
        headers: { cookie, origin: 'https://evil.example' },
      });
      expect(foreign.status).toBe(403);
      const unknown = await fetch(url, { method: 'POST', headers: { cookie } });
      expect(unknown.status).toBe(403);
      const read = await fetch(url, { headers: { cookie } });
      expect(read.status).toBe(405);
    }
    expect((await api.status(id)).status).toBe('awaiting_approval');
    await api.cancel(id);
  });

  it('may be requested from the listed pages, and from no others', async () => {
    const preflight = (origin: string) =>
      fetch(`${runner.url}/deploy`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'POST' },
      });
    const allowed = await preflight('https://portal.example.com');
    expect(allowed.status).toBeLessThan(300);
    expect(allowed.headers.get('access-control-allow-origin')).toBe('https://portal.example.com');
    const refused = await preflight('https://evil.example');
    expect(refused.headers.get('access-control-allow-origin')).toBeNull();
    expect(refused.headers.get('vary')?.toLowerCase()).toContain('origin');
  });

  it('is counted in the metrics', async () => {
    const metrics = await fetch(`${runner.url}/metrics`, {
      headers: { authorization: `Bearer ${API_TOKENS.viewer}` },
    });
    const text = await metrics.text();
    expect(text).toMatch(/^iac_runner_deployments_total\{status="success"\} \d+$/m);
    expect(text).toContain('iac_runner_deployment_duration_seconds_bucket');
    expect(text).toMatch(/^iac_runner_active_deployments \d+$/m);
    expect((await fetch(`${runner.url}/metrics`)).status).toBe(401);
  });
});
