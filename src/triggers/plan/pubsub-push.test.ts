import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Hono } from 'hono';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { RequestError, StoreUnavailableError } from '../../errors.ts';
import { failAtCall } from '../../faults/failing-store.fixture.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { createTestGate } from '../../web/access/access.fixture.ts';
import type { Gate } from '../../web/doors/gate.ts';
import { requestErrorAnswer } from '../../web/frame/error-answer.ts';
import { ACCOUNT, AUDIENCE, goodClaims, ISSUER, startKeyServer } from '../key-server.fixture.ts';
import { createSealer } from '../seal.ts';
import { createOidcVerifier } from './oidc.ts';
import { openPlanSecrets } from './plan-secrets.ts';
import { createPubsubPush, type PubsubPushOptions } from './pubsub-push.ts';

const TOKEN = 'ghs_CANARY0123456789';
const HEAD = 'a1'.repeat(20);
const sealer = createSealer(['a key for tests']);

function planRequest() {
  return {
    request_id: 'r-1',
    repo: { full_name: 'acme/infra', clone_url: 'https://github.com/acme/infra.git', default_branch: 'main' },
    pull_request: { number: 7, head_sha: HEAD, head_ref: 'topic', base_ref: 'main' },
    installation: { id: 1, token: TOKEN },
    work: { dir: './envs//prod/', tofu_version: '1.8.0', plan_id: 'prod:7' },
    github_api_base_url: 'https://api.github.com',
  };
}
type PlanRequest = ReturnType<typeof planRequest>;

function envelope(data: unknown, messageId = 'm-1') {
  const text = typeof data === 'string' ? data : JSON.stringify(data);
  const message = {
    data: Buffer.from(text).toString('base64'),
    messageId,
    publishTime: '2026-01-01T00:00:00Z',
  };
  return { message, subscription: 'projects/p/subscriptions/s' };
}

describe('POST /pubsub/push', () => {
  let directory: string;
  let store: RunStore;
  let logged: string[];

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'pubsub-'));
    store = await createSqliteStore({ directory });
    logged = [];
  });
  afterEach(async () => {
    await store.close();
    await rm(directory, { recursive: true });
  });

  function push(
    body: unknown,
    changes: Partial<PubsubPushOptions> = {},
    { gate = createTestGate(), authorization }: { gate?: Gate; authorization?: string } = {},
  ) {
    const keep = (fields: object, message: string) =>
      void logged.push(JSON.stringify({ ...fields, message }));
    const app = new Hono();
    app.post(
      '/pubsub/push',
      createPubsubPush({
        store,
        pubsub: { verify: null },
        gate,
        seal: sealer.seal,
        protocols: ['https', 'ssh'],
        allowedHosts: ['api.github.com', 'github.com'],
        apiUrl: 'https://api.github.com',
        log: { info: keep, warn: keep },
        ...changes,
      }),
    );
    app.onError((error, c) => {
      if (error instanceof RequestError) return requestErrorAnswer(c, error);
      return c.json({ error: error.message }, error instanceof StoreUnavailableError ? 503 : 500);
    });
    const isRaw = typeof body === 'string' || body instanceof ReadableStream;
    return app.request('/pubsub/push', {
      method: 'POST',
      body: isRaw ? body : JSON.stringify(body),
      duplex: 'half',
      ...(authorization !== undefined && { headers: { authorization } }),
    });
  }

  it('stores the plan with its token sealed, then answers 204', async () => {
    const response = await push(envelope(planRequest()));
    expect(response.status).toBe(204);
    expect(await response.text()).toBe('');
    const [run] = await store.runs({ limit: 10 });
    expect(run).toMatchObject({
      kind: 'plan',
      coalesce: true,
      trigger: { source: 'pubsub', deliveryId: 'm-1' },
      concurrencyGroup: 'plan:https://api.github.com:acme/infra#7:prod:7',
      input: {
        repository: 'acme/infra',
        pullRequest: 7,
        revision: HEAD,
        headRef: 'topic',
        baseRef: 'main',
        cloneUrl: 'https://github.com/acme/infra.git',
        apiUrl: 'https://api.github.com',
        planId: 'prod:7',
        roots: [{ directory: 'envs/prod', tool: 'tofu', toolVersion: '1.8.0' }],
        credential: 'sealed',
        requestId: 'r-1',
      },
    });
    const sealed = await store.sealed(run?.id ?? '');
    expect(openPlanSecrets(sealed, sealer.open)).toEqual({ token: TOKEN });
    const deliveries = await store.deliveries({ limit: 10 });
    expect(deliveries).toMatchObject([{ event: 'pubsub', deliveryId: 'm-1', decision: 'accepted' }]);
    expect(JSON.stringify([run, deliveries, sealed, logged])).not.toContain('CANARY');
  });

  it('uses the defaults of the contract for fields that are left out', async () => {
    const { work, ...rest } = planRequest();
    const request = { ...rest, github_api_base_url: undefined, work: { plan_id: work.plan_id } };
    expect((await push(envelope(request))).status).toBe(204);
    expect((await store.runs({ limit: 10 }))[0]).toMatchObject({
      input: {
        apiUrl: 'https://api.github.com',
        roots: [{ directory: '.', tool: 'tofu', toolVersion: null }],
      },
    });
  });

  it('enqueues one run for a repeated message, also for simultaneous ones and after the run has ended', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => push(envelope(planRequest()))));
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set([204]));
    const [run, ...others] = await store.runs({ limit: 10 });
    expect(others).toEqual([]);
    await store.requestCancel(run?.id ?? '', 'ada');
    await push(envelope(planRequest()));
    expect(await store.runs({ limit: 10 })).toHaveLength(1);
    await push(envelope(planRequest(), 'm-2'));
    expect(await store.runs({ limit: 10 })).toHaveLength(2);
  });

  it.each<[string, (request: PlanRequest) => unknown, string]>([
    ['no JSON', () => '{', 'data:'],
    ['a list', () => [], 'data:'],
    ['a short head', (r) => ({ ...r, pull_request: { ...r.pull_request, head_sha: 'abc1234' } }), 'head_sha'],
    [
      'an option as head',
      (r) => ({ ...r, pull_request: { ...r.pull_request, head_sha: '--upload-pack=x' } }),
      'head_sha',
    ],
    ['number 0', (r) => ({ ...r, pull_request: { ...r.pull_request, number: 0 } }), 'number'],
    ['number -1', (r) => ({ ...r, pull_request: { ...r.pull_request, number: -1 } }), 'number'],
    ['number 1.5', (r) => ({ ...r, pull_request: { ...r.pull_request, number: 1.5 } }), 'number'],
    ['number "7"', (r) => ({ ...r, pull_request: { ...r.pull_request, number: '7' } }), 'number'],
    ['a name of three parts', (r) => ({ ...r, repo: { ...r.repo, full_name: 'a/b/c' } }), 'full_name'],
    ['a name that climbs', (r) => ({ ...r, repo: { ...r.repo, full_name: 'acme/..' } }), 'full_name'],
    ['no token', (r) => ({ ...r, installation: { id: 1 } }), 'installation.token'],
    ['an empty token', (r) => ({ ...r, installation: { id: 1, token: '' } }), 'installation.token'],
    ['a token of two lines', (r) => ({ ...r, installation: { token: 'a\nb' } }), 'installation.token'],
    ['a plan id with markup', (r) => ({ ...r, work: { ...r.work, plan_id: 'x --> <img>' } }), 'plan_id'],
    ['a plan id that ends a comment', (r) => ({ ...r, work: { ...r.work, plan_id: 'x--' } }), 'plan_id'],
    ['a folder outside', (r) => ({ ...r, work: { ...r.work, dir: '../..' } }), 'work.dir'],
    ['an absolute folder', (r) => ({ ...r, work: { ...r.work, dir: '/etc' } }), 'work.dir'],
    ['an option as folder', (r) => ({ ...r, work: { ...r.work, dir: '-chdir=/' } }), 'work.dir'],
    [
      'a version that is a path',
      (r) => ({ ...r, work: { ...r.work, tofu_version: '../x' } }),
      'tofu_version',
    ],
    [
      'F14: a private host',
      (r) => ({ ...r, repo: { ...r.repo, clone_url: 'https://169.254.169.254/x' } }),
      'clone_url',
    ],
    [
      'F14: another host',
      (r) => ({ ...r, repo: { ...r.repo, clone_url: 'https://evil.example/x' } }),
      'clone_url',
    ],
    [
      'F14: a host in the user part',
      (r) => ({ ...r, repo: { ...r.repo, clone_url: 'https://github.com@evil.example/' } }),
      'clone_url',
    ],
    ['F36: a remote helper', (r) => ({ ...r, repo: { ...r.repo, clone_url: 'ext::sh -c id' } }), 'clone_url'],
    ['F36: a file', (r) => ({ ...r, repo: { ...r.repo, clone_url: 'file:///etc' } }), 'clone_url'],
    ['plain http', (r) => ({ ...r, repo: { ...r.repo, clone_url: 'http://github.com/a/b' } }), 'clone_url'],
    [
      'F14: another API',
      (r) => ({ ...r, github_api_base_url: 'https://evil.example' }),
      'github_api_base_url',
    ],
    [
      'an API over plain http',
      (r) => ({ ...r, github_api_base_url: 'http://api.github.com' }),
      'github_api_base_url',
    ],
  ])('sets aside %s, with 204 and no run', async (_what, change, field) => {
    const response = await push(envelope(change(planRequest())));
    expect(response.status).toBe(204);
    expect(await store.runs({ limit: 10 })).toEqual([]);
    const deliveries = await store.deliveries({ limit: 10 });
    expect(deliveries).toMatchObject([{ event: 'pubsub', deliveryId: 'm-1', decision: 'refused' }]);
    expect(deliveries[0]?.detail).toContain(field);
    expect(logged).toHaveLength(1);
    expect(JSON.stringify([deliveries, logged])).not.toContain('CANARY');
  });

  it.each([
    ['no JSON', '{'],
    ['no message', {}],
    ['no base64', { message: { data: '%%%', messageId: 'm' }, subscription: 's' }],
    ['an id that is none', { message: { data: 'e30=', messageId: '<b>' }, subscription: 's' }],
    ['more than 1 MiB', { message: { data: 'A'.repeat(1_100_000), messageId: 'm' } }],
  ])('sets aside a body with %s', async (_what, body) => {
    expect((await push(body)).status).toBe(204);
    expect(await store.deliveries({ limit: 10 })).toMatchObject([{ event: 'pubsub', decision: 'refused' }]);
  });

  it('allows our own API address over plain http, because the operator configured it', async () => {
    const api = 'http://127.0.0.1:4010';
    const request = { ...planRequest(), github_api_base_url: `${api}/` };
    await push(envelope(request), { apiUrl: api, allowedHosts: ['127.0.0.1:4010', 'github.com'] });
    expect((await store.runs({ limit: 1 }))[0]).toMatchObject({ input: { apiUrl: api } });
  });

  it('is 404 when it is off, and 401 without a good token, and stores nothing then', async () => {
    expect((await push(envelope(planRequest()), { pubsub: null })).status).toBe(404);
    async function verify(): Promise<void> {
      throw new RequestError(401, 'A bearer token is needed');
    }
    const response = await push(envelope(planRequest()), { pubsub: { verify } });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ error: 'A bearer token is needed' });
    expect(await store.runs({ limit: 1 })).toEqual([]);
    expect(await store.deliveries({ limit: 1 })).toEqual([]);
  });

  it('is 429 after ten bad tokens within a minute, and still accepts a good one', async () => {
    const keys = await startKeyServer();
    onTestFinished(keys.close);
    const verify = createOidcVerifier({
      audience: AUDIENCE,
      issuer: ISSUER,
      jwksUrl: keys.url,
      serviceAccount: ACCOUNT,
    });
    let verified = 0;
    const gate = { ...createTestGate(), verified: () => void verified++ };
    const send = (authorization: string) =>
      push(envelope(planRequest()), { pubsub: { verify } }, { gate, authorization });
    const bad = `Bearer ${await keys.sign({ ...goodClaims(), aud: 'https://other.example.com' })}`;
    for (let time = 1; time <= 10; time += 1) expect((await send(bad)).status).toBe(401);
    const refused = await send(bad);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ error: expect.stringContaining('wait a minute') });
    expect(await store.runs({ limit: 1 })).toEqual([]);
    expect(gate.failures().get('pubsub_token')).toBe(11);
    expect(verified).toBe(0);
    expect((await send(`Bearer ${await keys.sign(goodClaims())}`)).status).toBe(204);
    expect(verified).toBe(1);
    expect(await store.runs({ limit: 2 })).toHaveLength(1);
  });

  it('is 503 for an unfinished body when other bodies need the space', async () => {
    const gate = createTestGate({ unverifiedBytes: 100_000 });
    const unfinished = () =>
      new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(60_000)) });
    const answers = [unfinished(), unfinished()].map((body) => push(body, {}, { gate }));
    const first = await Promise.race(answers);
    expect(first.status).toBe(503);
    expect(first.headers.get('Retry-After')).not.toBeNull();
    expect(await store.deliveries({ limit: 1 })).toEqual([]);
    expect((await push(envelope(planRequest()), {}, { gate })).status).toBe(204);
  });

  it('F17: is 503 when it could not be stored, so that Pub/Sub sends it again', async () => {
    for (const [before, body] of [envelope(planRequest()), '{'].entries()) {
      const failing = failAtCall(store, 1);
      expect((await push(body, { store: failing.store })).status).toBe(503);
      expect(await store.deliveries({ limit: 10 })).toHaveLength(before);
      expect((await push(body, { store: failing.store })).status).toBe(204);
      expect(await store.deliveries({ limit: 10 })).toHaveLength(before + 1);
    }
  });
});
