/** The same push more than once: one after the other, and many at the same time. */

import { randomBytes, randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { deliver, pushOf, waitUntilIdle } from './support/deliveries.ts';
import { commitChange, syncedAt } from './support/platform-services.ts';
import { buildPushPayload } from './support/push-payload.ts';
import { acceptedRun } from './support/run-actions.ts';
import { type SharedStage, shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import type { Delivery } from './support/webhook-sender.ts';

const REDIS = 'platform/01.redis/compose.yaml';

const answerOf = ({ status, body }: Delivery): object => ({ status, body });

describe('The same delivery again', () => {
  const shared = shareStage('deliveries');

  async function pushed({ stage, runner }: SharedStage, why: string): Promise<Delivery> {
    await commitChange(stage.repository, ['platform/redis'], why);
    return stage.push(runner);
  }

  it('gets the first answer, to the byte, whether its run waits, runs or has ended, and starts nothing', async () => {
    const { stage, runner } = shared();
    const first = await pushed(shared(), 'Deliver twice');
    await expectNothingStoredSince(first);
    await runner.waitForRun(acceptedRun(first), 'succeeded');
    await expectNothingStoredSince(first);
    const head = await stage.repository.head();
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/redis']);

    async function expectNothingStoredSince(delivery: Delivery): Promise<void> {
      const again = await stage.github.redeliver(delivery.deliveryId);
      expect(answerOf(again)).toEqual(answerOf(delivery));
      expect(JSON.stringify(again.body)).toBe(JSON.stringify(delivery.body));
      expect((await runner.runs())[0]?.run_id).toBe(acceptedRun(delivery));
    }
  });

  it('with another body still counts as the first delivery', async () => {
    const { stage, runner } = shared();
    const first = await pushed(shared(), 'Deliver under a used id');
    const { deliveryId } = first;
    const other = await deliver(shared(), pushOf('platform/02.vault/compose.yaml'), { deliveryId });
    expect(other.body).toEqual(first.body);
    await runner.waitForRun(acceptedRun(first), 'succeeded');
    expect((await stage.journal.read()).syncs.map(({ service }) => service)).not.toContain('platform/vault');
  });

  it('gets the first answer also after a restart', async () => {
    const stage = await setTestStage('redelivery');
    const runner = await stage.start();
    await commitChange(stage.repository, ['platform/redis'], 'Before the restart');
    const { repository, github, journal } = stage;
    const { before, after } = await repository.push();
    const deliveryId = randomUUID();
    const payload = { ...pushOf(REDIS), before, after };
    const first = await deliver({ stage, runner }, payload, { deliveryId });
    await runner.waitForRun(acceptedRun(first), 'succeeded');
    expect(await runner.stop()).toBe(0);
    const restarted = await stage.start();
    const again = await deliver({ stage, runner: restarted }, payload, { deliveryId });
    expect(again.body).toEqual(first.body);
    await waitUntilIdle(restarted);
    expect((await restarted.runs()).length).toBe(1);
    expect((await journal.read()).syncs.length).toBe(1);
    await github.statuses.waitFor({ sha: after, state: 'success' });
  });

  it('runs again when its run failed, as often as it fails, and not after it succeeded', async () => {
    const { stage, runner } = shared();
    const { repository, github, journal } = stage;
    // The task fails until somebody creates the file, as a task does that needs something from outside.
    await repository.write(
      'platform/06.flaky/deploy.py',
      [
        'import os, sys',
        'from invoke import task',
        '@task',
        'def sync(_c):',
        '    sys.exit(0 if os.path.exists(os.path.join(os.environ["IAC_EXAMPLE_STATE"], "repaired")) else 1)',
        '',
      ].join('\n'),
    );
    await repository.write('platform/06.flaky/compose.yaml', 'services: {}\n');
    const commit = await repository.commit('Add a flaky service');
    const first = await stage.push(runner);
    await runner.waitForRun(acceptedRun(first), 'failed');
    await github.statuses.waitFor({ sha: commit, state: 'failure' });

    const second = await github.redeliver(first.deliveryId);
    expect(acceptedRun(second)).not.toBe(acceptedRun(first));
    expect(second.body).toMatchObject({ services: ['platform/flaky'], commit: commit.slice(0, 8) });
    await runner.waitForRun(acceptedRun(second), 'failed');

    await repository.write('../state/repaired', '');
    const third = await github.redeliver(first.deliveryId);
    await runner.waitForRun(acceptedRun(third), 'succeeded');
    await github.statuses.waitFor({ sha: commit, state: 'success' });
    expect((await github.redeliver(first.deliveryId)).body).toEqual(third.body);
    expect(new Set([first, second, third].map(acceptedRun)).size).toBe(3);
    expect((await journal.read()).overlaps).toEqual([]);
  });

  it('does not exist for deliveries without an id: each is a push of its own', async () => {
    const headers = { 'X-GitHub-Delivery': '' };
    const [one, two] = [
      await deliver(shared(), pushOf(REDIS), { headers }),
      await deliver(shared(), pushOf(REDIS), { headers }),
    ];
    expect(acceptedRun(one)).not.toBe(acceptedRun(two));
  });
});

describe('F6: A hundred deliveries at once', () => {
  const shared = shareStage('hundred');

  /** Sends a delivery again when a busy machine answers 503, or later than GitHub waits, as people do by hand. */
  async function deliverUntilAccepted(payload: unknown, deliveryId: string): Promise<Delivery> {
    for (;;) {
      const delivery = await deliver(shared(), payload, { deliveryId });
      const isLate = delivery.status === null && String(delivery.body).startsWith('TimeoutError');
      if (delivery.status !== 503 && !isLate) return delivery;
    }
  }
  const HUNDRED = Array.from({ length: 100 }, (_, index) => index);

  async function payloadOf({ stage }: SharedStage): Promise<{ head: string; payload: unknown }> {
    const { repository } = stage;
    const head = await commitChange(repository, ['platform/redis'], `Push ${randomBytes(4).toString('hex')}`);
    const refUpdate = await repository.push();
    const named = { path: repository.path, fullName: 'acme/platform' };
    return { head, payload: await buildPushPayload({ repository: named, ...refUpdate }) };
  }

  it('under one id become one run, and all get its answer', async () => {
    const { stage, runner } = shared();
    const { head, payload } = await payloadOf(shared());
    const deliveryId = randomUUID();
    const answers = await Promise.all(HUNDRED.map(() => deliverUntilAccepted(payload, deliveryId)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    const [first] = answers;
    await runner.waitForRun(acceptedRun(first ?? { status: null, body: null }), 'succeeded');
    await waitUntilIdle(runner);
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/redis']);
    await stage.github.statuses.waitFor({ sha: head, state: 'success' });
  });

  it('under a hundred ids for one push sync once, never side by side, and all end', async () => {
    const { stage, runner } = shared();
    const { head, payload } = await payloadOf(shared());
    const answers = await Promise.all(HUNDRED.map(() => deliverUntilAccepted(payload, randomUUID())));
    const ids = new Set(answers.map(acceptedRun));
    expect(ids.size).toBe(100);
    const states = new Set<string>();
    for (const id of ids) states.add((await runner.waitForRun(id, 'final')).state);
    expect([...states].filter((state) => state !== 'succeeded' && state !== 'superseded')).toEqual([]);
    const { overlaps } = await stage.journal.read();
    expect(overlaps).toEqual([]);
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/redis']);
    await stage.github.statuses.waitFor({ sha: head, state: 'success' });
    // No status that is sent later replaces the success.
    await runner.stop();
    expect(stage.github.statuses.latest(head)?.state).toBe('success');
  });
});
