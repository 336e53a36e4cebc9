import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import { enqueueSync } from '../../runs/enqueue.ts';
import { claimNext, DEPLOY_BODY, ended, toApproval } from '../../triggers/deployments.fixture.ts';
import { DAY, MEBIBYTE } from '../../units.ts';
import { signRunLink } from '../access/access.ts';
import { AS_ADMIN, AS_OPERATOR, AS_VIEWER, BROWSER, LINK_KEY, signIn } from '../pages.fixtures.ts';
import { runJson } from '../runs/run-json.ts';
import { openDeployApp, postDeploy } from './deployments.fixtures.ts';

const NOT_FOUND = { error: 'Deployment not found' };

let stage: Awaited<ReturnType<typeof openDeployApp>>;
let app: ReturnType<typeof stage.serve>['app'];
beforeEach(async () => {
  stage = await openDeployApp();
  ({ app } = stage.serve());
});
afterEach(() => stage.close());

async function ask(path: string, init: RequestInit = {}, as: Record<string, string> = AS_ADMIN) {
  const response = await app.request(path, { ...init, headers: { ...as, ...init.headers } });
  const text = await response.text();
  const isJson = text !== '' && response.headers.get('Content-Type')?.includes('json');
  const body: unknown = isJson ? JSON.parse(text) : text;
  return { status: response.status, body, headers: response.headers };
}

const post = (path: string, as?: Record<string, string>, body?: string) =>
  ask(path, { method: 'POST', ...(body !== undefined && { body }) }, as);

async function showPlan(): Promise<void> {
  const { lease } = await claimNext(stage.store());
  await stage.store().append(lease, toApproval(stage.clock.now + DAY));
}

describe('POST /deploy', () => {
  it('answers 202 with exactly the members that older clients require', async () => {
    const { status, body } = await post('/deploy', AS_OPERATOR, JSON.stringify(DEPLOY_BODY));
    expect(status).toBe(202);
    expect(body).toEqual({
      deployment_id: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/),
      status: 'running',
      message: 'Deployment started',
    });
    expect(Object.keys(Object(body))).toEqual(['deployment_id', 'status', 'message']);
  });

  it('is refused with every problem, and nothing is stored', async () => {
    const bodies: [string, number, string][] = [
      ['{', 400, 'The body is not valid JSON'],
      ['', 400, 'The body is not valid JSON'],
      ['[]', 400, 'The body must be a JSON object'],
      ['{}', 400, 'tool: is required; git_url: is required; git_ref: is required'],
      [JSON.stringify({ ...DEPLOY_BODY, timeout: '5' }), 400, 'timeout: must be a whole number of minutes'],
      [JSON.stringify({ ...DEPLOY_BODY, tool_version: '1.0' }), 400, 'tool_version: terraform 1.0 is not'],
      [JSON.stringify({ ...DEPLOY_BODY, auto_approve: true }), 403, 'auto_approve needs the role admin'],
      [
        JSON.stringify({ ...DEPLOY_BODY, env_vars: { A: 'x'.repeat(1024 * 1024) } }),
        413,
        'The body is larger',
      ],
    ];
    for (const [text, expected, error] of bodies) {
      const { status, body } = await post('/deploy', AS_OPERATOR, text);
      expect([status, body]).toEqual([
        expected,
        { error: expect.stringContaining(error), code: expect.any(String) },
      ]);
    }
    expect(await stage.store().runs({ limit: 10 })).toEqual([]);
  });

  it.each<[form: string, headers: Record<string, string>]>([
    ['of a declared length', { 'Content-Length': String(MEBIBYTE + 1) }],
    ['in chunks', { 'Transfer-Encoding': 'chunked' }],
  ])('is refused with a body %s that is too large', async (_form, headers) => {
    const chunks = ['{"a":"', 'x'.repeat(MEBIBYTE), '"}'].map((text) => new TextEncoder().encode(text));
    const init = { method: 'POST', headers: { ...AS_OPERATOR, ...headers }, duplex: 'half' } as const;
    const response = await app.request('/deploy', { ...init, body: ReadableStream.from(chunks) });
    expect(response.status).toBe(413);
    expect(await response.text()).toBe('{"error":"The body is larger than 1 MiB","code":"too_large"}');
    expect(response.headers.get('Content-Type')).toBe('application/json');
    expect(response.headers.has('Retry-After')).toBe(false);
    expect(await stage.store().runs({ limit: 10 })).toEqual([]);
  });

  it('accepts a body in chunks that is exactly as large as the limit', async () => {
    const text = JSON.stringify(DEPLOY_BODY);
    const chunks = [' '.repeat(MEBIBYTE - text.length), text].map((part) => new TextEncoder().encode(part));
    const init = { method: 'POST', headers: { ...AS_OPERATOR, 'Transfer-Encoding': 'chunked' } };
    const body = ReadableStream.from(chunks);
    expect((await app.request('/deploy', { ...init, duplex: 'half', body })).status).toBe(202);
  });

  it('is 503, never 2xx, when it could not be stored', async () => {
    const down = async () => Promise.reject(new StoreUnavailableError('disk on fire'));
    const api = { ...stage.api(), start: down, cancel: down };
    ({ app } = stage.serve({ api }));
    const { status, body, headers } = await post('/deploy', AS_OPERATOR, JSON.stringify(DEPLOY_BODY));
    expect([status, headers.get('Retry-After')]).toEqual([503, '5']);
    expect(body).toEqual({ error: 'The request could not be stored; send it again', code: 'unavailable' });
  });
});

describe('Who may do what', () => {
  const NOBODY = {};
  const TABLE: [
    who: string,
    as: Record<string, string>,
    read: number,
    start: number,
    cancel: number,
    decide: number,
  ][] = [
    ['nobody', NOBODY, 401, 401, 401, 401],
    ['a wrong token', { Authorization: 'Bearer wrong' }, 401, 401, 401, 401],
    ['a viewer', AS_VIEWER, 200, 403, 403, 403],
    ['an operator', AS_OPERATOR, 200, 202, 200, 403],
    ['an admin', AS_ADMIN, 200, 202, 200, 409],
  ];

  it.each(TABLE)('%s', async (_who, as, read, start, cancel, decide) => {
    const id = await postDeploy(app, DEPLOY_BODY);
    expect((await ask('/deploy', {}, as)).status).toBe(read);
    expect((await ask(`/deploy/${id}/status`, {}, as)).status).toBe(read);
    expect((await ask(`/deploy/${id}/logs`, { method: 'HEAD' }, as)).status).toBe(read);
    expect((await ask('/metrics', {}, as)).status).toBe(read);
    expect((await post(`/deploy/${id}/approve`, as)).status).toBe(decide);
    expect((await post(`/deploy/${id}/reject`, as)).status).toBe(decide);
    expect((await post(`/deploy/${id}/cancel`, as)).status).toBe(cancel);
    expect((await post('/deploy', as, JSON.stringify(DEPLOY_BODY))).status).toBe(start);
  });

  it('the signed link of a run can read it, and nothing else', async () => {
    const id = await postDeploy(app, DEPLOY_BODY);
    const key = `?key=${signRunLink(LINK_KEY, id)}`;
    expect((await ask(`/deploy/${id}/status${key}`, {}, NOBODY)).status).toBe(200);
    for (const action of ['approve', 'reject', 'cancel']) {
      expect((await post(`/deploy/${id}/${action}${key}`, NOBODY)).status).toBe(401);
    }
    expect((await ask(`/deploy${key}`, {}, NOBODY)).status).toBe(401);
  });

  it('F13: a browser can change something only from our own page, and never by GET', async () => {
    const id = await postDeploy(app, DEPLOY_BODY);
    await showPlan();
    const session = await signIn(app, 'admin-token');
    const form = { 'Content-Type': 'application/x-www-form-urlencoded', ...BROWSER, ...session };
    for (const path of [
      '/deploy',
      ...['approve', 'reject', 'cancel'].map((name) => `/deploy/${id}/${name}`),
    ]) {
      const cross = { ...form, Origin: 'https://evil.example', Host: 'runner.example' };
      expect((await post(path, cross, JSON.stringify(DEPLOY_BODY))).status).toBe(403);
      expect((await post(path, { ...form, 'Sec-Fetch-Site': 'cross-site' }, 'a=b')).status).toBe(403);
      expect((await post(path, session, '{}')).status).toBe(403);
      if (path !== '/deploy') {
        const get = await ask(path);
        expect([get.status, get.headers.get('Allow')]).toEqual([405, 'POST']);
      }
    }
    expect(await stage.store().run(id)).toMatchObject({
      state: 'awaiting_approval',
      cancelRequestedBy: null,
    });
    const own = await post(`/deploy/${id}/approve`, { ...form, 'Sec-Fetch-Site': 'same-origin' }, '');
    expect([own.status, own.headers.get('Location')]).toEqual([303, `/runs/${id}`]);
    expect(await stage.store().latestEvent(id, 'run.decided')).toMatchObject({ by: 'ada' });
  });
});

describe('Approve, reject and cancel', () => {
  it('answer as the earlier API did, whatever the body contains', async () => {
    const first = await postDeploy(app, DEPLOY_BODY);
    await showPlan();
    expect(await post(`/deploy/${first}/approve`)).toMatchObject({
      status: 200,
      body: { message: 'Deployment approved' },
    });
    expect(await post(`/deploy/${first}/approve`, AS_ADMIN, '{"broken')).toMatchObject({
      status: 409,
      body: { error: 'The deployment was already approved by ada', code: 'conflict' },
    });
    expect((await post(`/deploy/${first}/reject`)).status).toBe(409);
    expect(await post(`/deploy/${first}/cancel`, AS_OPERATOR, 'x')).toMatchObject({
      status: 200,
      body: { message: 'Cancellation requested' },
    });
    const late = await post(`/deploy/${first}/cancel`);
    expect([late.status, late.body]).toEqual([400, { error: 'Deployment already completed or cancelled' }]);

    const second = await postDeploy(app, DEPLOY_BODY);
    await showPlan();
    const rejected = await post(`/deploy/${second}/reject`, AS_ADMIN, 'not json');
    expect([rejected.status, rejected.body]).toEqual([200, { message: 'Deployment rejected' }]);
    expect((await post(`/deploy/${second}/approve`)).status).toBe(409);
  });

  it('are 404 for an unknown deployment, and for a run of another kind', async () => {
    const { run } = await enqueueSync(stage.store(), {
      trigger: { source: 'sync_api' },
      input: { branch: 'main', selection: { mode: 'all' } },
    });
    for (const id of ['nope', run.id, '%2fetc', "x'--"]) {
      for (const path of [`/deploy/${id}/status`, `/deploy/${id}/logs`]) {
        const { status, body } = await ask(path);
        expect([status, body]).toEqual([404, NOT_FOUND]);
      }
      for (const action of ['approve', 'reject', 'cancel']) {
        const { status, body } = await post(`/deploy/${id}/${action}`);
        expect([status, body]).toEqual([404, NOT_FOUND]);
      }
    }
    expect(await stage.store().run(run.id)).toMatchObject({ state: 'queued' });
  });
});

describe('GET /deploy', () => {
  it('lists deployments, newest first, by page and by target', async () => {
    const ids: string[] = [];
    for (const path of ['a', 'b', 'a', 'a', 'b']) {
      ids.unshift(await postDeploy(app, { ...DEPLOY_BODY, path, env_vars: { A: 'CANARY' } }));
    }
    const { lease } = await claimNext(stage.store());
    await stage.store().append(lease, [ended('timed_out', 'init took too long')]);
    const all = await ask('/deploy');
    expect(all.body).toMatchObject({
      deployments: ids.map((deployment_id) => ({ deployment_id })),
      next: null,
    });
    expect(JSON.stringify(all.body)).not.toContain('CANARY');
    expect(Object(all.body).deployments[4]).toMatchObject({
      status: 'failed',
      error: 'init took too long (timed out)',
      operation: 'apply',
      tool: 'terraform',
      git_url: DEPLOY_BODY.git_url,
      git_ref: 'main',
      path: 'a',
      requested_by: 'oscar',
      run_url: `https://runner.example/runs/${lease.runId}`,
    });
    const target = `git_url=${encodeURIComponent('https://github.com/acme/infra')}&path=./a/`;
    const first = Object((await ask(`/deploy?${target}&limit=2`)).body);
    expect(first.deployments.map(({ path }: { path: string }) => path)).toEqual(['a', 'a']);
    const second = Object((await ask(first.next)).body);
    expect(second).toMatchObject({ deployments: [{ deployment_id: ids[4] }], next: null });
    expect((await ask('/deploy?limit=0')).status).toBe(400);
    expect((await ask('/deploy?before=zzz')).status).toBe(400);
    expect((await ask('/deploy?git_url=/etc')).status).toBe(400);
  });
});

describe('The priority of a deployment', () => {
  it.each([5, 0, -1000, 1000])('stays %i for its readers when it is approved', async (priority) => {
    const id = await postDeploy(app, { ...DEPLOY_BODY, priority });
    const shown = async () => {
      const [run] = await stage.store().runs({ limit: 1 });
      return [Object((await ask('/deploy')).body).deployments[0].priority, run && runJson(run, '')];
    };
    await showPlan();
    expect(await shown()).toEqual([priority, expect.objectContaining({ priority })]);
    expect((await post(`/deploy/${id}/approve`)).status).toBe(200);
    expect(await shown()).toEqual([priority, expect.objectContaining({ priority })]);
  });
});

describe('CORS', () => {
  const preflight = (origin: string): RequestInit => ({
    method: 'OPTIONS',
    headers: {
      Origin: origin,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization,content-type',
    },
  });
  const corsHeaders = (headers: Headers) =>
    [...headers.keys()].filter((name) => name.startsWith('access-control-')).sort();

  it('lets any page call by default, without credentials', async () => {
    const id = await postDeploy(app, DEPLOY_BODY);
    const before = await ask(`/deploy/${id}/approve`, preflight('https://portal.example'), {});
    expect(before.status).toBe(204);
    expect(before.headers.get('Access-Control-Allow-Origin')).toBe('*');
    expect(before.headers.get('Access-Control-Allow-Methods')).toContain('POST');
    expect(before.headers.get('Access-Control-Allow-Headers')).toMatch(/Authorization/i);
    expect(corsHeaders(before.headers)).not.toContain('access-control-allow-credentials');
    const call = await ask(`/deploy/${id}/status`, { headers: { Origin: 'https://portal.example' } });
    expect([call.status, call.headers.get('Access-Control-Allow-Origin')]).toEqual([200, '*']);
  });

  it('is allowed for the listed origins, on every answer, and for no other', async () => {
    ({ app } = stage.serve({ allowedOrigins: ['https://a.example', 'https://b.example:8443'] }));
    const id = await postDeploy(app, DEPLOY_BODY);
    const paths = ['/deploy', `/deploy/${id}/status`, '/deploy/nope/status'];
    for (const origin of ['https://a.example', 'https://b.example:8443']) {
      for (const path of paths) {
        for (const init of [preflight(origin), { headers: { Origin: origin } }]) {
          const { headers } = await ask(path, init);
          expect(headers.get('Access-Control-Allow-Origin')).toBe(origin);
          expect(headers.get('Vary')).toContain('Origin');
          expect(headers.get('Access-Control-Allow-Credentials')).toBeNull();
        }
      }
      const refused = await ask('/deploy', { method: 'POST', body: '{', headers: { Origin: origin } });
      expect([refused.status, refused.headers.get('Access-Control-Allow-Origin')]).toEqual([400, origin]);
      const nobody = await ask('/deploy', { headers: { Origin: origin } }, {});
      expect([nobody.status, nobody.headers.get('Access-Control-Allow-Origin')]).toEqual([401, origin]);
    }
    for (const origin of ['https://evil.example', 'https://b.example', 'http://a.example', 'null']) {
      for (const path of paths) {
        const plain: RequestInit = { headers: { Origin: origin } };
        for (const init of [preflight(origin), plain]) {
          const { status, headers } = await ask(path, init, init.method ? {} : AS_ADMIN);
          expect(status).toBe(init.method ? 204 : path.includes('nope') ? 404 : 200);
          expect(corsHeaders(headers)).toEqual([]);
          expect(headers.get('Vary')).toContain('Origin');
        }
      }
    }
  });
});

describe('GET /metrics', () => {
  const numbers = async () => String((await ask('/metrics', {}, AS_VIEWER)).body);

  it('counts deployments and runs the same after a restart, beside the process itself', async () => {
    expect(await numbers()).toContain('iac_runner_deployments_total{status="success"} 0');
    for (let index = 0; index < 3; index += 1) await postDeploy(app, { ...DEPLOY_BODY, path: `p${index}` });
    await stage.store().append((await claimNext(stage.store())).lease, [ended('succeeded')]);
    await stage.store().append((await claimNext(stage.store())).lease, [ended('timed_out')]);
    const expected = [
      'iac_runner_deployments_total{status="success"} 1',
      'iac_runner_deployments_total{status="failed"} 1',
      'iac_runner_deployments_total{status="cancelled"} 0',
      'iac_runner_active_deployments 1',
      'iac_runner_runs{kind="deploy",state="queued"} 1',
      'iac_runner_runs_ended_total{kind="deploy",state="timed_out"} 1',
      'iac_runner_queue_length 1',
      '# TYPE iac_runner_deployment_duration_seconds histogram',
      'iac_runner_deployment_duration_seconds_bucket{le="5"} 2',
      'iac_runner_deployment_duration_seconds_bucket{le="+Inf"} 2',
      'iac_runner_deployment_duration_seconds_count 2',
      'process_resident_memory_bytes',
    ];
    for (const text of expected) expect(await numbers()).toContain(text);
    await stage.reopen();
    ({ app } = stage.serve());
    for (const text of expected) expect(await numbers()).toContain(text);
    expect((await ask('/metrics')).headers.get('Content-Type')).toContain('version=0.0.4');
    expect(
      (await numbers()).split('\n').filter((line) => !/^(#.*|[a-z0-9_]+(\{[^}]*\})? \S+|)$/.test(line)),
    ).toEqual([]);
  });
});
