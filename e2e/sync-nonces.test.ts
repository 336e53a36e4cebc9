/** Sync requests that are valid once: they are signed with a time and a nonce. */

import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { expectNothingStored, sync } from './support/deliveries.ts';
import { commitChange } from './support/platform-services.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import type { Answer } from './support/runner-client.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { signBody } from './support/webhook-sender.ts';

describe('The time and nonce of a request', () => {
  const shared = shareStage('nonces');
  const BODY = '{"services":["platform/redis"]}';
  const NOW = (): number => Math.floor(Date.now() / 1_000);

  interface SyncRequest {
    body?: string;
    timestamp?: string | number;
    nonce?: string;
    /** Default: a correct signature. */
    signed?: string;
    without?: 'timestamp' | 'nonce';
  }

  function postSync(runner: Runner, options: SyncRequest = {}): Promise<Answer> {
    const { body = BODY, timestamp = NOW(), nonce = randomUUID(), without } = options;
    const signed = options.signed ?? `${timestamp}.${nonce}.${body}`;
    const stamp: Record<string, string> = { 'x-iac-timestamp': `${timestamp}`, 'x-iac-nonce': nonce };
    if (without) delete stamp[`x-iac-${without}`];
    const headers = { 'x-hub-signature-256': signBody(WEBHOOK_SECRET, signed), ...stamp };
    return runner.signedPost('/sync', body, { headers });
  }

  const refused = { status: 401, body: { error: expect.any(String) } };

  it('make it valid once: sent again, with any body, it is refused', async () => {
    const { runner } = shared();
    const once = { timestamp: NOW(), nonce: 'nonce-0123456789_ABC' };
    expect(await postSync(runner, once)).toMatchObject({ status: 200, body: { status: 'accepted' } });
    await expectNothingStored(runner, async () => {
      expect(await postSync(runner, once)).toMatchObject(refused);
      expect(await postSync(runner, { ...once, timestamp: NOW() + 1 })).toMatchObject(refused);
      expect(await postSync(runner, { ...once, body: '{"all":true}' })).toMatchObject(refused);
    });
  });

  it('make it valid once when it is sent many times at the same moment', async () => {
    const { runner } = shared();
    const once = { timestamp: NOW(), nonce: randomUUID() };
    const answers = await Promise.all(Array.from({ length: 20 }, () => postSync(runner, once)));
    const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b);
    expect(statuses).toEqual([200, ...Array<number>(19).fill(401)]);
  });

  it('are valid within 300 seconds of the clock and not beyond, in either direction', async () => {
    const { runner } = shared();
    for (const off of [-280, 280]) {
      expect({ off, status: (await postSync(runner, { timestamp: NOW() + off })).status }).toEqual({
        off,
        status: 200,
      });
    }
    await expectNothingStored(runner, async () => {
      for (const off of [-301, -320, -86_400, 330, 86_400]) {
        const { status } = await postSync(runner, { timestamp: NOW() + off });
        expect({ off, status }).toEqual({ off, status: 401 });
      }
    });
  });

  it('are refused when they are malformed, or when one is without the other', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const forms: SyncRequest[] = [
        ...[
          '',
          '0',
          '-1',
          '1e9',
          `${NOW()}.5`,
          `+${NOW()}`,
          `${NOW()}000`,
          'now',
          '99999999999999999999',
        ].map((timestamp) => ({ timestamp })),
        ...['', 'short12', 'x'.repeat(129), 'with space', 'with.dots', 'ünïcode8', 'a,b,c,d,e'].map(
          (nonce) => ({ nonce }),
        ),
        { without: 'timestamp' },
        { without: 'nonce' },
      ];
      for (const form of forms) {
        const answer = await postSync(runner, form);
        expect({ form, status: answer.status }).toEqual({ form, status: 401 });
      }
      for (const nonce of ['x'.repeat(8), 'x'.repeat(128)]) {
        expect((await postSync(runner, { nonce, body: '{}' })).status).toBe(400);
      }
    });
  });

  it('are part of the signed bytes', async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const nonce = randomUUID();
      const timestamp = NOW();
      const forms = [
        BODY,
        `${timestamp - 1}.${nonce}.${BODY}`,
        `${timestamp}.${randomUUID()}.${BODY}`,
        `${timestamp}.${nonce}${BODY}`,
      ];
      for (const signed of forms) {
        const answer = await postSync(runner, { timestamp, nonce, signed });
        expect(answer).toMatchObject({ status: 401, body: { error: 'Invalid signature' } });
      }
      // This is a captured request without its time and nonce, which are inside of the body instead.
      const signature = signBody(WEBHOOK_SECRET, `${timestamp}.${nonce}.${BODY}`);
      const headers = { 'x-hub-signature-256': signature };
      expect((await runner.signedPost('/sync', BODY, { headers })).status).toBe(401);
      const inside = await runner.signedPost('/sync', `${timestamp}.${nonce}.${BODY}`, { headers });
      expect(inside.status).toBe(400);
    });
  });

  it('are required by SYNC_REQUIRE_TIMESTAMP, and a nonce stays used over a restart', async () => {
    const stage = await setTestStage('demanded');
    const environment = { SYNC_REQUIRE_TIMESTAMP: 'true' };
    const runner = await stage.start({ environment });
    expect(await sync(runner, { all: true })).toMatchObject(refused);
    expect(await runner.runs()).toEqual([]);
    const once = { timestamp: NOW(), nonce: randomUUID() };
    await runner.waitForRun(acceptedRun(await postSync(runner, once)), 'succeeded');
    // GitHub cannot send them, so /webhook does not require them.
    const head = await commitChange(stage.repository, ['platform/redis'], 'Without a nonce');
    const run = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(run.revision).toBe(head);
    await runner.kill();
    const restarted = await stage.start({ environment });
    await expectNothingStored(restarted, async () => {
      expect(await postSync(restarted, once)).toMatchObject(refused);
    });
  });
});
