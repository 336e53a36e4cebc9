/** What the door does with too much, too slow, too odd and too many. */

import { randomBytes, randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { deliver, expectNothingStored, idle, signedLink } from './support/deliveries.ts';
import { commitChange, syncedAt } from './support/platform-services.ts';
import { buildPushPayload } from './support/push-payload.ts';
import { openRaw, rawPost, sendRaw } from './support/raw-http.ts';
import { acceptedRun } from './support/run-actions.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { memoryOf } from './support/server-memory.ts';
import { type SharedStage, shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { signBody } from './support/webhook-sender.ts';

const MIB = 1024 * 1024;
const JSON_HEADERS = ['Content-Type: application/json', 'X-GitHub-Event: ping'];

/** Milliseconds that a good delivery takes at best: one of several, as the machine may be busy otherwise. */
async function quickestPing(shared: SharedStage): Promise<number> {
  const times: number[] = [];
  for (let tries = 0; tries < 5; tries += 1) {
    const { status, durationMs } = await deliver(
      shared,
      { zen: 'Keep it logically awesome.' },
      { event: 'ping' },
    );
    expect(status).toBe(200);
    times.push(durationMs);
  }
  return Math.min(...times);
}

describe('F8: A body', () => {
  const shared = shareStage('bodies');

  it('of 26 MiB is answered 413, signed or not, and 2 MiB are too many for /sync', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const large = JSON.stringify({ ref: 'refs/heads/main', padding: 'x'.repeat(26 * MIB) });
      expect(await runner.signedPost('/webhook', large)).toMatchObject({
        status: 413,
        body: { error: 'The body is larger than 25 MiB' },
      });
      const unsigned = await runner.signedPost('/webhook', large, { secret: 'somebody else' });
      expect(unsigned.status).toBe(413);
      const sync = await runner.signedPost('/sync', { all: true, padding: 'x'.repeat(2 * MIB) });
      expect(sync).toMatchObject({ status: 413, body: { error: 'The body is larger than 1 MiB' } });
    });
  });

  it('that claims to be huge, or no number, is refused before any of it is read', async () => {
    const { runner } = shared();
    const claims: [string, number][] = [
      ['30000000000', 413],
      ['26214401', 413],
      ['99999999999999999999999999', 400],
      ['-1', 400],
      ['1e3', 400],
      ['10, 20', 400],
      ['', 400],
    ];
    for (const [length, status] of claims) {
      const head = [
        'POST /webhook HTTP/1.1',
        'Host: localhost',
        ...JSON_HEADERS,
        `Content-Length: ${length}`,
      ];
      const answer = await sendRaw(runner.url, `${head.join('\r\n')}\r\n\r\n`);
      expect({ length, status: answer.status, body: answer.body }).toEqual({
        length,
        status,
        body: { error: expect.any(String) },
      });
    }
  });

  it('of two minds about its length is refused', async () => {
    const { runner } = shared();
    for (const lines of [
      ['Content-Length: 2', 'Transfer-Encoding: chunked'],
      ['Transfer-Encoding: gzip, chunked, identity'],
      ['Content-Length: 2', 'Content-Length: 3'],
    ]) {
      const head = ['POST /webhook HTTP/1.1', 'Host: localhost', ...JSON_HEADERS, ...lines];
      const answer = await sendRaw(runner.url, `${head.join('\r\n')}\r\n\r\n2\r\n{}\r\n0\r\n\r\n`);
      expect({ lines, status: answer.status }).toEqual({ lines, status: 400 });
    }
  });

  it('that never ends is cut with 413, and the server does not keep it', async () => {
    const { runner } = shared();
    const before = (await memoryOf(runner.pid)).nowMib;
    for (const path of ['/webhook', '/sync']) {
      const connection = await openRaw(runner.url);
      const head = [
        `POST ${path} HTTP/1.1`,
        'Host: localhost',
        ...JSON_HEADERS,
        'Transfer-Encoding: chunked',
      ];
      await connection.write(`${head.join('\r\n')}\r\n\r\n`);
      const piece = Buffer.from(`10000\r\n${'x'.repeat(0x10000)}\r\n`);
      let answered = false;
      void connection.answer.then(() => {
        answered = true;
      });
      let sent = 0;
      while (!answered && sent < 200 * MIB && (await connection.write(piece))) sent += piece.length;
      expect(await connection.answer).toMatchObject({ status: 413 });
      expect(sent).toBeLessThan(100 * MIB);
      connection.socket.destroy();
    }
    expect((await memoryOf(runner.pid)).nowMib - before).toBeLessThan(200);
    expect((await runner.getJson('/health', null)).status).toBe(200);
  });

  it('that is compressed is answered 415, however small the bomb', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const bomb = gzipSync(Buffer.alloc(64 * MIB, ' '));
      for (const encoding of ['gzip', 'br', 'deflate', 'gzip, gzip', 'x-unknown']) {
        const headers = { 'content-encoding': encoding };
        const { status, body } = await runner.signedPost('/webhook', bomb, { headers });
        expect({ encoding, status }).toEqual({ encoding, status: 415 });
        expect(body).toEqual({ error: 'The body must not be compressed' });
      }
    });
    expect((await memoryOf(runner.pid)).nowMib).toBeLessThan(500);
  });

  it('of another type is answered 415 with the name of the setting at GitHub', async () => {
    const { runner, stage } = shared();
    await expectNothingStored(runner, async () => {
      const form = `payload=${encodeURIComponent('{"zen":"Approachable."}')}`;
      for (const type of [
        'application/x-www-form-urlencoded',
        'text/plain',
        'multipart/form-data',
        'application/jsonx',
        'x',
      ]) {
        for (const path of ['/webhook', '/sync']) {
          const { status, body } = await runner.signedPost(path, form, { headers: { 'content-type': type } });
          expect({ type, status, body }).toEqual({
            type,
            status: 415,
            body: { error: expect.stringContaining('"Content type"') },
          });
        }
      }
      const ping = { event: 'ping', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } };
      expect((await deliver({ stage, runner }, form, ping)).status).toBe(415);
      const withCharset = { event: 'ping', headers: { 'Content-Type': 'Application/JSON; charset=UTF-8' } };
      expect((await deliver({ stage, runner }, {}, withCharset)).status).toBe(200);
    });
  });

  it('that is no JSON is answered 400', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const bodies = [
        '',
        ' ',
        '{',
        "{'ref':1}",
        '{"ref":"x",}',
        'nope',
        '{}{}',
        '[1',
        'NaN',
        '\uFEFF\uFEFF{}',
      ];
      for (const body of [...bodies, Buffer.from([0x22, 0xff, 0xfe, 0x22]), Buffer.from('{}', 'utf16le')]) {
        for (const path of ['/webhook', '/sync']) {
          const answer = await runner.signedPost(path, body, { headers: { 'x-github-event': 'push' } });
          expect({ path, body, status: answer.status, error: answer.body }).toEqual({
            path,
            body,
            status: 400,
            error: { error: 'The body is not valid JSON' },
          });
        }
      }
    });
  });
});

describe('F8: Slow senders', () => {
  const shared = shareStage('slow');

  it('do not keep a good delivery waiting, and are answered 408', { timeout: 120_000 }, async () => {
    const { runner } = shared();
    const slow = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const connection = await openRaw(runner.url);
        // Some stop in the middle of their headers, others send one byte a second of them.
        await connection.write('POST /webhook HTTP/1.1\r\nHost: localhost\r\nX-Slow: ');
        const drip = index % 2 === 0 ? null : setInterval(() => void connection.write('x'), 1_000);
        void connection.closed.then(() => drip && clearInterval(drip));
        return connection;
      }),
    );
    expect(await quickestPing(shared())).toBeLessThan(1_000);
    const answers = await Promise.all(slow.map(({ answer }) => answer));
    expect(new Set(answers.map((answer) => answer?.status))).toEqual(new Set([408]));
    expect(answers[0]?.body).toEqual({ error: 'The request did not arrive in time' });
    await Promise.all(slow.map(({ closed }) => closed));
    expect(await quickestPing(shared())).toBeLessThan(1_000);
  });

  it('that hang up half way leave the server as it was', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      for (const bytes of [0, 1, 10, 200]) {
        const connection = await openRaw(runner.url);
        const body = JSON.stringify({ ref: 'refs/heads/main', padding: 'x'.repeat(1_000) });
        const whole = rawPost(
          '/webhook',
          [...JSON_HEADERS, `X-Hub-Signature-256: ${signBody(WEBHOOK_SECRET, body)}`],
          body,
        );
        await connection.write(whole.subarray(0, bytes === 0 ? 0 : whole.length - bytes));
        connection.socket.resetAndDestroy();
        await connection.closed;
      }
    });
    expect((await runner.getJson('/health', null)).status).toBe(200);
    expect(runner.logs().filter(({ level }) => Number(level) >= 50)).toEqual([]);
  });
});

describe('F9: A genuine push', () => {
  const shared = shareStage('large');

  for (const size of [1, 10, 24]) {
    it(`of ${size} MiB is accepted and run`, async () => {
      const { stage, runner } = shared();
      const { repository } = stage;
      const head = await commitChange(repository, ['platform/redis'], `Push ${size} MiB`);
      const moved = await repository.push();
      const payload = await buildPushPayload({
        repository: { path: repository.path, fullName: 'acme/platform' },
        ...moved,
      });
      // As of a push that also brings thousands of files in.
      const [commit] = payload.commits;
      const names = Math.floor((size * MIB - JSON.stringify(payload).length) / 104);
      for (let at = 0; at < names; at += 1) commit?.added.push(`docs/${String(at).padStart(96, '0')}`);
      const answer = await deliver(shared(), payload);
      expect(answer.body).toMatchObject({
        status: 'accepted',
        services: ['platform/redis'],
        commit: head.slice(0, 8),
      });
      expect((await runner.waitForRun(acceptedRun(answer), 'succeeded')).revision).toBe(head);
      expect(await syncedAt(stage.journal, head)).toEqual(['platform/redis']);
    });
  }
});

describe('F10: A signed but odd payload', () => {
  /** JSON that is refused as no push. */
  const REFUSED: Record<string, string> = {
    'without a ref': '{}',
    'with the ref null': '{"ref":null}',
    'with a ref that is a number': '{"ref":1}',
    'with a ref that is a list': '{"ref":["refs/heads/main"]}',
    'that is a list': '[]',
    'that is a list of pushes': '[{"ref":"refs/heads/main"}]',
    'that is a text': '"x"',
    'that is a number': '1',
    'that is null': 'null',
    'that is true': 'true',
    'with commits that are a text': '{"ref":"refs/heads/main","commits":"x"}',
    'with commits that are an object': '{"ref":"refs/heads/main","commits":{"0":{}}}',
    'with a commit that is null': '{"ref":"refs/heads/main","commits":[null]}',
    'with a commit that is a text': '{"ref":"refs/heads/main","commits":["x"]}',
    'with paths that are a text': '{"ref":"refs/heads/main","commits":[{"added":"libs/x"}]}',
    'with paths that are numbers': '{"ref":"refs/heads/main","commits":[{"added":[1]}]}',
    'with a commit id that is an object': '{"ref":"refs/heads/main","after":{},"commits":[]}',
    'with a repository that is a text': '{"ref":"refs/heads/main","repository":"acme/platform"}',
    'with a name that is a list': '{"ref":"refs/heads/main","repository":{"full_name":["acme/platform"]}}',
    'nested deeply': '['.repeat(200_000) + ']'.repeat(200_000),
    'nested deeply where commits belong': `{"ref":"refs/heads/main","commits":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
  };

  const redis = '"commits":[{"modified":["platform/01.redis/compose.yaml"]}]';
  /** JSON that is a push, of which the run must come to an end. */
  const TAKEN: Record<string, string> = {
    'with commits that are null': '{"ref":"refs/heads/main","commits":null}',
    'with lists that are null': '{"ref":"refs/heads/main","forced":true,"commits":[{"added":null}]}',
    'with control characters': `{"ref":"refs/heads/main","after":"\\u0000\\u001b[2J",${redis},"sender":{"login":"\\u0000<b>\\u202e"}}`,
    'with lone surrogates': `{"ref":"refs/heads/main","after":"\\ud800",${redis},"sender":{"login":"\\udfff"}}`,
    'with keys of the prototype': `{"ref":"refs/heads/main","__proto__":{"deleted":true},"constructor":1,${redis}}`,
    'with commits that never were': `{"ref":"refs/heads/main","before":"${'a'.repeat(40)}","after":"${'b'.repeat(40)}",${redis}}`,
    'with a name of 1 MiB': `{"ref":"refs/heads/main",${redis},"sender":{"login":"${'x'.repeat(MIB)}"}}`,
    'with a path of 1 MiB': `{"ref":"refs/heads/main","commits":[{"added":["libs/${'x/'.repeat(MIB / 2)}"]}]}`,
  };

  it('is refused or run to an end, and never stops the next start', { timeout: 120_000 }, async () => {
    const stage = await setTestStage('odd');
    let runner = await stage.start();
    await expectNothingStored(runner, async () => {
      for (const [what, payload] of Object.entries(REFUSED)) {
        const { status, body } = await deliver({ stage, runner }, payload);
        expect({ what, status, body }).toEqual({
          what,
          status: 400,
          body: { error: 'The body is not a push payload' },
        });
      }
    });
    const taken = new Map<string, string>();
    for (const [what, payload] of Object.entries(TAKEN)) {
      const { status, body } = await deliver({ stage, runner }, payload);
      expect({ what, status, body }).toMatchObject({ what, status: 200, body: { status: 'accepted' } });
      taken.set(acceptedRun({ status, body }), signedLink({ body }));
    }
    // Once with all of it waiting, once more when it is done.
    await runner.kill();
    for (let restarts = 0; restarts < 2; restarts += 1) {
      runner = await stage.start();
      for (const [runId, link] of taken) {
        const run = await runner.waitForRun(runId, 'final');
        expect(run.state).toMatch(/^(succeeded|superseded)$/);
        const page = await fetch(runner.url + link, { headers: { accept: 'text/html' } });
        expect(page.status).toBe(200);
        expect(await page.text()).not.toContain('<b>');
      }
      expect(await runner.stop()).toBe(0);
    }
    runner = await stage.start();
    const head = await commitChange(stage.repository, ['platform/redis'], 'After all that');
    const run = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(run.revision).toBe(head);
  });
});

describe('F6: A hundred deliveries at once', () => {
  const shared = shareStage('hundred');
  const HUNDRED = Array.from({ length: 100 }, (_, index) => index);

  async function payloadOf({ stage }: SharedStage): Promise<{ head: string; payload: unknown }> {
    const { repository } = stage;
    const head = await commitChange(repository, ['platform/redis'], `Push ${randomBytes(4).toString('hex')}`);
    const moved = await repository.push();
    const named = { path: repository.path, fullName: 'acme/platform' };
    return { head, payload: await buildPushPayload({ repository: named, ...moved }) };
  }

  it('under one id are one run, which all are told', async () => {
    const { stage, runner } = shared();
    const { head, payload } = await payloadOf(shared());
    const deliveryId = randomUUID();
    const answers = await Promise.all(HUNDRED.map(() => deliver(shared(), payload, { deliveryId })));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    const [first] = answers;
    await runner.waitForRun(acceptedRun(first ?? { status: null, body: null }), 'succeeded');
    await idle(runner);
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/redis']);
    await stage.github.statuses.waitFor({ sha: head, state: 'success' });
  });

  it('under a hundred ids for one push sync once, never side by side, and all end', async () => {
    const { stage, runner } = shared();
    const { head, payload } = await payloadOf(shared());
    const answers = await Promise.all(HUNDRED.map(() => deliver(shared(), payload)));
    const ids = new Set(answers.map(acceptedRun));
    expect(ids.size).toBe(100);
    const states = new Set<string>();
    for (const id of ids) states.add((await runner.waitForRun(id, 'final')).state);
    expect([...states].filter((state) => state !== 'succeeded' && state !== 'superseded')).toEqual([]);
    const { overlaps } = await stage.journal.read();
    expect(overlaps).toEqual([]);
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/redis']);
    await stage.github.statuses.waitFor({ sha: head, state: 'success' });
    // Nothing that is told later takes it back.
    await runner.stop();
    expect(stage.github.statuses.latest(head)?.state).toBe('success');
  });
});
