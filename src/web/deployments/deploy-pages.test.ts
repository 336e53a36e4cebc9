import { describe, expect, it } from 'vitest';
import { signRunLink } from '../access/access.ts';
import { AS_ADMIN, AS_OPERATOR, AS_VIEWER, BROWSER, LINK_KEY, signIn } from '../pages.fixtures.ts';
import {
  announced,
  awaiting,
  createPages,
  DIGEST,
  ended,
  planned,
  SHA,
  started,
  TO_APPROVAL,
} from './tool-runs.fixtures.ts';

const POST = { method: 'POST' };

describe('The page of a deployment', () => {
  it('says what is deployed, for whom, and links to its commit in its own repository', async () => {
    const { show } = createPages(({ addDeploy }) =>
      addDeploy(
        'd2',
        {
          operation: 'destroy',
          toolVersion: null,
          path: '.',
          autoApprove: true,
          gitUrl: 'https://git.example/x/y.git',
        },
        { priority: 7, labels: ['prod', 'eu'], revision: SHA },
      ),
    );
    const page = await show('/runs/d1');
    for (const said of [
      '<bdi>Deploy stacks/network of acme/infra</bdi>',
      '<dd><bdi>terraform 1.11.4</bdi></dd>',
      '<dd><bdi>https://github.com/acme/infra.git</bdi></dd>',
      '<dd><bdi>main</bdi></dd>',
      'Deployment by oscar',
      `href="https://github.com/acme/infra/commit/${SHA}"`,
      '<bdi>Move the subnets</bdi>',
    ]) {
      expect(page).toContain(said);
    }
    expect(page).not.toMatch(/<dt>(Priority|Labels|Options)|id="why"|wave \d/);
    const other = await show('/runs/d2');
    expect(other).toContain('<bdi>Destroy x/y</bdi>');
    expect(other).toContain('<dt>Priority</dt><dd>7</dd>');
    expect(other).toContain('<bdi>prod, eu</bdi>');
    expect(other).toContain('applied without asking');
    expect(other).not.toContain('/commit/');
  });

  it.for([
    ['https://git.example.com:8443/infra.git', 'git.example.com:8443/infra'],
    ['https://bot@git.example.com/infra', 'git.example.com/infra'],
    ['https://git.example.com:8443/acme/infra.git', 'acme/infra'],
    ['git@github.com:acme/infra.git', 'acme/infra'],
  ] as const)('names the repository %s %s', async ([gitUrl, name]) => {
    const { show } = createPages(({ addDeploy }) => addDeploy('d2', { path: '.', gitUrl }));
    expect(await show('/runs/d2')).toContain(`<bdi>Deploy ${name}</bdi>`);
  });

  it('can scroll its resources by keyboard', async () => {
    expect(await createPages().show('/runs/d1')).toContain('<ul class="resources" tabindex="0"');
  });

  it('shows the plan: its sum, its resources, and its text with a class for each marker', async () => {
    const page = await createPages().show('/runs/d1');
    expect(page).toContain('<span class="plan-add">2 to add</span>, <span class="">0 to change</span>');
    expect(page).toContain('(1 replaced)');
    expect(page).toContain(
      '<span class="action plan-replace">replace</span> <code><bdi>terraform_data.a</bdi></code>',
    );
    expect(page).toContain('and 1 more');
    expect(page).toContain('<code><bdi>greeting</bdi></code>');
    for (const line of [
      '<span class="plan-head">  # terraform_data.a must be replaced</span>',
      '<span class="plan-replace">-/+ resource &quot;terraform_data&quot; &quot;a&quot; {</span>',
      '<span class="plan-change">      ~ id    = &quot;1&quot; -&gt; (known after apply)</span>',
      '<span class="plan-note">        # (2 unchanged attributes hidden)</span>',
      '\n    }\n',
      '<span class="plan-add">  + resource ',
      '<span class="plan-remove">  - resource ',
      '<span class="plan-read"> &lt;= data ',
      '<span class="plan-head">Plan: 2 to add',
    ]) {
      expect(page).toContain(line);
    }
    expect(page).toContain('<details class="fold" open>\n<summary>Plan as text, 12 lines</summary>');
    expect(page).toContain('href="/runs/d1/plan"');
  });

  it('shows the beginning of a plan of megabytes, folded, and leads to the whole', async () => {
    const line = '  + resource "terraform_data" "x" {';
    const lines = Array.from({ length: 150_000 }, (_, index) => `${line} # ${index}`);
    const { app, show } = createPages(({ addDeploy, append }) => {
      addDeploy('big');
      append(
        'big',
        ...TO_APPROVAL.slice(0, 8),
        planned(lines.join('\n'), 'plan', null),
        ended('plan'),
        awaiting,
      );
    });
    const page = await show('/runs/big');
    expect(page.length).toBeLessThan(500_000);
    expect(page).toContain('<details class="fold">\n<summary>Plan as text, 150,000 lines</summary>');
    expect(page).toContain('Only the first 2,000 lines are shown here');
    expect(page).toContain('A plan that could not be summed up');
    const whole = await app.request('/runs/big/plan', { headers: AS_VIEWER });
    expect(await whole.text()).toBe(`${lines.join('\n')}\n`);
  });

  it('shows outputs, but never a sensitive one', async () => {
    const { show } = createPages(({ append }) =>
      append('d1', { type: 'run.decided', decision: 'approved', by: 'ada', subject: DIGEST }, started, {
        type: 'run.outputs',
        outputs: {
          greeting: { sensitive: false, type: 'string', value: 'hello\nada' },
          ids: { sensitive: false, type: ['list', 'number'], value: [1] },
          password: { sensitive: true, type: 'string', value: 'must not be shown' },
        },
      }),
    );
    const page = await show('/runs/d1');
    expect(page).toContain('<code class="value">hello\nada</code>');
    expect(page).toContain('<code class="value">[\n  1\n]</code>');
    expect(page).toContain('<span class="quiet">(sensitive)</span>');
    expect(page).not.toContain('must not be shown');
  });

  it('shows the history of its target, of no other, and to nobody who holds a link only', async () => {
    const { show } = createPages(({ addDeploy }) => {
      addDeploy('elsewhere', { path: 'stacks/dns' });
      for (let number = 2; number <= 25; number += 1) addDeploy(`d${number}`, { gitRef: `v${number}` });
    });
    const page = await show('/runs/d25');
    const history = page.slice(page.indexOf('id="history"'));
    expect(history.match(/<tr/g)).toHaveLength(21);
    expect(history).toContain('href="/runs/d6"');
    expect(history).not.toMatch(/href="\/runs\/(d5|elsewhere|d25)"/);
    expect(history).toContain('(this run)');
    const link = await show(`/runs/d25?key=${signRunLink(LINK_KEY, 'd25')}`, {});
    expect(link).toContain('Deploy stacks/network');
    expect(link).not.toContain('id="history"');
    expect(link).not.toMatch(/\/runs\/d(?!25)/);
  });

  it('offers no retry, and says what to do instead', async () => {
    const { show } = createPages(({ append }) =>
      append('d1', {
        type: 'run.finished',
        state: 'cancelled',
        reason: 'cancelled_by_request',
        message: 'Cancelled by oscar',
        coveredBy: null,
      }),
    );
    const page = await show('/runs/d1', AS_ADMIN);
    expect(page).toContain('Deploy again if you still want it.');
    expect(page).toContain('<strong>Nobody decided</strong>');
    expect(page).not.toMatch(/action="\/runs\//);
  });

  it('does not show the plan of an attempt that was cut off', async () => {
    const { show } = createPages(({ addDeploy, append }) => {
      addDeploy('again');
      append('again', ...TO_APPROVAL.slice(0, -2), {
        type: 'run.requeued',
        message: 'Its worker has ended.',
        countAttempt: true,
        notBefore: 0,
      });
      append(
        'again',
        { type: 'run.started', owner: 'w', attempt: 2 },
        ...announced('clone', 'plan', 'apply'),
      );
    });
    expect(await show('/runs/again')).not.toContain('id="plans-title"');
  });

  it('names the event that was not delivered, without the address', async () => {
    const { show } = createPages(({ report }) =>
      report({
        reporter: 'event-webhook',
        runId: 'd1',
        target: 'callback',
        sent: null,
        settled: true,
        failures: 9,
        notBefore: 0,
        problem: 'hooks.example answered 500.',
      }),
    );
    expect(await show('/runs/d1')).toContain(
      'The event for the callback_url of the request was not delivered: hooks.example answered 500. It was given up.',
    );
  });
});

describe('An approval', () => {
  const FORMS = ['approve', 'reject', 'cancel'];

  it.each([
    ['an admin', AS_ADMIN, FORMS],
    ['an operator', AS_OPERATOR, ['cancel']],
    ['a viewer', AS_VIEWER, []],
    ['the holder of a link', {}, []],
  ] as const)('is explained to all, and offers to %s what they may do', async (_who, headers, forms) => {
    const key = `?key=${signRunLink(LINK_KEY, 'd1')}`;
    const page = await createPages().show(`/runs/d1${key}`, headers);
    expect(page).toContain('Anybody with the role admin may approve or reject it');
    expect(page).toContain(
      '<span class="nowrap" data-until="2026-03-01T14:00:00.000Z">1 h 00 min left</span>',
    );
    expect(page).toContain(`<code class="digest">${DIGEST}</code>`);
    expect(FORMS.filter((form) => page.includes(`<form method="post" action="/runs/d1/${form}">`))).toEqual(
      forms,
    );
  });

  it.each([
    ['approve', 'approved', 'Approved by <bdi>ada</bdi>'],
    ['reject', 'rejected', 'Rejected by <bdi>ada</bdi>'],
  ])('is decided once by %s, in the name of who did it', async (action, decision, words) => {
    const { app, json, show } = createPages();
    const ask = (headers: Record<string, string>) => app.request(`/runs/d1/${action}`, { ...POST, headers });
    expect((await ask({})).status).toBe(401);
    expect((await ask(AS_VIEWER)).status).toBe(403);
    expect((await ask(AS_OPERATOR)).status).toBe(403);
    expect((await app.request(`/runs/d1/${action}`, { headers: AS_ADMIN })).status).toBe(404);
    const key = signRunLink(LINK_KEY, 'd1');
    expect((await app.request(`/runs/d1/${action}?key=${key}`, POST)).status).toBe(401);
    expect(await json('/runs/d1')).toMatchObject({ approval: { decision: null } });

    const accepted = { status: 'accepted', run_id: 'd1', url: 'https://runner.example/runs/d1' };
    expect(await (await ask(AS_ADMIN)).json()).toEqual(accepted);
    expect((await ask(AS_ADMIN)).status).toBe(409);
    expect(await json('/runs/d1')).toMatchObject({
      approval: { subject: DIGEST, decision, by: 'ada', at: expect.stringMatching(/Z$/) },
    });
    const page = await show('/runs/d1', AS_ADMIN);
    expect(page).toContain(words);
    expect(page).toContain(`<code class="digest">${DIGEST}</code>`);
  });

  it.each([
    ['our page', { 'Sec-Fetch-Site': 'same-origin' }, 303],
    ['another site', { 'Sec-Fetch-Site': 'cross-site' }, 403],
    ['another host of the same site', { 'Sec-Fetch-Site': 'same-site' }, 403],
    ['a site that hides its origin', { Host: 'runner.example', Origin: 'null' }, 403],
    ['nowhere', {}, 403],
  ] as const)('by cookie, from %s', async (_what, origin, status) => {
    const { app, json } = createPages();
    const headers = { ...BROWSER, ...(await signIn(app, 'admin-token')), ...origin };
    const response = await app.request('/runs/d1/approve', { ...POST, headers });
    expect(response.status).toBe(status);
    if (status === 303) expect(response.headers.get('Location')).toBe('/runs/d1');
    expect(await json('/runs/d1')).toMatchObject({ state: status === 303 ? 'queued' : 'awaiting_approval' });
  });

  it('of a destruction asks people, and not programs, for the name of the target', async () => {
    const createDestruction = () =>
      createPages(({ addDeploy, append }) => {
        addDeploy('gone', { operation: 'destroy' });
        const asked = { subject: DIGEST, expiresAt: Date.now() + 60_000, message: 'Waiting' };
        append(
          'gone',
          { type: 'run.started', owner: 'w', attempt: 1 },
          { type: 'run.awaiting_approval', ...asked },
        );
      });
    const { app, show, json } = createDestruction();
    expect(await show('/runs/gone', AS_ADMIN)).toMatch(/Type <code>stacks\/network<\/code> to destroy it/);
    const form = async (confirm: string) => {
      const headers = {
        ...BROWSER,
        ...(await signIn(app, 'admin-token')),
        'Sec-Fetch-Site': 'same-origin',
        'Content-Type': 'application/x-www-form-urlencoded',
      };
      const body = new URLSearchParams({ confirm }).toString();
      return (await app.request('/runs/gone/approve', { method: 'POST', headers, body })).status;
    };
    expect([await form(''), await form('stacks')]).toEqual([409, 409]);
    expect(await json('/runs/gone')).toMatchObject({ state: 'awaiting_approval' });
    expect(await form('stacks/network')).toBe(303);
    expect(await json('/runs/gone')).toMatchObject({ state: 'queued' });
    const other = createDestruction();
    const byProgram = await other.app.request('/runs/gone/approve', { ...POST, headers: AS_ADMIN });
    expect(byProgram.status).toBe(200);
  });

  it('does not exist for a sync', async () => {
    const { app } = createPages(({ add }) => void add('s1'));
    const response = await app.request('/runs/s1/approve', { ...POST, headers: AS_ADMIN });
    expect(response.status).toBe(409);
  });
});
