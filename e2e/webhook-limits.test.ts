/** Requests that are too large or too slow are refused, and requests that are merely large are accepted. */

import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { deliver, expectNothingStored } from './support/deliveries.ts';
import { commitChange, syncedAt } from './support/platform-services.ts';
import { buildPushPayload } from './support/push-payload.ts';
import { openRaw, type RawAnswer, rawPost, sendRaw } from './support/raw-http.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { memoryOf } from './support/server-memory.ts';
import { type SharedStage, shareStage } from './support/shared-stage.ts';
import { signBody } from './support/webhook-sender.ts';

const MIB = 1024 * 1024;
const PIECE_BYTES = 64 * 1024;
const JSON_HEADERS = ['Content-Type: application/json', 'X-GitHub-Event: ping'];

async function expectGoodPing(shared: SharedStage): Promise<void> {
  const { status } = await deliver(shared, { zen: 'Keep it logically awesome.' }, { event: 'ping' });
  expect(status).toBe(200);
}

/** Sends a body only until it is answered, because fetch fails when the server closes before the whole body is sent. */
async function sendSigned(
  { url }: Runner,
  path: string,
  body: string,
  secret = WEBHOOK_SECRET,
): Promise<RawAnswer | null> {
  const connection = await openRaw(url);
  const signature = `X-Hub-Signature-256: ${signBody(secret, body)}`;
  const bytes = rawPost(path, [...JSON_HEADERS, signature], body);
  let isAnswered = false;
  void connection.answer.then(() => {
    isAnswered = true;
  });
  for (let at = 0; at < bytes.length && !isAnswered; at += PIECE_BYTES) {
    await connection.write(bytes.subarray(at, at + PIECE_BYTES));
  }
  const answer = await connection.answer;
  connection.socket.destroy();
  return answer;
}

describe('F8: A body', () => {
  const shared = shareStage('bodies');

  it('of 26 MiB is answered 413, signed or not, and 2 MiB are too many for /sync', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const large = JSON.stringify({ ref: 'refs/heads/main', padding: 'x'.repeat(26 * MIB) });
      const refused = { status: 413, body: { error: 'The body is larger than 25 MiB' } };
      expect(await sendSigned(runner, '/webhook', large)).toMatchObject(refused);
      expect(await sendSigned(runner, '/webhook', large, 'somebody else')).toMatchObject(refused);
      const sync = JSON.stringify({ all: true, padding: 'x'.repeat(2 * MIB) });
      const refusedSync = { status: 413, body: { error: 'The body is larger than 1 MiB' } };
      expect(await sendSigned(runner, '/sync', sync)).toMatchObject(refusedSync);
    });
  });

  it('whose length is huge, or no number, is refused before any of it is read', async () => {
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

  it('behind headers of more than 32 KiB is answered 431', async () => {
    const { runner } = shared();
    const lines = [...JSON_HEADERS, `X-Large: ${'x'.repeat(33 * 1024)}`];
    expect(await sendRaw(runner.url, rawPost('/webhook', lines, '{}'))).toMatchObject({ status: 431 });
    expect((await runner.getJson('/health', null)).status).toBe(200);
  });

  it('with two different lengths is refused', async () => {
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

  it('that is compressed is answered 415, however small it is', async () => {
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

  it('do not delay a good delivery, and are answered 408', async () => {
    const { runner } = shared();
    const slow = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const connection = await openRaw(runner.url);
        // Some stop in the middle of their headers or body, and others send one byte a second of them.
        const [head = '', body = ''] = ['X-Slow: ', 'Content-Length: 1000\r\n\r\n'];
        await connection.write(`POST /webhook HTTP/1.1\r\nHost: localhost\r\n${index % 4 < 2 ? head : body}`);
        const drip = index % 2 === 0 ? null : setInterval(() => void connection.write('x'), 1_000);
        void connection.closed.then(() => drip && clearInterval(drip));
        return connection;
      }),
    );
    let refused = 0;
    for (const { answer } of slow) {
      void answer.then(() => {
        refused += 1;
      });
    }
    await expectGoodPing(shared());
    // The good delivery was answered before the slow senders, which have 30 s for their bodies.
    expect(refused).toBeLessThan(slow.length);
    const answers = await Promise.all(slow.map(({ answer }) => answer));
    expect(new Set(answers.map((answer) => answer?.status))).toEqual(new Set([408]));
    expect(answers[0]?.body).toEqual({ error: 'The request did not arrive in time' });
    await Promise.all(slow.map(({ closed }) => closed));
    await expectGoodPing(shared());
  });

  it('that disconnect halfway leave the server as it was', async () => {
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
      const refUpdate = await repository.push();
      const payload = await buildPushPayload({
        repository: { path: repository.path, fullName: 'acme/platform' },
        ...refUpdate,
      });
      // This is the size of a push that also adds thousands of files.
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
