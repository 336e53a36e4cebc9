import { describe, expect, it } from 'vitest';
import { createPullReader } from './pull-reader.ts';

const ada = { id: 1, login: 'ada' };

/** A GitHub that gives these answers one after the other. */
function reader(...answers: { status?: number; body?: unknown; headers?: Record<string, string> }[]) {
  const asked: string[] = [];
  const github = createPullReader(
    {
      apiUrl: 'https://api.github.com',
      token: 'token',
      version: '0',
      async fetch(url) {
        asked.push(String(url));
        const answer = answers.shift();
        if (!answer) throw new TypeError('fetch failed');
        const { status = 200, body = {}, headers = {} } = answer;
        return Response.json(body, { status, headers });
      },
    },
    { repository: 'acme/platform', pullRequest: 7 },
  );
  return { github, asked };
}

describe('Who may write', () => {
  it.each([
    ['admin', true],
    ['write', true],
    ['maintain', true],
    ['read', false],
    ['none', false],
    ['owner', false],
  ])('is what GitHub says: %s', async (permission, expected) => {
    const { github, asked } = reader({ body: { permission, user: ada } });
    expect(await github.mayWrite(ada)).toBe(expected);
    expect(asked).toEqual(['https://api.github.com/repos/acme/platform/collaborators/ada/permission']);
  });

  it('F47: is decided by the id of the account, not by its name', async () => {
    const { github } = reader({ body: { permission: 'admin', user: { ...ada, id: 2 } } });
    expect(await github.mayWrite(ada)).toBe(false);
  });

  it.each([
    ['404', { status: 404 }, false],
    ['403', { status: 403, body: { message: 'Must have push access' } }, false],
    ['403 with a limit', { status: 403, headers: { 'retry-after': '7' } }, 'unavailable'],
    ['401', { status: 401 }, 'unavailable'],
    ['502', { status: 502 }, 'unavailable'],
    ['something else', { body: { permission: 7 } }, 'unavailable'],
  ])('is nobody until GitHub says so: %s', async (_what, answer, expected) => {
    expect(await reader(answer).github.mayWrite(ada)).toBe(expected);
  });

  it('is unknown without an answer', async () => {
    expect(await reader().github.mayWrite(ada)).toBe('unavailable');
  });
});

describe('Reviews', () => {
  const review = {
    user: ada,
    state: 'APPROVED',
    commit_id: 'a'.repeat(40),
    submitted_at: '2026-03-02T09:00:00Z',
  };
  const next = { link: '<https://elsewhere.example/?page=2>; rel="next"' };

  it('are read to the last page, wherever the link leads', async () => {
    const { github, asked } = reader(
      { body: [review], headers: next },
      { body: [{ ...review, user: null }] },
    );
    expect(await github.reviews()).toMatchObject([{ reviewer: ada }, { reviewer: null }]);
    expect(asked[1]).toBe('https://api.github.com/repos/acme/platform/pulls/7/reviews?per_page=100&page=2');
  });

  it('are unknown if a page is missing', async () => {
    expect(await reader({ body: [review], headers: next }, { status: 500 }).github.reviews()).toBe(
      'unavailable',
    );
    expect(await reader({ body: [review], headers: next }, { status: 404 }).github.reviews()).toBe(
      'unavailable',
    );
  });

  it('do not count while they are being written', async () => {
    const { github } = reader({ body: [{ ...review, state: 'PENDING', submitted_at: undefined }] });
    expect(await github.reviews()).toEqual([]);
  });
});
