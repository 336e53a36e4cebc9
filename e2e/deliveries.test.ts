/**
 * The inbox shows every delivery with its decision, replays a delivery on request, and finds those that never
 * arrived.
 */

import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { commitChange, lastSynced, syncedAt } from './support/platform-services.ts';
import { waitForSync } from './support/pushed-run.ts';
import { acceptedRun } from './support/run-actions.ts';
import { type Runner, runProgram } from './support/runner.ts';
import { API_TOKENS, WEBHOOK_SECRET } from './support/runner-environment.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';
import { parseBody } from './support/webhook-sender.ts';

const REDIS = 'platform/redis';

const listSchema = z.object({
  deliveries: z.array(
    z.looseObject({
      number: z.number(),
      event: z.string(),
      decision: z.string(),
      detail: z.string(),
      delivery_id: z.string().nullable(),
      run_id: z.string().nullable(),
    }),
  ),
});

async function listed(runner: Runner, query = '') {
  return listSchema.parse((await runner.getJson(`/deliveries${query}`)).body).deliveries;
}

async function pushRedis(stage: Stage, runner: Runner, why: string) {
  const commit = await commitChange(stage.repository, [REDIS], why);
  const delivery = await stage.push(runner);
  return { commit, delivery };
}

function command(stage: Stage, runner: Runner, token: string | undefined, ...args: string[]) {
  const environment = { IAC_RUNNER_TOKEN: token };
  return runProgram(['deliveries', '--url', runner.url, ...args], { ...stage.runnerOptions, environment });
}

describe('The inbox', () => {
  it('holds every delivery with its decision, also after a crash, for the page, the API and the terminal', async () => {
    const stage = await setTestStage('inbox');
    const runner = await stage.start();
    const { github, repository } = stage;
    const message = { url: `${runner.url}/webhook`, secret: WEBHOOK_SECRET };
    await github.deliver({ ...message, event: 'ping', payload: { zen: 'Keep it simple.' } });
    await github.deliver({ ...message, event: 'push', payload: { ref: 'refs/heads/topic' } });
    await github.deliver({ ...message, event: 'push', payload: { ref: 7 } });
    await github.deliver({ ...message, secret: 'not-the-secret', event: 'push', payload: {} });
    await repository.write('README.md', 'Words only.\n');
    await repository.commit('Write');
    await stage.push(runner);
    const { commit, delivery } = await pushRedis(stage, runner, 'Change redis');
    const runId = acceptedRun(delivery);
    await runner.waitForRun(runId, 'succeeded');
    await github.redeliver(delivery.deliveryId);
    const decisions = [
      ['duplicate', 'push', `Push of ${commit.slice(0, 8)}`],
      ['accepted', 'push', `Push of ${commit.slice(0, 8)}`],
      ['no_changes', 'push', 'No service files changed'],
      ['refused', 'push', 'Invalid signature'],
      ['refused', 'push', 'The body is not a push payload'],
      ['ignored', 'push', 'Not main branch'],
      ['ignored', 'ping', 'Event ping'],
    ];
    const listedDecisions = async (from: Runner) =>
      (await listed(from)).map(({ decision, event, detail }) => [decision, event, detail]);
    await until('all seven to be stored', async () => ((await listed(runner)).length === 7 ? true : null));
    expect(await listedDecisions(runner)).toEqual(decisions);
    await runner.kill();
    const again = await stage.start();
    expect(await listedDecisions(again)).toEqual(decisions);
    const accepted = await listed(again, '?decision=accepted');
    expect(accepted).toMatchObject([{ run_id: runId, delivery_id: delivery.deliveryId }]);

    const shown = await command(stage, again, API_TOKENS.viewer, '--limit', '3');
    expect(shown).toMatchObject({ exitCode: 0, stderr: '' });
    const lines = shown.stdout.split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[1]).toMatch(
      new RegExp(`^ +6 .*Z  accepted +push +Push of ${commit.slice(0, 8)}  ${runId}$`),
    );
    const refused = await command(stage, again, API_TOKENS.viewer, '--decision', 'refused');
    expect(refused.stdout.split('\n')).toHaveLength(2);
    expect((await command(stage, again, undefined)).exitCode).toBe(3);
    expect((await command(stage, again, 'no-such-token')).exitCode).toBe(4);
    expect((await command(stage, again, API_TOKENS.viewer, '--decision', 'lost')).exitCode).toBe(2);
  });

  it('F5: replays the request of a delivery, and never goes backwards by that', async () => {
    const stage = await setTestStage('replay');
    const runner = await stage.start();
    const first = await pushRedis(stage, runner, 'First');
    await runner.waitForRun(acceptedRun(first.delivery), 'succeeded');
    const second = await pushRedis(stage, runner, 'Second');
    await runner.waitForRun(acceptedRun(second.delivery), 'succeeded');
    const [newer, older] = (await listed(runner)).map(({ number }) => String(number));

    const back = await command(stage, runner, API_TOKENS.operator, '--replay', older ?? '');
    expect(back).toMatchObject({ exitCode: 0, stderr: '' });
    const runId = /^Run ([\w-]+)\n/.exec(back.stdout)?.[1] ?? '';
    expect(await runner.waitForRun(runId, 'superseded')).toMatchObject({
      reason: 'newer_already_synced',
      trigger: { source: 'replay', actor: 'operator' },
    });
    expect(await lastSynced(stage.journal, [REDIS])).toEqual({ [REDIS]: second.commit });
    expect(await syncedAt(stage.journal, first.commit)).toEqual([REDIS]);

    const same = await command(stage, runner, API_TOKENS.operator, '--replay', newer ?? '');
    const sameRun = /^Run ([\w-]+)\n/.exec(same.stdout)?.[1] ?? '';
    expect(await runner.waitForRun(sameRun, 'succeeded')).toMatchObject({
      message: 'No services required sync',
    });
    expect(await syncedAt(stage.journal, second.commit)).toEqual([REDIS]);

    const message = { url: `${runner.url}/webhook`, secret: WEBHOOK_SECRET, event: 'ping', payload: {} };
    await stage.github.deliver(message);
    const [ping] = await listed(runner);
    const refused = await command(stage, runner, API_TOKENS.operator, '--replay', String(ping?.number));
    expect(refused).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('409: There is nothing to replay'),
    });
    const viewer = await command(stage, runner, API_TOKENS.viewer, '--replay', newer ?? '');
    expect(viewer).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('403: This needs the role operator'),
    });
    const unknown = await command(stage, runner, API_TOKENS.operator, '--replay', '4711');
    expect(unknown).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('404: Delivery not found'),
    });
  });

  it('F13: accepts no replay from another site', async () => {
    const stage = await setTestStage('replay-csrf');
    const runner = await stage.start();
    const { delivery } = await pushRedis(stage, runner, 'Change');
    await runner.waitForRun(acceptedRun(delivery), 'succeeded');
    const signedIn = await fetch(`${runner.url}/login`, {
      method: 'POST',
      body: new URLSearchParams({ token: API_TOKENS.operator }),
      redirect: 'manual',
    });
    const cookie = signedIn.headers.get('set-cookie')?.split(';')[0] ?? '';
    const replay = async (headers: Record<string, string>, method = 'POST') => {
      const address = `${runner.url}/deliveries/1/replay`;
      const response = await fetch(address, { method, headers: { accept: 'application/json', ...headers } });
      return { status: response.status, body: parseBody(await response.text()) };
    };
    expect(await replay({})).toMatchObject({ status: 401 });
    expect(await replay({ cookie })).toMatchObject({ status: 403 });
    expect(await replay({ cookie, origin: 'https://evil.example' })).toMatchObject({ status: 403 });
    expect(await replay({ cookie }, 'GET')).toMatchObject({ status: 404 });
    expect(await runner.runs()).toHaveLength(1);
    expect(await replay({ cookie, origin: runner.url })).toMatchObject({ status: 200 });
  });
});

describe('Deliveries that never arrived', () => {
  it('F11: are listed once each with what GitHub received, and the push is synced', async () => {
    const stage = await setTestStage('missed');
    const { github, journal } = stage;
    const hookRequests = () =>
      github.requests.filter(({ url, status }) => url.includes('/hooks') && status).length;
    github.hooks.point('http://localhost/webhook');
    const runner = await stage.start();
    const first = await pushRedis(stage, runner, 'While it is up');
    await runner.waitForRun(acceptedRun(first.delivery), 'succeeded');
    expect(await runner.stop()).toBe(0);
    const lost = await pushRedis(stage, runner, 'While it is down');
    expect(lost.delivery.status).toBeNull();
    // GitHub has more than one page of them.
    const message = { url: `${runner.url}/webhook`, secret: WEBHOOK_SECRET, event: 'ping', payload: {} };
    await Promise.all(Array.from({ length: 120 }, () => github.deliver(message)));

    // GitHub's Redeliver button sends it after all, which changes nothing any more. The second redelivery is a
    // duplicate.
    async function redeliver(again: Runner): Promise<void> {
      const { deliveryId } = lost.delivery;
      const redelivered = await github.redeliver(deliveryId);
      await again.waitForRun(acceptedRun(redelivered), 'final');
      expect((await github.redeliver(deliveryId)).body).toEqual(redelivered.body);
      const known = (await listed(again)).filter((one) => one.delivery_id === deliveryId);
      expect(known.map(({ decision }) => decision)).toEqual(['duplicate', 'accepted']);
      expect(await syncedAt(journal, lost.commit)).toEqual([REDIS]);
    }

    // This is where GitHub's API shows the delivery.
    const environment = { WEBHOOK_PORT: new URL(runner.url).port };
    for (let round = 0; round < 2; round += 1) {
      const again = await stage.start({ environment });
      await until('the push to be synced', async () => {
        return (await syncedAt(journal, lost.commit)).includes(REDIS) ? true : null;
      });
      // The server reads the list of webhooks and two pages of their deliveries.
      await until('GitHub to be asked', () => (hookRequests() >= 3 * (round + 1) ? true : null));
      await until('the lost deliveries to be listed', async () => {
        return (await listed(again, '?decision=missed')).length === 50 ? true : null;
      });
      const output = await command(stage, again, API_TOKENS.viewer, '--decision', 'missed', '--limit', '500');
      const lines = output.stdout.split('\n');
      expect(lines).toHaveLength(121);
      expect(lines.at(-1)).toMatch(/missed +push +GitHub got no answer at 20\d\d-.*Z$/);
      expect(again.output().split('"msg":"deliveries were missed"')).toHaveLength(round === 0 ? 2 : 1);
      if (round === 1) await redeliver(again);
      expect(await again.stop()).toBe(0);
    }
  });

  it('are not looked for when the token has no permission, and the log says so once', async () => {
    const stage = await setTestStage('not-allowed');
    const runner = await stage.start({ environment: { RECONCILE_INTERVAL: '1' } });
    const said = 'missed deliveries are not looked for: the token may not read webhooks';
    await until('the line in the log', () => (runner.output().includes(said) ? true : null));
    const asked = () => stage.github.requests.filter(({ url }) => url.includes('/hooks')).length;
    expect(asked()).toBe(1);
    const { delivery } = await pushRedis(stage, runner, 'Change');
    await waitForSync(runner, acceptedRun(delivery));
    expect(asked()).toBe(1);
    expect(runner.output().split(said)).toHaveLength(2);
  });
});
