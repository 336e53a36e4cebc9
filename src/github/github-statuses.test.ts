import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  answer,
  type Behaviour,
  cut,
  hang,
  html,
  reset,
  type ScriptedGitHub,
  startScriptedGitHub,
  truncated,
} from '../reporters/scripted-github.fixture.ts';
import { classifySilence } from './github-answer.ts';
import { createStatusWriter, type SetStatus } from './github-statuses.ts';

const TOKEN = 'ghp_CANARY0123456789';
const REQUEST = {
  owner: 'acme',
  repo: 'platform',
  sha: 'abc123',
  state: 'success',
  description: '1 service(s) synced successfully',
  targetUrl: 'https://runner.example/runs/run-1',
  context: 'IaC Runner / Sync',
} as const;

let github: ScriptedGitHub;
let setStatus: SetStatus;

beforeEach(async () => {
  github = await startScriptedGitHub();
  setStatus = createStatusWriter({ apiUrl: `${github.apiUrl}/`, token: TOKEN, version: '1.2.3' });
});

afterEach(() => github.close());

describe('setStatus', () => {
  it('sends the status with the token and our User-Agent', async () => {
    expect(await setStatus(REQUEST)).toEqual({ kind: 'ok' });
    const { headers, at: _at, ...status } = github.seen[0] ?? {};
    const { owner: _owner, repo: _repo, ...expected } = REQUEST;
    expect(status).toEqual(expected);
    expect(headers?.authorization).toBe(`token ${TOKEN}`);
    expect(headers?.['user-agent']).toMatch(/^iac-runner\/1\.2\.3 /);
  });

  const HOUR_AHEAD = String(Date.parse('2026-01-01T01:00:00Z') / 1_000);
  const NOW = 'Thu, 01 Jan 2026 00:00:00 GMT';
  it.each<[string, Behaviour, object]>([
    ['500', answer(500, {}), { kind: 'retry', afterMs: 1_000, scope: 'target', maxTries: null }],
    ['502 as a page', html(502), { kind: 'retry', afterMs: 1_000, scope: 'everything' }],
    ['503 with retry-after', answer(503, {}, { 'retry-after': '7' }), { kind: 'retry', afterMs: 7_000 }],
    [
      'a reset',
      reset,
      { kind: 'retry', scope: 'everything', problem: expect.stringContaining('ECONNRESET') },
    ],
    ['half a 201', truncated, { kind: 'retry', scope: 'target', maxTries: null }],
    ['a cut 201', cut, { kind: 'retry', scope: 'target', maxTries: null }],
    ['a page with 201', html(201), { kind: 'retry', scope: 'target', maxTries: null }],
    ['200', answer(200, { state: 'success' }), { kind: 'retry', scope: 'target' }],
    ['204', (response) => response.writeHead(204).end(), { kind: 'retry', scope: 'target' }],
    [
      '401',
      answer(401, { message: 'Bad credentials' }),
      { kind: 'retry', afterMs: 60_000, scope: 'repository' },
    ],
    ['403 with retry-after', answer(403, {}, { 'retry-after': '90' }), { kind: 'retry', afterMs: 90_000 }],
    [
      '429 until a date',
      answer(429, {}, { 'retry-after': 'Thu, 01 Jan 2026 00:02:00 GMT', date: NOW }),
      { kind: 'retry', afterMs: 120_000, scope: 'everything' },
    ],
    [
      'an exhausted limit',
      answer(403, {}, { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': HOUR_AHEAD, date: NOW }),
      { kind: 'retry', afterMs: 3_600_000, scope: 'everything' },
    ],
    ['429 without a message', answer(429, {}), { kind: 'retry', afterMs: 60_000, scope: 'everything' }],
    [
      'a secondary limit',
      answer(403, { message: 'You have exceeded a secondary rate limit.' }),
      { kind: 'retry', afterMs: 60_000, problem: expect.stringContaining('asks to wait') },
    ],
    [
      'a token without the permission',
      answer(403, { message: 'Resource not accessible by personal access token' }),
      {
        kind: 'retry',
        afterMs: 60_000,
        scope: 'kind',
        problem: expect.stringContaining('permissions of GITHUB_TOKEN'),
      },
    ],
    ['404', answer(404, { message: 'Not Found' }), { kind: 'retry', scope: 'kind', maxTries: null }],
    [
      'an unknown commit',
      answer(422, { message: 'No commit found for SHA: abc123' }),
      { kind: 'retry', afterMs: 4_000, scope: 'target', maxTries: 100 },
    ],
    [
      'the limit of 1,000 statuses',
      answer(422, {
        message: 'Validation Failed',
        errors: [{ message: 'This SHA and context has reached the maximum number of statuses.' }],
      }),
      { kind: 'refused', problem: expect.stringContaining('maximum number of statuses') },
    ],
    ['400', answer(400, { message: 'Problems parsing JSON' }), { kind: 'refused' }],
  ])('F44: decides about the next try after %s', async (_title, behaviour, expected) => {
    github.always = behaviour;
    expect(await setStatus(REQUEST)).toMatchObject(expected);
  });

  it('F44: decides about the next try when there is no answer', async () => {
    const hasty = createStatusWriter({ apiUrl: github.apiUrl, token: TOKEN, version: '1', timeoutMs: 300 });
    github.always = hang;
    expect(await hasty(REQUEST)).toMatchObject({
      kind: 'retry',
      scope: 'everything',
      problem: expect.stringContaining('timed out'),
    });
  });

  it.each([301, 302, 307, 308])('follows a renamed repository to its new address (%i)', async (status) => {
    const location = `${github.apiUrl}/repositories/7/statuses/abc123`;
    github.script = [answer(status, {}, { location })];
    expect(await setStatus(REQUEST)).toEqual({ kind: 'ok' });
    expect(github.seen.map(({ state, context }) => [state, context])).toEqual(
      Array(2).fill([REQUEST.state, REQUEST.context]),
    );
    expect(github.seen[1]?.sha).toBe('? /repositories/7/statuses/abc123');
    expect(github.seen[1]?.headers.authorization).toBe(`token ${TOKEN}`);
  });

  it('stops following redirects after a few', async () => {
    github.always = answer(307, {}, { location: `${github.apiUrl}/repositories/7/statuses/abc123` });
    expect(await setStatus(REQUEST)).toMatchObject({ kind: 'retry', scope: 'kind', maxTries: null });
    expect(github.seen.length).toBeLessThan(10);
  });

  it('F14: does not follow a redirect to another host, or out of the API', async () => {
    const elsewhere = await startScriptedGitHub();
    const under = createStatusWriter({ apiUrl: `${github.apiUrl}/api/v3`, token: TOKEN, version: '1' });
    for (const location of [
      `${elsewhere.apiUrl}/repos/acme/platform/statuses/abc123`,
      `//${new URL(elsewhere.apiUrl).host}/repos/acme/platform/statuses/abc123`,
      `${github.apiUrl.replace('//', '//user@')}/api/v3/statuses/abc123`,
      `${github.apiUrl}/statuses/abc123`,
      `${github.apiUrl}/api/v3/../statuses/abc123`,
      'http://[',
      '',
    ]) {
      github.always = answer(307, {}, { location });
      github.seen.length = 0;
      const outcome = await under(REQUEST);
      expect(outcome, location).toMatchObject({ kind: 'retry', scope: 'kind', maxTries: null });
      expect(github.seen, location).toHaveLength(1);
    }
    expect(elsewhere.seen).toEqual([]);
    await elsewhere.close();
  });

  it('F41: keeps the token out of problems, and problems on one line', async () => {
    github.always = answer(400, { message: `Bad\r\n${TOKEN}\u001b[31m ${'x'.repeat(500)}` });
    const echoed = await setStatus(REQUEST);
    const outcomes = [echoed];
    for (const token of [`${TOKEN}\n`, `${TOKEN}\nx`]) {
      const odd = createStatusWriter({ apiUrl: github.apiUrl, token, version: '1' });
      outcomes.push(await odd(REQUEST));
    }
    for (const outcome of outcomes) {
      if (outcome.kind === 'ok') throw new Error('It should have failed.');
      expect(outcome.problem).not.toContain('CANARY');
      expect(outcome.problem).toMatch(/^[^\p{Cc}]{1,300}$/u);
    }
  });

  it('decides about the next try when there is no host', async () => {
    const { apiUrl } = github;
    const lost = createStatusWriter({ apiUrl, token: TOKEN, version: '1' });
    await github.close();
    expect(await lost(REQUEST)).toMatchObject({
      kind: 'retry',
      scope: 'everything',
      problem: expect.stringContaining('ECONNREFUSED'),
    });
  });
});

it('F45: setStatus waits after a missing answer until GitHub has given the request up', () => {
  expect(classifySilence('ECONNRESET', 123.456)).toMatchObject({ afterMs: 9_877 });
  expect(classifySilence('ECONNRESET', 100)).toMatchObject({ afterMs: 9_900 });
  expect(classifySilence('timed out', 10_000)).toMatchObject({ afterMs: 5_000 });
});
