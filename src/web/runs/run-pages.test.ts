import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { RunEventBody } from '../../runs/run-events.ts';
import { signRunLink } from '../access/access.ts';
import { AS_OPERATOR, AS_VIEWER, BROWSER, createTestPages, LINK_KEY, WANTS_JSON } from '../pages.fixtures.ts';
import { createTestRuns, type TestRuns } from '../runs.fixtures.ts';

const SHA = 'abcdef1234567890abcdef1234567890abcdef12';

const FAILED_RUN: RunEventBody[] = [
  { type: 'run.started', owner: 'w1', attempt: 1 },
  { type: 'run.revision', revision: SHA, subject: 'Tune postgres' },
  {
    type: 'run.explained',
    explanation: {
      revision: SHA,
      notes: ['Compared with 1234567.'],
      services: [
        {
          service: 'platform/postgres',
          folder: 'platform/01.postgres',
          wave: 1,
          decision: 'run',
          because: 'Its folder changed.',
          paths: ['platform/01.postgres/compose.yaml'],
        },
      ],
      unmatched: ['README.md'],
    },
  },
  { type: 'run.chosen', count: 1, message: 'Syncing 1 service(s)...' },
  { type: 'step.planned', step: 'platform/postgres', position: 0, wave: 1, message: 'Its folder changed.' },
  { type: 'step.started', step: 'platform/postgres', command: ['invoke', 'postgres.sync'], ledger: null },
  { type: 'step.log', step: 'platform/postgres', stream: 'stdout', lines: ['pulling', '\x1b[31mno\x1b[0m'] },
  {
    type: 'step.finished',
    step: 'platform/postgres',
    state: 'failed',
    message: 'The task failed.',
    exitCode: 2,
    ledger: null,
  },
  {
    type: 'run.finished',
    state: 'failed',
    reason: 'step_failed',
    message: '1/1 service(s) failed to sync',
    coveredBy: null,
  },
];

const ListBody = z.object({ runs: z.array(z.object({ run_id: z.string() })), next: z.string().nullable() });

function createPages() {
  const store = createTestRuns();
  store.add('r1');
  store.append('r1', ...FAILED_RUN);
  return { store, ...createTestPages(store) };
}

describe('the page of a preview', () => {
  it('shows its state, its explanation and the reports that GitHub refused, and has no steps', async () => {
    const { store, app } = createPages();
    const input = { branch: 'main', revision: SHA, pullRequest: 7 };
    const trigger = { source: 'pull_request', actor: 'octocat', deliveryId: null, retryOf: null } as const;
    store.addOther('p1', { kind: 'preview', input, trigger });
    store.append(
      'p1',
      { type: 'run.started', owner: 'w', attempt: 1 },
      {
        type: 'run.finished',
        state: 'succeeded',
        reason: null,
        message: 'Merging this will sync nothing',
        coveredBy: null,
      },
    );
    store.report({
      reporter: 'pull-request-comment',
      runId: 'p1',
      target: '#7',
      sent: null,
      settled: true,
      failures: 1,
      notBefore: 0,
      problem: 'GitHub says <no>.',
    });
    const page = await (await app.request('/runs/p1', { headers: { ...AS_OPERATOR, ...BROWSER } })).text();
    expect(page).toContain('Merging this will sync nothing');
    expect(page).toContain('Pull request by octocat');
    expect(page).toContain('<dd>#7</dd>');
    expect(page).toContain('The pull request comment of #7 was not delivered: GitHub says &lt;no&gt;.');
    expect(page).not.toContain('id="step-list"');
    const json = await (await app.request('/runs/p1', { headers: { ...AS_VIEWER, ...WANTS_JSON } })).json();
    expect(json).toMatchObject({
      kind: 'preview',
      pull_request: 7,
      undelivered: [{ target: '#7', given_up: true }],
    });
  });
});

describe('the page of a sync', () => {
  it('names the deployment and the services that GitHub was not told about, and only a few of them', async () => {
    const { store, app } = createPages();
    const given = { runId: 'r1', sent: null, settled: true, failures: 3, notBefore: 0, problem: 'No.' };
    store.report({ ...given, reporter: 'github-deployment', target: SHA });
    for (let n = 1; n <= 6; n += 1)
      store.report({ ...given, reporter: 'service-status', target: `${SHA} platform/app-${n}` });
    const page = await (await app.request('/runs/r1', { headers: { ...AS_OPERATOR, ...BROWSER } })).text();
    const short = SHA.slice(0, 8);
    expect(page).toContain(`The deployment of ${short} on GitHub was not delivered: No. It was given up.`);
    expect(page).toContain(`The commit status of platform/app-1 at ${short} was not delivered: No.`);
    expect(page).toContain('2 more reports were not delivered.');
    expect(page).not.toContain('The commit status of platform/app-6');
  });
});

describe('the list of runs', () => {
  it('is newest first, in pages that lead to the older ones', async () => {
    const { store, app } = createPages();
    for (let number = 2; number <= 120; number += 1) store.add(`r${number}`);
    const headers = { ...AS_VIEWER, ...WANTS_JSON };
    const seen: string[] = [];
    for (let next: string | null = '/runs'; next !== null; ) {
      const body = ListBody.parse(await (await app.request(next, { headers })).json());
      expect(body.runs.length).toBeLessThanOrEqual(50);
      seen.push(...body.runs.map(({ run_id }) => run_id));
      next = body.next;
    }
    expect(seen).toEqual(Array.from({ length: 120 }, (_, index) => `r${120 - index}`));
    const page = await (await app.request('/runs', { headers: { ...AS_VIEWER, ...BROWSER } })).text();
    expect(page).toContain('href="/runs?before=r71"');
  });

  it('can be asked for one state, and names the states when the state is unknown', async () => {
    const { store, app } = createPages();
    store.add('r2');
    const ask = async (query: string) =>
      (await app.request(`/runs?state=${query}`, { headers: { ...AS_VIEWER, ...WANTS_JSON } })).json();
    expect(await ask('failed')).toMatchObject({ runs: [{ run_id: 'r1' }], next: null });
    expect(await ask('nonsense')).toMatchObject({ error: expect.stringContaining('queued, running') });
  });

  it('is refused with the id of an unknown run as `before`, as a page and as JSON', async () => {
    const { app } = createPages();
    for (const before of ['zzz', '', '%00']) {
      const json = await app.request(`/runs?before=${before}`, { headers: { ...AS_VIEWER, ...WANTS_JSON } });
      expect({ before, status: json.status, body: await json.json() }).toEqual({
        before,
        status: 400,
        body: expect.objectContaining({ error: 'Before must be the id of a run that is kept.' }),
      });
      const page = await app.request(`/runs?before=${before}`, { headers: { ...AS_VIEWER, ...BROWSER } });
      expect(page.status).toBe(400);
    }
  });
});

describe('the page of a run', () => {
  it('is JSON for callers who prefer it', async () => {
    const { app } = createPages();
    const response = await app.request('/runs/r1', { headers: { ...AS_VIEWER, ...WANTS_JSON } });
    expect(response.headers.get('Content-Type')).toMatch(/^application\/json/);
    expect(await response.json()).toEqual({
      run_id: 'r1',
      kind: 'sync',
      state: 'failed',
      reason: 'step_failed',
      next_action: 'Open the failed step, fix it and push, or retry the run.',
      message: '1/1 service(s) failed to sync',
      branch: 'main',
      revision: SHA,
      requested_revision: '1234567890abcdef1234567890abcdef12345678',
      subject: 'Tune postgres',
      trigger: { source: 'webhook', actor: 'octocat', delivery_id: 'd-1', retry_of: null },
      pull_request: null,
      force: false,
      dry_run: false,
      cancel_requested_by: null,
      covered_by: null,
      attempt: 1,
      created_at: '2026-03-01T12:00:00.000Z',
      started_at: '2026-03-01T12:00:01.000Z',
      finished_at: '2026-03-01T12:00:09.000Z',
      duration_ms: 8000,
      url: 'https://runner.example/runs/r1',
      steps: [
        {
          id: 'platform/postgres',
          state: 'failed',
          message: 'The task failed.',
          exit_code: 2,
          wave: 1,
          started_at: '2026-03-01T12:00:06.000Z',
          finished_at: '2026-03-01T12:00:08.000Z',
          duration_ms: 2000,
        },
      ],
      why: expect.objectContaining({ revision: SHA, unmatched: ['README.md'] }),
      undelivered: [],
    });
  });

  it('shows outcome, commit, steps with their logs, and why', async () => {
    const { app } = createPages();
    const page = await (await app.request('/runs/r1', { headers: { ...AS_OPERATOR, ...BROWSER } })).text();
    expect(page).toContain('data-state="failed"');
    expect(page).toContain(`href="https://github.com/acme/platform/commit/${SHA}"`);
    expect(page).toContain('Open the failed step, fix it and push, or retry the run.');
    expect(page).toContain('<li class="stdout">pulling</li>');
    expect(page).toContain('<li class="stdout"><span class="fg-1">no</span></li>');
    expect(page).toMatch(/<details class="step"[^>]* open>/);
    expect(page).toContain('platform/01.postgres/compose.yaml');
    expect(page).toContain('action="/runs/r1/retry"');
    expect(page).not.toContain('data-events');
  });

  it('is HTML without a preference, and JSON when the caller prefers it', async () => {
    const { app } = createPages();
    const typeFor = async (Accept: string) =>
      (await app.request('/runs/r1', { headers: { ...AS_VIEWER, Accept } })).headers.get('Content-Type');
    expect(await typeFor('*/*')).toMatch('text/html');
    expect(await typeFor('application/json;q=0.5, text/html')).toMatch('text/html');
    expect(await typeFor('text/html;q=0.5, application/json')).toMatch('application/json');
    expect(await typeFor('application/json, text/plain, */*')).toMatch('application/json');
  });

  it('shows the last 200 lines of a long log with their numbers, and a link to the rest', async () => {
    const { store, app } = createPages();
    store.add('big');
    store.append('big', ...FAILED_RUN.slice(0, 6));
    for (let chunk = 0; chunk < 60; chunk += 1) {
      const lines = Array.from({ length: 100 }, (_, index) => `line ${chunk * 100 + index + 1}.`);
      store.append('big', { type: 'step.log', step: 'platform/postgres', stream: 'stdout', lines });
    }
    const page = await (await app.request('/runs/big', { headers: { ...AS_VIEWER, ...BROWSER } })).text();
    expect(page.match(/<li class="stdout">/g)).toHaveLength(200);
    expect(page).toContain('<ol class="log" start="5801"><li class="stdout">line 5801.</li>');
    expect(page).toContain('Lines before 5801 are in the raw log.');
    expect(page).toContain('href="/runs/big/log.txt?step=platform%2Fpostgres"');
  });

  it('has the exit code and the wave of a step once, and no wave where there is none', async () => {
    const { store, app } = createPages();
    const message = 'Exit code 1: the disk is full';
    const failed = { state: 'failed', exitCode: 1, ledger: null } as const;
    store.add('codes');
    store.append(
      'codes',
      ...FAILED_RUN.slice(0, 2),
      { type: 'step.planned', step: 'a', position: 0, wave: 0, message: '' },
      { type: 'step.finished', step: 'a', message, ...failed },
      { type: 'step.planned', step: 'b', position: 1, wave: 2, message: '' },
      { type: 'step.finished', step: 'b', message: 'It broke.', ...failed },
    );
    const page = await (await app.request('/runs/codes', { headers: { ...AS_VIEWER, ...BROWSER } })).text();
    expect(page.match(/step-message">[^<]*/g)).toEqual([
      `step-message">${message}`,
      'step-message">It broke. · exit 1',
    ]);
    expect(page.match(/step-wave quiet">[^<]*/g)).toEqual(['step-wave quiet">', 'step-wave quiet">wave 2']);
  });

  it('continues with the event stream from its last event while the run is not final', async () => {
    const { store, app } = createPages();
    store.add('live');
    store.append('live', ...FAILED_RUN.slice(0, 7));
    const key = signRunLink(LINK_KEY, 'live');
    const page = await (await app.request(`/runs/live?key=${key}`, { headers: BROWSER })).text();
    expect(page).toContain(`data-events="/runs/live/events?key=${key}" data-after="9"`);
  });

  it('marks where a step was started again', async () => {
    const { store, app } = createPages();
    store.add('again');
    store.append('again', ...FAILED_RUN.slice(0, 7));
    store.append('again', {
      type: 'run.requeued',
      message: 'Its worker has ended.',
      countAttempt: true,
      notBefore: 0,
    });
    store.append('again', ...FAILED_RUN.slice(0, 1), ...FAILED_RUN.slice(4, 7));
    const page = await (await app.request('/runs/again', { headers: { ...AS_VIEWER, ...BROWSER } })).text();
    expect(page.match(/<li class="mark">Started again<\/li>/g)).toHaveLength(1);
  });
});

describe('the Retry button', () => {
  const input = {
    repository: 'acme/platform',
    pullRequest: 7,
    branch: 'main',
    command: 'plan' as const,
    cloneUrl: 'https://github.com/acme/platform.git',
    apiUrl: 'https://api.github.com',
    author: { id: 1, login: 'octocat' },
    commentId: 1,
    writtenAt: 0,
  };

  it.each([
    ['a sync', true, (store: TestRuns) => store.add('x', { state: 'failed' })],
    [
      'a comment command',
      false,
      (store: TestRuns) => store.addOther('x', { kind: 'command', input, state: 'failed' }),
    ],
    ['a deployment', false, (store: TestRuns) => store.addDeploy('x', {}, { state: 'failed' })],
    [
      'a plan with a token of its own',
      false,
      (store: TestRuns) => store.addPlan('x', {}, { state: 'failed' }),
    ],
    [
      'a plan with the token of the server',
      true,
      (store: TestRuns) => store.addPlan('x', { credential: 'configured' }, { state: 'failed' }),
    ],
  ])('after %s that failed is shown: %s', async (_what, isShown, add) => {
    const { app, store } = createPages();
    add(store);
    const page = await (await app.request('/runs/x', { headers: { ...AS_OPERATOR, ...BROWSER } })).text();
    expect(page.includes('action="/runs/x/retry"')).toBe(isShown);
  });
});

describe('the raw log', () => {
  it('is plain text of all steps, or of one', async () => {
    const { store, app } = createPages();
    store.add('two');
    store.append('two', ...FAILED_RUN.slice(0, 5));
    store.append('two', { type: 'step.planned', step: 'platform/redis', position: 1, wave: 1, message: '' });
    store.append('two', { type: 'step.log', step: 'platform/postgres', stream: 'stdout', lines: ['a', 'b'] });
    store.append('two', { type: 'step.log', step: 'platform/redis', stream: 'stderr', lines: ['c\x1b[2J'] });
    const whole = await app.request('/runs/two/log', { headers: AS_VIEWER });
    expect(whole.headers.get('Content-Type')).toBe('text/plain; charset=utf-8');
    expect(whole.headers.get('X-Content-Type-Options')).toBe('nosniff');
    expect(await whole.text()).toBe('==> platform/postgres <==\na\nb\n==> platform/redis <==\nc\n');
    const one = await app.request('/runs/two/log?step=platform/redis', { headers: AS_VIEWER });
    expect(await one.text()).toBe('c\n');
    expect((await app.request('/runs/two/log?step=none', { headers: AS_VIEWER })).status).toBe(404);
  });
});

describe('HEAD', () => {
  it.each(['/runs', '/runs/r1', '/runs/r1/log', '/runs/r1/events', '/login'])(
    'has no body at %s',
    async (path) => {
      const response = await createPages().app.request(path, { method: 'HEAD', headers: AS_VIEWER });
      expect([200, 303]).toContain(response.status);
      expect(await response.text()).toBe('');
    },
  );
});

describe('assets', () => {
  it('are cached for ever under the address that the pages use, and revalidated under any other', async () => {
    const { app } = createPages();
    const page = await (await app.request('/login', { headers: BROWSER })).text();
    const [path = ''] = /\/assets\/app\.css\?v=[\w-]+/.exec(page) ?? [];
    const pinned = await app.request(path);
    expect(pinned.headers.get('Cache-Control')).toContain('immutable');
    expect(pinned.headers.get('Content-Type')).toBe('text/css; charset=utf-8');
    const etag = pinned.headers.get('ETag') ?? '';
    const plain = await app.request('/assets/app.css', { headers: { 'If-None-Match': etag } });
    expect([plain.status, plain.headers.get('Cache-Control')]).toEqual([304, 'no-cache']);
    expect((await app.request('/assets/..%2fassets.ts')).status).toBe(404);
  });
});
