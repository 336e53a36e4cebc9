import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createGitHubComments } from './github-comments.ts';

const MARK = '<!-- runners-poc:plan:p1 -->';
const REQUEST = { owner: 'acme', repo: 'infra', pullRequest: 7, body: `${MARK}\nnew`, mark: MARK };

interface Comment {
  id: number;
  body: string;
  user?: { login: string; type?: string } | null;
}

/** A GitHub that answers in pages, with or without links, and records the writes. */
async function startGitHub(
  comments: Comment[],
  how: { login?: string; links?: boolean | 'endless'; status?: number } = {},
) {
  const written: string[] = [];
  const pages: string[] = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://github.invalid');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    function answer(status: number, body: unknown, headers: Record<string, string> = {}): void {
      response
        .writeHead(status, { 'content-type': 'application/json', ...headers })
        .end(JSON.stringify(body));
    }
    if (how.status !== undefined) return answer(how.status, { message: 'No.' });
    if (url.pathname === '/user') {
      return how.login === undefined
        ? answer(403, { message: 'Not for apps' })
        : answer(200, { login: how.login });
    }
    if (request.method !== 'GET') {
      written.push(`${request.method} ${url.pathname}`);
      return answer(request.method === 'POST' ? 201 : 200, { id: 1 });
    }
    const page = Number(url.searchParams.get('page'));
    const perPage = Number(url.searchParams.get('per_page'));
    pages.push(`${page}`);
    const hasNext = how.links === 'endless' || comments.length > page * perPage;
    const link = `<http://evil.invalid/next>; rel="next"`;
    const headers = how.links !== false && hasNext ? { link } : {};
    answer(200, comments.slice((page - 1) * perPage, page * perPage), headers as Record<string, string>);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const apiUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const options = { apiUrl, token: 'ghs_CANARY', version: '0' };
  return {
    written,
    pages,
    comments: createGitHubComments(options),
    ofRequest: createGitHubComments({ ...options, ofRequest: true }),
  };
}

function others(count: number): Comment[] {
  return Array.from({ length: count }, (_, i) => ({
    id: i + 1,
    body: `Comment ${i}`,
    user: { login: 'octocat', type: 'User' },
  }));
}

describe('Our comment', () => {
  it.each([
    ['with links', true],
    ['without links', false],
  ])('is found on a later page %s and edited in place', async (_what, links) => {
    const mine = { id: 999, body: `${MARK}\nold`, user: { login: 'bot', type: 'User' } };
    const github = await startGitHub([...others(230), mine], { login: 'bot', links });
    expect(await github.comments.put(REQUEST)).toEqual({ kind: 'ok' });
    expect(github.pages).toEqual(['1', '2', '3']);
    expect(github.written).toEqual(['PATCH /repos/acme/infra/issues/comments/999']);
  });

  it('is created if there is none, and not written again if its text is the same', async () => {
    const none = await startGitHub(others(3), { login: 'bot' });
    await none.comments.put(REQUEST);
    expect(none.written).toEqual(['POST /repos/acme/infra/issues/7/comments']);
    const same = await startGitHub([{ id: 5, body: REQUEST.body, user: { login: 'bot' } }], { login: 'bot' });
    await same.comments.put(REQUEST);
    expect(same.written).toEqual([]);
  });

  it('of an app is a bot’s comment, and never one of a person who copied the mark', async () => {
    const copied = { id: 1, body: `${MARK}\nold`, user: { login: 'eve', type: 'User' } };
    const mine = { id: 2, body: `${MARK}\nold`, user: { login: 'app[bot]', type: 'Bot' } };
    const github = await startGitHub([copied, mine]);
    await github.comments.put(REQUEST);
    expect(github.written).toEqual(['PATCH /repos/acme/infra/issues/comments/2']);
  });

  it('of an earlier service may have the mark further down, and our other comments that quote the mark are left alone', async () => {
    const bot = { login: 'app[bot]', type: 'Bot' };
    const quoting = { id: 1, body: `<!-- runners-poc:plan:p2 -->\n${MARK}`, user: bot };
    const preview = { id: 2, body: `<!-- iac-runner:preview -->\n\`${MARK}\``, user: bot };
    const earlier = { id: 3, body: `## Plan\n${MARK}`, user: bot };
    const github = await startGitHub([quoting, preview, earlier]);
    await github.comments.put(REQUEST);
    expect(github.written).toEqual(['PATCH /repos/acme/infra/issues/comments/3']);
  });

  it('is tried again later if the list of comments does not end', async () => {
    const github = await startGitHub([], { links: 'endless' });
    expect(await github.comments.put(REQUEST)).toMatchObject({ kind: 'retry', scope: 'target' });
    expect([github.pages.length, github.written]).toEqual([300, []]);
  });

  it('is given up if the token of a request has expired, and tried again with our own token', async () => {
    const github = await startGitHub([], { status: 401 });
    expect(await github.ofRequest.put(REQUEST)).toMatchObject({ kind: 'refused' });
    expect(await github.comments.put(REQUEST)).toMatchObject({
      kind: 'retry',
      scope: 'repository',
      maxTries: null,
    });
  });

  it('with the token of a request is tried only a few times, and its failures delay no other comments', async () => {
    const github = await startGitHub([], { status: 502 });
    const outcome = await github.ofRequest.put(REQUEST);
    expect(outcome).toMatchObject({ kind: 'retry', scope: 'target', maxTries: expect.any(Number) });
    expect(JSON.stringify(outcome)).not.toContain('CANARY');
  });
});
