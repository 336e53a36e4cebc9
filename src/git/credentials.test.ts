import { describe, expect, it } from 'vitest';
import { describeError } from '../errors.ts';
import { filesWithSecrets, listen, sampleCommandLines, serveGit } from './http-remote.fixture.ts';
import { createWorld, type World } from './test-support.ts';

const TOKEN = 'ghp_CANARYcanary0123456789';
const BASIC = Buffer.from(`x-access-token:${TOKEN}`).toString('base64');
const SECRETS = [TOKEN, BASIC, encodeURIComponent(BASIC)];

/** A world whose remote is served over http to clients that send `expected`. */
async function httpWorld(options: {
  token?: string;
  userInfo?: string;
  expected?: string;
}): Promise<World & { samples: Set<string> }> {
  let remote = '';
  const samples = new Set<string>();
  const host = await listen(async (request, response) => {
    await sampleCommandLines(samples);
    if (request.headers.authorization !== `Basic ${options.expected ?? BASIC}`) {
      response
        .writeHead(401, { 'www-authenticate': 'Basic realm="git"' })
        .end(`no ${request.headers.authorization}`);
      return;
    }
    await serveGit(remote, request, response);
  });
  const world = await createWorld({
    url: () => `http://${options.userInfo ?? ''}${host}/r.git`,
    ...(options.token ? { token: options.token } : {}),
  });
  remote = world.remote;
  return { ...world, samples };
}

/** Command lines that held a secret while `work` ran, and at each request, when git waits for its answer. */
async function commandLinesWithSecrets(
  samples: Set<string>,
  work: Promise<unknown>,
  secrets: readonly string[],
): Promise<string[]> {
  let done = false;
  const finished = work.finally(() => {
    done = true;
  });
  while (!done) await sampleCommandLines(samples);
  await finished;
  const lines = [...samples];
  expect(lines.some((line) => line.includes('remote-http') && line.includes('/r.git'))).toBe(true);
  return lines.filter((line) => secrets.some((secret) => line.includes(secret)));
}

describe('F41: credentials', () => {
  it('F41: the token opens the remote and is in no command line and no file', async () => {
    const world = await httpWorld({ token: TOKEN });
    const head = await world.commit({ a: 'x'.repeat(100_000) });
    expect(await commandLinesWithSecrets(world.samples, world.mirror.fetch(), SECRETS)).toEqual([]);
    await world.workspace.moveTo(head);
    expect(await world.mirror.head()).toBe(head);
    expect(await filesWithSecrets(world.root, SECRETS)).toEqual([]);
  });

  it('F41: the user and the password of the URL open the remote and are in no command line and no file', async () => {
    const password = 'p@ss:CANARY';
    const expected = Buffer.from(`bot:${password}`).toString('base64');
    const world = await httpWorld({
      userInfo: `bot:${encodeURIComponent(password)}@`,
      token: 'unused_token',
      expected,
    });
    const head = await world.commit({ a: '1' });
    const secrets = [password, encodeURIComponent(password), expected];
    expect(await commandLinesWithSecrets(world.samples, world.mirror.fetch(), secrets)).toEqual([]);
    expect(await world.mirror.head()).toBe(head);
    expect(await filesWithSecrets(world.root, secrets)).toEqual([]);
  });

  it('F41: a wrong token gives a clean error', async () => {
    const world = await httpWorld({ token: TOKEN, expected: 'other' });
    await world.commit({ a: '1' });
    const error: unknown = await world.mirror.fetch().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ kind: 'unavailable' });
    expect(describeError(error)).toMatch(/Authentication failed.*configured credentials/);
    for (const secret of SECRETS)
      expect(`${describeError(error)} ${JSON.stringify(error)}`).not.toContain(secret);
    expect(await filesWithSecrets(world.root, SECRETS)).toEqual([]);
    expect(world.warnings).toEqual([]);
  });

  it('F41: the error of a refusal that repeats the secret does not contain it', async () => {
    const host = await listen((request, response) => {
      response
        .writeHead(403, { 'content-type': 'text/plain' })
        .end(`forbidden: ${request.headers.authorization}\n`);
    });
    const world = await createWorld({ url: () => `http://${host}/r.git`, token: TOKEN });
    const error: unknown = await world.mirror.fetch().catch((reason: unknown) => reason);
    expect(error).toMatchObject({ kind: 'unavailable', message: expect.stringContaining('403') });
    for (const secret of SECRETS) expect(describeError(error)).not.toContain(secret);
  });

  it('F41: a redirect to another host gets no secret, and the error names the redirect', async () => {
    const seen: (string | undefined)[] = [];
    const other = await listen((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(404).end();
    });
    const host = await listen((request, response) => {
      response.writeHead(302, { location: `http://${other}${request.url}` }).end();
    });
    const world = await createWorld({ url: () => `http://${host}/r.git`, token: TOKEN });
    await expect(world.mirror.fetch()).rejects.toMatchObject({
      kind: 'unavailable',
      nextAction: expect.stringContaining('the address that the repository has now'),
    });
    expect(seen).toEqual([]);
  });

  it('names a host that cannot be reached', async () => {
    const world = await createWorld({ url: () => 'http://127.0.0.1:1/r.git', token: TOKEN });
    await expect(world.mirror.fetch()).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringMatching(
        /Fetching main of http:\/\/127\.0\.0\.1:1\/r\.git failed: .*127\.0\.0\.1/,
      ),
    });
  });
});
