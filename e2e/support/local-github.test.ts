/** The local GitHub, tested with the client that also talks to the real GitHub. */

import { Octokit } from '@octokit/rest';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { githubContract } from './github-contract.ts';
import { MISBEHAVIOURS, type Misbehaviour, redirect, secondaryRateLimit } from './github-misbehaviour.ts';
import { expectNoViolations, type LocalGithub, startLocalGithub } from './local-github.ts';

const SHA = 'a'.repeat(40);
const TARGET = { owner: 'acme', repo: 'platform', sha: SHA };
const QUIET = { debug() {}, info() {}, warn() {}, error() {} };
const TOKEN = 'token-of-the-test';

let github: LocalGithub;

beforeEach(async () => {
  github = await startLocalGithub({ fullName: 'acme/platform', token: TOKEN });
});
afterEach(() => github.close());

function client(auth = TOKEN, timeoutMs = 60_000): Octokit {
  const limited: typeof fetch = (input, init) =>
    fetch(input, { ...init, signal: AbortSignal.timeout(timeoutMs) });
  return new Octokit({ auth, baseUrl: github.url, log: QUIET, request: { fetch: limited } });
}

function write(octokit: Octokit, more: { description?: string; target_url?: string } = {}) {
  return octokit.rest.repos.createCommitStatus({
    ...TARGET,
    state: 'pending',
    context: 'IaC Runner / Sync',
    ...more,
  });
}

async function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(github.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

describe('the API', () => {
  it('stores statuses by commit and context, and answers as GitHub describes', async () => {
    const octokit = client();
    const created = await write(octokit, { description: 'Syncing 2 service(s)...' });
    await octokit.rest.repos.createCommitStatus({
      ...TARGET,
      state: 'success',
      context: 'iac runner / SYNC',
    });
    const combined = await octokit.rest.repos.getCombinedStatusForRef({
      owner: 'acme',
      repo: 'platform',
      ref: SHA,
    });
    const repository = await octokit.rest.repos.get({ owner: 'Acme', repo: 'platform' });

    expect(created.status).toBe(201);
    expect(combined.data).toMatchObject({ state: 'success', total_count: 1 });
    expect(repository.data.full_name).toBe('acme/platform');
    expect(github.statuses.history(SHA, 'IaC Runner / Sync').map(({ state }) => state)).toEqual([
      'pending',
      'success',
    ]);
    expect(githubContract().checkAnswer('repos/create-commit-status', 201, created.data)).toEqual([]);
    expect(githubContract().checkAnswer('repos/get-combined-status-for-ref', 200, combined.data)).toEqual([]);
    expect(githubContract().checkAnswer('repos/get', 200, repository.data)).toEqual([]);
    expectNoViolations(github);
  });

  it.each([
    ['an unknown state', { state: 'done' }, /state/],
    ['no state', { description: 'x' }, /state/],
    ['a wrong type', { state: 'success', description: 7 }, /description/],
    ['an unknown field', { state: 'success', colour: 'red' }, /colour/],
    ['a description of 141 characters', { state: 'success', description: 'x'.repeat(141) }, /too long/],
    ['a context of 256 characters', { state: 'success', context: 'x'.repeat(256) }, /too long/],
    ['a target that is no web address', { state: 'success', target_url: 'javascript:alert(1)' }, /scheme/],
  ])('refuses %s with 422 and remembers it', async (_, body, violation) => {
    const response = await post(`/repos/acme/platform/statuses/${SHA}`, body);
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ message: 'Validation Failed', status: '422' });
    expect(github.violations.join()).toMatch(violation);
    expect(() => expectNoViolations(github)).toThrow(violation);
  });

  it('accepts a description of 140 characters outside the basic plane', async () => {
    expect((await write(client(), { description: '𝔵'.repeat(140) })).status).toBe(201);
    expectNoViolations(github);
  });

  it('has no other route, repository or query', async () => {
    expect((await post('/repos/acme/platform/status', {})).status).toBe(404);
    expect((await post(`/repos/acme/other/statuses/${SHA}`, { state: 'success' })).status).toBe(404);
    const headers = { authorization: `token ${TOKEN}` };
    const path = `/repos/acme/platform/commits/${SHA}/status`;
    expect((await fetch(`${github.url}${path}?per_page=5`, { headers })).status).toBe(200);
    expect((await fetch(`${github.url}${path}?per_page=many`, { headers })).status).toBe(422);
    expect((await fetch(`${github.url}${path}?pages=1`, { headers })).status).toBe(422);
    expect(github.violations).toHaveLength(3);
  });

  it('shows a pull request, its reviews page by page, and the permissions of a user, as GitHub describes', async () => {
    const octokit = client();
    const pull = { owner: 'acme', repo: 'platform', pull_number: 7 };
    await expect(octokit.rest.pulls.get(pull)).rejects.toMatchObject({ status: 404 });
    github.pulls.set({ number: 7, head: SHA, author: 'ada', mergeable: null });
    const { data: shown } = await octokit.rest.pulls.get(pull);
    expect(shown).toMatchObject({ mergeable: null, mergeable_state: 'unknown', head: { sha: SHA } });

    for (const login of ['bob', 'eve', 'ada']) {
      github.pulls.review(7, { login, state: 'APPROVED', commit: SHA, at: '2026-03-02T09:33:47Z' });
    }
    const first = await octokit.rest.pulls.listReviews({ ...pull, per_page: 2 });
    expect(githubContract().checkAnswer('pulls/list-reviews', 200, first.data)).toEqual([]);
    expect(first.headers.link).toContain('rel="next"');
    const second = await octokit.rest.pulls.listReviews({ ...pull, per_page: 2, page: 2 });
    expect(second.data).toMatchObject([{ user: { login: 'ada', id: shown.user.id } }]);
    expect(second.headers.link).toBeUndefined();

    github.people.allow('bob', 'maintain');
    const question = { owner: 'acme', repo: 'platform', username: 'bob' };
    const { data: bob } = await octokit.rest.repos.getCollaboratorPermissionLevel(question);
    const operation = 'repos/get-collaborator-permission-level';
    expect(githubContract().checkAnswer(operation, 200, bob)).toEqual([]);
    expect(bob).toMatchObject({ permission: 'write', role_name: 'maintain', user: { login: 'bob' } });
    expectNoViolations(github);
  });

  it('keeps deployments with their statuses, and shows them page by page, as GitHub describes', async () => {
    const octokit = client();
    const { sha: ref, ...repository } = TARGET;
    const wanted = { ...repository, ref, auto_merge: false, required_contexts: [], environment: 'staging' };
    const payload = { run_id: 'run-1', services: ['platform/redis'] };
    const { data: first } = await octokit.rest.repos.createDeployment({ ...wanted, payload });
    expect(githubContract().checkAnswer('repos/create-deployment', 201, first)).toEqual([]);
    const { data: second } = await octokit.rest.repos.createDeployment(wanted);
    if (!('id' in first) || !('id' in second)) throw new Error('The deployments should have ids.');
    for (const deployment_id of [first.id, second.id]) {
      const status = {
        ...repository,
        deployment_id,
        state: 'success',
        log_url: 'https://a.example',
      } as const;
      const { data } = await octokit.rest.repos.createDeploymentStatus(status);
      expect(githubContract().checkAnswer('repos/create-deployment-status', 201, data)).toEqual([]);
    }
    expect(github.deployments.states()).toEqual([['success', 'inactive'], ['success']]);
    const question = { ...repository, sha: ref, environment: 'staging', per_page: 1 };
    const newest = await octokit.rest.repos.listDeployments(question);
    expect(githubContract().checkAnswer('repos/list-deployments', 200, newest.data)).toEqual([]);
    expect(newest.data).toMatchObject([{ id: second.id }]);
    expect(newest.headers.link).toContain('rel="next"');
    const oldest = await octokit.rest.repos.listDeployments({ ...question, page: 2 });
    expect(oldest.data).toMatchObject([{ id: first.id, payload }]);
    expect(oldest.headers.link).toBeUndefined();
    const elsewhere = await octokit.rest.repos.listDeployments({ ...question, environment: 'production' });
    expect(elsewhere.data).toEqual([]);
    github.deployments.remove(first.id);
    const lost = { ...repository, deployment_id: first.id, state: 'success' } as const;
    await expect(octokit.rest.repos.createDeploymentStatus(lost)).rejects.toMatchObject({ status: 404 });
    expectNoViolations(github);
  });

  it('checks token, media type and version', async () => {
    await expect(write(client('wrong'))).rejects.toMatchObject({ status: 401 });
    const path = `/repos/acme/platform/statuses/${SHA}`;
    expect((await post(path, { state: 'success' }, { authorization: '' })).status).toBe(401);
    expect((await post(path, { state: 'success' }, { accept: 'text/html' })).status).toBe(415);
    expect((await post(path, { state: 'success' }, { 'x-github-api-version': '1999-01-01' })).status).toBe(
      400,
    );
    expect(github.statuses.history(SHA)).toEqual([]);
  });

  it('accepts 1,000 statuses per commit and context, and then no more', async () => {
    github.statuses.fill(SHA, 'iac runner / sync', 1);
    await write(client());
    await expect(write(client())).rejects.toMatchObject({
      status: 422,
      message: expect.stringMatching(/maximum/),
    });
    expectNoViolations(github);
  });

  it('records the times and the order of requests', async () => {
    const octokit = client();
    await write(octokit);
    await write(octokit);
    expect(github.requests.map(({ others, status }) => ({ others, status }))).toEqual([
      { others: 0, status: 201 },
      { others: 0, status: 201 },
    ]);
    await Promise.all([write(octokit), write(octokit), write(octokit)]);
    expect(github.requests.some(({ others }) => others > 0)).toBe(true);
  });
});

describe('webhooks', () => {
  it('are hidden from a token without permission, and else shown with their deliveries, page by page', async () => {
    const octokit = client();
    const repository = { owner: 'acme', repo: 'platform' };
    await expect(octokit.rest.repos.listWebhooks(repository)).rejects.toMatchObject({ status: 404 });
    github.hooks.point('http://localhost/webhook');
    const { data: hooks } = await octokit.rest.repos.listWebhooks(repository);
    expect(githubContract().checkAnswer('repos/list-webhooks', 200, hooks)).toEqual([]);
    const message = { url: 'http://127.0.0.1:9/webhook', secret: 'secret', event: 'ping', payload: {} };
    const { deliveryId } = await github.deliver(message);
    await github.redeliver(deliveryId);
    await github.deliver(message);
    const hook = { ...repository, hook_id: hooks[0]?.id ?? 0, per_page: 2 };
    const first = await octokit.rest.repos.listWebhookDeliveries(hook);
    expect(githubContract().checkAnswer('repos/list-webhook-deliveries', 200, first.data)).toEqual([]);
    expect(first.data).toMatchObject([
      { status_code: 0, redelivery: false },
      { guid: deliveryId, redelivery: true },
    ]);
    const cursor = /[?&]cursor=(\w+)[^>]*>; rel="next"/.exec(first.headers.link ?? '')?.[1] ?? '';
    const second = await octokit.rest.repos.listWebhookDeliveries({ ...hook, cursor });
    expect(second.data).toMatchObject([{ guid: deliveryId, redelivery: false, event: 'ping' }]);
    expect(second.headers.link).toBeUndefined();
    expectNoViolations(github);
  });
});

describe('misbehaviour', () => {
  const cases: [string, Misbehaviour, object][] = [
    ['500', MISBEHAVIOURS.serverError, { status: 500 }],
    ['502', MISBEHAVIOURS.badGateway, { status: 502 }],
    ['an HTML page', MISBEHAVIOURS.htmlPage, { status: 502 }],
    ['401', MISBEHAVIOURS.badCredentials, { status: 401 }],
    ['422', MISBEHAVIOURS.unprocessable, { status: 422 }],
    ['a redirect', redirect('http://127.0.0.1:9/elsewhere'), {}],
    ['no answer', MISBEHAVIOURS.hang, { status: 500 }],
    ['a reset', MISBEHAVIOURS.reset, { status: 500 }],
    [
      '403 with retry-after',
      secondaryRateLimit(403, 2),
      { status: 403, response: { headers: expect.objectContaining({ 'retry-after': '2' }) } },
    ],
    ['429', secondaryRateLimit(429), { status: 429 }],
  ];

  it.each(cases)('F44: %s happens as configured, once', async (_, how, error) => {
    github.misbehave({ how, times: 1, method: 'POST', path: /\/statuses\// });
    await expect(write(client(TOKEN, 500))).rejects.toMatchObject(error);
    expect((await write(client())).status).toBe(201);
    expect(github.statuses.history(SHA)).toHaveLength(1);
    expectNoViolations(github);
  });

  it('F44: half of the JSON is not valid JSON', async () => {
    github.misbehave({ how: MISBEHAVIOURS.truncated, times: 1 });
    const response = await post(`/repos/acme/platform/statuses/${SHA}`, { state: 'success' });
    expect(response.status).toBe(201);
    await expect(response.json()).rejects.toThrow();
  });

  it('F44: an answer that is cut off in its body took effect, and Octokit reads it as a good answer without content', async () => {
    github.misbehave({ how: MISBEHAVIOURS.cut, times: 1 });
    expect(await write(client())).toMatchObject({ status: 201, data: '' });
    expect(github.statuses.history(SHA)).toHaveLength(1);
  });

  it('F44: the write takes effect although the answer is lost, when the test asks for that', async () => {
    github.misbehave({ how: MISBEHAVIOURS.reset, times: 1, takesEffect: true });
    await expect(write(client())).rejects.toThrow();
    expect(github.statuses.history(SHA)).toHaveLength(1);
  });

  it('F44: a script that repeats for ever ends when it is stopped, and a slow answer is only slow', async () => {
    const stop = github.misbehave({ how: MISBEHAVIOURS.serverError, times: 'forever' });
    for (let at = 0; at < 3; at += 1) await expect(write(client())).rejects.toMatchObject({ status: 500 });
    stop();
    github.misbehave({ how: { kind: 'slow', delayMs: 300 }, times: 1 });
    const startedAt = performance.now();
    expect((await write(client())).status).toBe(201);
    expect(performance.now() - startedAt).toBeGreaterThan(290);
  });
});
