import { describe, expect, it } from 'vitest';
import { signRunLink } from '../access/access.ts';
import { AS_ADMIN, AS_VIEWER, BROWSER, LINK_KEY } from '../pages.fixtures.ts';
import type { TestRuns } from '../runs.fixtures.ts';
import {
  announced,
  awaiting,
  createPages,
  DIGEST,
  ended,
  NO_CHANGES,
  planned,
  SHA,
  SUMMARY,
  started,
  stepStarted,
  TEXT,
  TO_APPROVAL,
} from './tool-runs.fixtures.ts';

/** A pull request with two roots, of which one cannot be planned. */
function addPlans({ addPlan, append }: TestRuns): void {
  const roots = ['a', 'b', 'c'].map((directory) => ({ directory, tool: 'tofu', toolVersion: null }) as const);
  addPlan('p1', { roots });
  append(
    'p1',
    started,
    ...announced('clone', 'init a', 'plan a', 'init b', 'plan b', 'init c', 'plan c'),
    stepStarted('plan a'),
    planned('  + first', 'plan a'),
    ended('plan a'),
    stepStarted('plan b'),
    planned('No changes.', 'plan b', NO_CHANGES),
    ended('plan b'),
    stepStarted('init c'),
    ended('init c', 'failed'),
    {
      type: 'run.diagnosed',
      step: 'plan c',
      problem: 'No provider',
      nextAction: 'Wait.',
      lines: ['last line'],
    },
    ended('plan c', 'blocked'),
  );
}

describe('The page of plans of a pull request', () => {
  it('shows the plan of each root, or why it has none', async () => {
    const page = await createPages(addPlans).show('/runs/p1');
    expect(page).toContain('<bdi>Plan of acme/infra#7</bdi>');
    expect(page).toContain('<a href="https://github.com/acme/infra/pull/7">#7</a>');
    for (const root of ['a', 'b', 'c']) expect(page).toContain(`<h3><bdi>${root}</bdi></h3>`);
    expect(page).toContain('<strong>No changes</strong>');
    expect(page).toContain('<strong>No provider.</strong> Wait.');
    expect(page).toContain('<pre class="plan-text">last line</pre>');
    expect(page).toContain('href="/runs/p1/plan?step=plan+a"');
  });

  it('explains what an approval means for a head from a fork', async () => {
    const { show } = createPages(({ addPlan, append }) => {
      addPlan('fork', { fromFork: true });
      append('fork', started, { ...awaiting, subject: SHA, message: 'The head is from a fork' });
    });
    const page = await show('/runs/fork', AS_ADMIN);
    expect(page).toContain('The head comes from a fork.');
    expect(page).toContain(`The approval is for the commit <code class="digest">${SHA}</code>`);
    expect(page).toContain('action="/runs/fork/approve"');
  });
});

describe('The text of a plan', () => {
  it('is plain text, of the only plan, of all plans, or of one of them', async () => {
    const { app } = createPages((store) => {
      addPlans(store);
      store.add('s1');
    });
    const key = signRunLink(LINK_KEY, 'd1');
    const only = await app.request(`/runs/d1/plan?key=${key}`);
    expect(only.headers.get('Content-Type')).toBe('text/plain; charset=utf-8');
    expect(only.headers.get('X-Content-Type-Options')).toBe('nosniff');
    expect(await only.text()).toBe(`${TEXT}\n`);
    const ask = async (path: string) => {
      const response = await app.request(path, { headers: AS_VIEWER });
      return response.status === 200 ? response.text() : response.status;
    };
    expect(await ask('/runs/p1/plan')).toBe('==> plan a <==\n  + first\n==> plan b <==\nNo changes.\n');
    expect(await ask('/runs/p1/plan?step=plan+b')).toBe('No changes.\n');
    for (const path of ['/runs/p1/plan?step=plan+c', '/runs/s1/plan', '/runs/nope/plan']) {
      expect(await ask(path)).toBe(404);
    }
    expect((await app.request(`/runs/p1/plan?key=${key}`)).status).toBe(401);
  });
});

describe('The JSON of a run', () => {
  it('has the members of its kind', async () => {
    const { json, app } = createPages(addPlans);
    expect(await json('/runs/d1')).toMatchObject({
      kind: 'deploy',
      operation: 'apply',
      tool: 'terraform',
      tool_version: '1.11.4',
      git_url: 'https://github.com/acme/infra.git',
      git_ref: 'main',
      path: 'stacks/network',
      priority: 0,
      labels: [],
      plan_summary: SUMMARY,
      plans: [{ step: 'plan', path: 'stacks/network', summary: SUMMARY, problem: null }],
      approval: {
        subject: DIGEST,
        expires_at: '2026-03-01T14:00:00.000Z',
        decision: null,
        by: null,
        at: null,
      },
    });
    expect(await json('/runs/p1')).toMatchObject({
      kind: 'plan',
      pull_request: 7,
      repository: 'acme/infra',
      plan_summary: null,
      plans: [
        { path: 'a', summary: SUMMARY },
        { path: 'b' },
        { path: 'c', summary: null, problem: 'No provider' },
      ],
      approval: null,
    });
    const key = signRunLink(LINK_KEY, 'd1');
    const link = await app.request(`/runs/d1?format=json&key=${key}`, { headers: BROWSER });
    expect(link.headers.get('Content-Type')).toMatch(/^application\/json/);
  });
});

describe('The list of runs', () => {
  it('can be narrowed to one kind, also together with a state', async () => {
    const { app, json, show } = createPages((store) => {
      addPlans(store);
      store.add('s1');
    });
    expect(await json('/runs?kind=deploy')).toMatchObject({ runs: [{ run_id: 'd1' }], next: null });
    expect(await json('/runs?kind=plan&state=queued')).toEqual({ runs: [], next: null });
    expect((await app.request('/runs?kind=other', { headers: AS_VIEWER })).status).toBe(400);
    const page = await show('/runs?kind=deploy&state=awaiting_approval');
    expect(page).toContain('<bdi>Deploy stacks/network of acme/infra</bdi>');
    expect(page).toContain('<option value="deploy" selected>');
    expect(page).toContain('<option value="awaiting_approval" selected>');
    expect(await show('/runs?kind=preview')).toContain('No previews yet.');
  });
});

describe('The event stream of a deployment', () => {
  it('reports the plan, the approval and the outputs', async () => {
    const { app } = createPages(({ append }) =>
      append(
        'd1',
        { type: 'run.decided', decision: 'approved', by: 'ada', subject: DIGEST },
        started,
        { type: 'run.outputs', outputs: {} },
        { type: 'run.finished', state: 'failed', reason: 'step_failed', message: 'No', coveredBy: null },
      ),
    );
    const text = await (await app.request('/runs/d1/events', { headers: AS_VIEWER })).text();
    expect(text).toContain('event: planned\ndata: {"step":"plan"}');
    expect(text).toMatch(
      /event: run\ndata: \{"state":"awaiting_approval",.*"approval_expires_at":"2026-03-01T14:00/,
    );
    expect(text).toMatch(/event: run\ndata: \{"state":"queued","decision":"approved","by":"ada"/);
    expect(text).toContain('event: outputs\ndata: {}');
    expect(text).toContain('then deploy again.');
  });
});

describe('F48: a hostile plan', () => {
  const EVIL = `"><img src=x onerror=alert(1)>'</pre></script><script>alert(2)</script>\u202e\x1b]8;;javascript:alert(3)\x07x`;

  function createHostile() {
    return createPages(({ addDeploy, addPlan, append }) => {
      const input = {
        gitUrl: `https://h/${EVIL}`,
        gitRef: EVIL,
        path: EVIL,
        toolVersion: EVIL,
        tfvarsFiles: [EVIL],
      };
      addDeploy('evil', input, { labels: [EVIL] });
      const resources = [{ address: EVIL, action: 'create' as const }];
      append(
        'evil',
        ...TO_APPROVAL.slice(0, 8),
        planned(`  + ${EVIL}\n${EVIL}`, 'plan', { ...SUMMARY, resources, outputs: [EVIL] }),
        ended('plan'),
        { ...awaiting, subject: EVIL, message: EVIL },
        { type: 'run.decided', decision: 'approved', by: EVIL, subject: EVIL },
        started,
        {
          type: 'run.outputs',
          outputs: {
            [EVIL]: { sensitive: false, type: 'string', value: EVIL },
            other: { sensitive: false, type: 'object', value: { [EVIL]: EVIL } },
          },
        },
      );
      addDeploy('after', input);
      const roots = [EVIL, 'b'].map((directory) => ({ directory, tool: 'tofu', toolVersion: EVIL }) as const);
      addPlan('plans', { repository: EVIL, headRef: EVIL, apiUrl: 'javascript:alert(4)', roots });
      append(
        'plans',
        started,
        ...announced(`plan ${EVIL}`, 'plan b'),
        ...[`plan ${EVIL}`, 'plan b'].map(stepStarted),
        planned(EVIL, `plan ${EVIL}`),
        ended(`plan ${EVIL}`),
        { type: 'run.diagnosed', step: 'plan b', problem: EVIL, nextAction: EVIL, lines: [EVIL] },
        ended('plan b', 'failed'),
      );
    });
  }

  it.each(['/runs', '/runs/evil', '/runs/after', '/runs/plans'])('is only text in %s', async (path) => {
    const page = await createHostile().show(path, AS_ADMIN);
    expect(page).toContain('&lt;img src=x onerror=alert(1)&gt;');
    expect(page).not.toContain('<img src=x');
    expect(page).not.toContain('alert(2)</script>');
    const tags = page.match(/<[a-z][^<>]*>/g) ?? [];
    expect(tags.filter((tag) => /\sonerror=/.test(tag.replaceAll(/"[^"]*"/g, '""')))).toEqual([]);
    expect(tags.filter((tag) => /href="javascript/i.test(tag))).toEqual([]);
    const shown = page.replaceAll(/<[a-z/][^<>]*>/g, '');
    expect(shown).not.toMatch(/\p{Bidi_Control}|(?!\n)\p{Cc}/u);
  });

  it('keeps no control in its plain text', async () => {
    const { app } = createHostile();
    for (const path of ['/runs/evil/plan', '/runs/plans/plan']) {
      const text = await (await app.request(path, { headers: AS_VIEWER })).text();
      expect(text).toContain('<img src=x');
      expect(text).not.toMatch(/(?!\n)\p{Cc}|\p{Bidi_Control}/u);
    }
  });
});
