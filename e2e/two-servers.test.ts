/** Two servers behind one address share one PostgreSQL: each server knows what the other has done. */

import { randomUUID } from 'node:crypto';
import { beforeAll, expect, it } from 'vitest';
import { waitUntilIdle } from './support/deliveries.ts';
import { describeUnless } from './support/describe-unless.ts';
import { followLog } from './support/event-stream.ts';
import { machineEnvironment, sharePostgres, withoutPostgres } from './support/machines.ts';
import {
  commitChange,
  gateIsOpen,
  syncedAt,
  writeGatedService,
  writeRecordedService,
} from './support/platform-services.ts';
import { isAlive } from './support/processes.ts';
import { pushRun } from './support/pushed-run.ts';
import { acceptedRun, actOnRun, worksOn } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { openGate, shareStage } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { until } from './support/until.ts';
import { signBody } from './support/webhook-sender.ts';

describeUnless(withoutPostgres, 'Two servers behind one address', () => {
  let storeUrl: string;
  let other: Runner;
  const postgres = sharePostgres();
  const shared = shareStage('two-servers', async (stage) => {
    storeUrl = await postgres().createDatabase();
    return environment(stage, 'one');
  });
  beforeAll(async () => {
    const { stage } = shared();
    other = await stage.start({ environment: environment(stage, 'two') });
  });

  function environment(stage: Stage, machine: string) {
    return machineEnvironment(stage, storeUrl, machine);
  }

  /** The server that works on the run, and the other server. */
  function serversOf(runId: string): Promise<{ worker: Runner; bystander: Runner }> {
    const { runner } = shared();
    return until('the start of the run', async () => {
      if (worksOn(runner, runId)) return { worker: runner, bystander: other };
      return worksOn(other, runId) ? { worker: other, bystander: runner } : null;
    });
  }

  it('answer a redelivery to the other server with the first answer, and start nothing', async () => {
    const { stage, runner } = shared();
    const commit = await commitChange(stage.repository, ['platform/redis'], 'Delivered to both');
    const first = await stage.push(runner);
    // The body differs from GitHub's, because only the id counts.
    const payload = {
      ref: 'refs/heads/main',
      after: commit,
      commits: [{ modified: ['platform/02.vault/x'] }],
    };
    const { deliveryId } = first;
    const url = `${other.url}/webhook`;
    const redeliver = () =>
      stage.github.deliver({ url, secret: WEBHOOK_SECRET, event: 'push', payload, deliveryId });
    expect((await redeliver()).body).toEqual(first.body);
    await other.waitForRun(acceptedRun(first), 'succeeded');
    expect((await redeliver()).body).toEqual(first.body);
    await waitUntilIdle(other);
    expect(await syncedAt(stage.journal, commit)).toEqual(['platform/redis']);
  });

  it('accept a delivery once that reaches both at the same moment', async () => {
    const { stage, runner } = shared();
    const commit = await commitChange(stage.repository, ['platform/minio'], 'To both at once');
    await stage.repository.push();
    const deliveryId = randomUUID();
    const commits = [{ modified: ['platform/02.minio/compose.yaml'] }];
    const payload = { ref: 'refs/heads/main', after: commit, commits };
    const message = { secret: WEBHOOK_SECRET, event: 'push', payload, deliveryId };
    const answers = await Promise.all(
      [runner, other, runner, other].map(({ url }) =>
        stage.github.deliver({ ...message, url: `${url}/webhook` }),
      ),
    );
    const [runId = '', ...others] = new Set(answers.map(acceptedRun));
    expect(others).toEqual([]);
    await runner.waitForRun(runId, 'succeeded');
    await waitUntilIdle(runner);
    expect(await syncedAt(stage.journal, commit)).toEqual(['platform/minio']);
  });

  it('refuse a nonce that was used at the other server', async () => {
    const { runner } = shared();
    const body = '{"services":["platform/redis"]}';
    const ask = ({ signedPost }: Runner, nonce: string) => {
      const timestamp = `${Math.floor(Date.now() / 1_000)}`;
      const signature = signBody(WEBHOOK_SECRET, `${timestamp}.${nonce}.${body}`);
      const stamp = { 'x-iac-timestamp': timestamp, 'x-iac-nonce': nonce };
      return signedPost('/sync', body, { headers: { ...stamp, 'x-hub-signature-256': signature } });
    };
    const nonce = randomUUID();
    expect((await ask(runner, nonce)).status).toBe(200);
    expect((await ask(other, nonce)).status).toBe(401);
    const atOnce = randomUUID();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => ask(index % 2 === 0 ? runner : other, atOnce)),
    );
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, ...Array<number>(7).fill(401)]);
    await waitUntilIdle(runner);
  });

  it('both show each line of a run while it runs', async () => {
    const { stage, runner } = shared();
    const body = ['print("half way", flush=True)', `while not ${gateIsOpen('live')}: time.sleep(0.05)`];
    await writeRecordedService(
      stage.repository,
      'platform/06.live',
      [...body, 'print("the rest", flush=True)'].join('\n'),
    );
    const { runId } = await pushRun(stage, runner, 'A service that talks');
    const servers = await serversOf(runId);
    let halfWay = 0;
    const readers = [servers.worker, servers.bystander].map(async ({ url }) => {
      const seen: string[] = [];
      for await (const { text } of followLog({ url, runId })) {
        seen.push(text);
        if (text.includes('half way')) halfWay += 1;
      }
      return seen;
    });
    await until('the first line at both', async () => (halfWay === 2 ? true : null));
    await openGate(stage, 'live');
    const [atWorker = [], atBystander = []] = await Promise.all(readers);
    expect(atBystander).toEqual(atWorker);
    expect(atBystander.at(-1)).toContain('the rest');
    await runner.waitForRun(runId, 'succeeded');
  });

  it('cancel runs of each other, and the task is ended', async () => {
    const { stage, runner } = shared();
    await writeGatedService(stage.repository, 'platform/06.endless', 'never');
    const { runId } = await pushRun(stage, runner, 'A service that waits for ever');
    const { pid } = await stage.journal.waitForStart('platform/endless');
    const { bystander } = await serversOf(runId);
    expect((await actOnRun(bystander, runId, 'cancel')).status).toBe(200);
    await until('the end of its task', async () => (isAlive(pid) ? null : true));
    expect(await bystander.waitForRun(runId, 'cancelled')).toMatchObject({
      reason: 'cancelled_by_request',
    });
  });
});
