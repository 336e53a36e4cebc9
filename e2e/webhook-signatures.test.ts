/** /webhook and /sync accept only bytes that were signed with the secret. */

import { createHmac, randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { deliver, expectNothingStored } from './support/deliveries.ts';
import { openRaw, type RawAnswer, rawPost, sendRaw } from './support/raw-http.ts';
import { acceptedRun } from './support/run-actions.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { type SharedStage, shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { signBody } from './support/webhook-sender.ts';

const INVALID = { error: 'Invalid signature' };

/** A push that would be accepted if it were signed. */
const PUSH = JSON.stringify({
  ref: 'refs/heads/main',
  after: '1234567',
  commits: [{ modified: ['platform/01.redis/compose.yaml'] }],
});
const GOOD = signBody(WEBHOOK_SECRET, PUSH);
const HEX = GOOD.slice('sha256='.length);
const SHA1 = createHmac('sha1', WEBHOOK_SECRET).update(PUSH).digest('hex');

function post(
  { runner }: SharedStage,
  path: string,
  signatureLines: readonly string[],
  body: string | Uint8Array = PUSH,
): Promise<RawAnswer> {
  const lines = [
    'Content-Type: application/json',
    'X-GitHub-Event: push',
    `X-GitHub-Delivery: ${randomUUID()}`,
  ];
  return sendRaw(runner.url, rawPost(path, [...lines, ...signatureLines], body));
}

/** Values of X-Hub-Signature-256 that sign nothing. */
const WRONG_SIGNATURES: Record<string, string> = {
  'of another secret': signBody('e2e-webhook-secret-5d1f0d', PUSH),
  'of the empty secret': `sha256=${createHmac('sha256', '').update(PUSH).digest('hex')}`,
  'of another body': signBody(WEBHOOK_SECRET, `${PUSH} `),
  'of no body': signBody(WEBHOOK_SECRET, ''),
  'that is empty': '',
  'without its algorithm': HEX,
  'with nothing but its algorithm': 'sha256=',
  'by SHA-1': `sha1=${SHA1}`,
  'by SHA-1 that claims to be SHA-256': `sha256=${SHA1}`,
  'by SHA-256 that claims to be SHA-1': `sha1=${HEX}`,
  'by SHA-512 that claims to be SHA-256': `sha256=${createHmac('sha512', WEBHOOK_SECRET).update(PUSH).digest('hex')}`,
  'that lacks its last digit': GOOD.slice(0, -1),
  'with one digit too many': `${GOOD}0`,
  'with a wrong last digit': GOOD.slice(0, -1) + (GOOD.endsWith('0') ? '1' : '0'),
  'with white space inside': GOOD.replace('=', '= '),
  'that is not hexadecimal': `sha256=${'z'.repeat(64)}`,
  'with a byte that is not ASCII': `sha256=é${HEX.slice(1)}`,
  'without any ASCII byte': `sha256=${'ÿ'.repeat(64)}`,
  'in base64': `sha256=${Buffer.from(HEX, 'hex').toString('base64')}`,
  'twice in one header': `${GOOD}, ${GOOD}`,
  'after a wrong one': `sha256=${'0'.repeat(64)},${GOOD}`,
  'of 1 KiB': `sha256=${'a'.repeat(1_024)}`,
  'of 16 KiB': `sha256=${'a'.repeat(16 * 1_024)}`,
  'that is an object': '[object Object]',
};

describe('F3: A signature', () => {
  const shared = shareStage('signatures');

  for (const [what, value] of Object.entries(WRONG_SIGNATURES)) {
    it(`${what} is answered 401, and nothing is stored`, async () => {
      await expectNothingStored(shared().runner, async () => {
        for (const path of ['/webhook', '/sync']) {
          const { status, body } = await post(shared(), path, [`X-Hub-Signature-256: ${value}`]);
          expect({ path, status, body }).toEqual({ path, status: 401, body: INVALID });
        }
      });
    });
  }

  it('that is missing, in the old header, or in two headers is answered 401', async () => {
    await expectNothingStored(shared().runner, async () => {
      const wrong = `X-Hub-Signature-256: sha256=${'0'.repeat(64)}`;
      const right = `X-Hub-Signature-256: ${GOOD}`;
      const forms = [
        [],
        [`X-Hub-Signature: sha1=${SHA1}`],
        [`X-Hub-Signature: ${GOOD}`],
        [`X-Signature: ${GOOD}`],
        [right, right],
        [right, wrong],
        [wrong, right],
      ];
      for (const lines of forms) {
        const { status, body } = await post(shared(), '/webhook', lines);
        expect({ lines, status, body }).toEqual({ lines, status: 401, body: INVALID });
      }
    });
  });

  it('is checked before the body: a body that is no JSON, of another type or compressed is answered 401 as well', async () => {
    await expectNothingStored(shared().runner, async () => {
      const bodies = ['', '{', 'null', 'payload=%7B%7D', Buffer.from([0x1f, 0x8b, 0xff, 0x00])];
      const types = ['application/json', 'application/x-www-form-urlencoded', 'text/plain', 'nonsense'];
      for (const path of ['/webhook', '/sync']) {
        for (const body of bodies) {
          for (const type of types) {
            const lines = [`Content-Type: ${type}`, 'Content-Encoding: gzip', 'X-GitHub-Event: ping'];
            const answer = await sendRaw(shared().runner.url, rawPost(path, lines, body));
            expect({ path, type, status: answer.status, body: answer.body }).toEqual({
              path,
              type,
              status: 401,
              body: INVALID,
            });
          }
        }
      }
    });
  });

  it('that is wrong does no harm: the server is healthy, has no defect in its log, and accepts a good signature', async () => {
    const { runner } = shared();
    const { status, body } = await post(shared(), '/webhook', [`X-Hub-Signature-256: ${GOOD}`]);
    expect({ status, body }).toMatchObject({ status: 200, body: { status: 'accepted' } });
    await runner.waitForRun(acceptedRun({ status, body }), 'final');
    expect((await runner.getJson('/health', null)).body).toEqual({ status: 'healthy' });
    expect(runner.logs().filter(({ level }) => Number(level) >= 50)).toEqual([]);
  });

  it('is valid at the other path only if the body fits: a push is no sync request, and a sync request is no push', async () => {
    await expectNothingStored(shared().runner, async () => {
      const push = await post(shared(), '/sync', [`X-Hub-Signature-256: ${GOOD}`]);
      expect(push.status).toBe(400);
      const sync = '{"all":true}';
      const signed = [`X-Hub-Signature-256: ${signBody(WEBHOOK_SECRET, sync)}`];
      expect((await post(shared(), '/webhook', signed, sync)).status).toBe(400);
    });
  });
});

describe('F4: A signature covers the raw bytes', () => {
  const shared = shareStage('raw-bytes');
  const file = 'platform/01.redis/compose.yaml';
  const escaped = [...file].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`).join('');
  const oddBodies: Record<string, string> = {
    'odd spacing': `\n{ "ref" :\t"refs/heads/main" ,\r\n "after":"1234567",  "commits":[ {"modified":["${file}" ]} ] }`,
    'unnecessary escapes': `{"ref":"refs\\/heads\\/main","after":"1234567","commits":[{"modified":["${escaped}"]}]}`,
    'a repeated key, whose last value counts': `{"ref":"refs/heads/other","ref":"refs/heads/main","after":"1234567","commits":[{"modified":["${file}"]}]}`,
    'a newline at its end': `{"ref":"refs/heads/main","after":"1234567","commits":[{"modified":["${file}"]}]}\r\n\n`,
    'a byte order mark': `\uFEFF{"ref":"refs/heads/main","after":"1234567","commits":[{"modified":["${file}"]}]}`,
    'characters of more than 7 and more than 16 bits': `{"ref":"refs/heads/main","after":"1234567","x":"ünï😀\u2028","commits":[{"modified":["${file}"]}]}`,
    'keys in another order': `{"commits":[{"modified":["${file}"]}],"after":"1234567","ref":"refs/heads/main"}`,
  };

  for (const [what, body] of Object.entries(oddBodies)) {
    it(`of a body with ${what}, which is refused when one byte differs`, async () => {
      const bytes = Buffer.from(body);
      const signature = `X-Hub-Signature-256: ${signBody(WEBHOOK_SECRET, bytes)}`;
      await expectNothingStored(shared().runner, async () => {
        for (const at of [0, Math.floor(bytes.length / 2), bytes.length - 1]) {
          const changed = Buffer.from(bytes);
          changed[at] = (changed[at] ?? 0) ^ 1;
          const answer = await post(shared(), '/webhook', [signature], changed);
          expect({ at, status: answer.status, body: answer.body }).toEqual({
            at,
            status: 401,
            body: INVALID,
          });
        }
        const rewritten = JSON.stringify(JSON.parse(body.replace(/^\uFEFF/, '')));
        if (rewritten !== body) {
          expect((await post(shared(), '/webhook', [signature], rewritten)).status).toBe(401);
        }
      });
      const answer = await post(shared(), '/webhook', [signature], bytes);
      expect(answer).toMatchObject({
        status: 200,
        body: { status: 'accepted', services: ['platform/redis'], commit: '1234567' },
      });
    });
  }

  it('also when they arrive in pieces, in chunks, and after a pause', async () => {
    const connection = await openRaw(shared().runner.url);
    const lines = [
      'POST /webhook HTTP/1.1',
      'Host: localhost',
      'Content-Type: application/json; charset=utf-8',
      'x-github-event: push',
      `x-hub-signature-256: ${GOOD}`,
      'Transfer-Encoding: chunked',
    ];
    await connection.write(`${lines.join('\r\n')}\r\n\r\n`);
    for (const piece of PUSH.match(/.{1,20}/gs) ?? []) {
      await connection.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
    }
    await connection.write('0\r\n\r\n');
    expect(await connection.answer).toMatchObject({ status: 200, body: { status: 'accepted' } });
    connection.socket.destroy();
  });
});

describe('The secret', () => {
  it('that was used before is valid as long as it is configured, for both paths', async () => {
    const stage = await setTestStage('rotation');
    const previous = 'e2e-previous-secret-77aa';
    const rotating = await stage.start({ environment: { WEBHOOK_SECRET_PREVIOUS: previous } });
    const ping = (secret: string, runner: SharedStage['runner']) =>
      deliver({ stage, runner }, { zen: 'Design for failure.' }, { event: 'ping', secret });
    expect((await ping(previous, rotating)).status).toBe(200);
    expect((await ping(WEBHOOK_SECRET, rotating)).status).toBe(200);
    expect(await ping('e2e-oldest-secret-66bb', rotating)).toMatchObject({ status: 401, body: INVALID });
    expect(await rotating.signedPost('/sync', {}, { secret: previous })).toMatchObject({ status: 400 });
    await rotating.stop();
    const rotated = await stage.start();
    expect(await ping(previous, rotated)).toMatchObject({ status: 401, body: INVALID });
    expect((await ping(WEBHOOK_SECRET, rotated)).status).toBe(200);
  });
});
