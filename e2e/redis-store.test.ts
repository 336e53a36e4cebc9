/** Several servers on one Redis: the same promises as one server with a file. Needs redis-server. */

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { RunRequest } from '../src/runs/run.ts';
import { type RedisServer, startRedisServer } from '../src/stores/redis-jobs/redis-server.fixture.ts';
import { createRedisStore } from '../src/stores/redis-store/redis-store.ts';
import { because } from './support/because.ts';
import { logMessage, readStream } from './support/event-stream.ts';
import { DURABLE, machineEnvironment, withoutRedis } from './support/machines.ts';
import { appendLine, commitChange, lastSynced, writeGatedService } from './support/platform-services.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { pushRun } from './support/pushed-run.ts';
import type { Runner } from './support/runner.ts';
import { API_TOKENS, runnerEnvironment } from './support/runner-environment.ts';
import { openGate } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

async function startRedis(...options: string[]): Promise<RedisServer> {
  const redis = await startRedisServer(...options);
  onTestFinished(() => redis.remove());
  return redis;
}

/** A server on a machine of its own, as far as folders go. */
function startOn(
  stage: Stage,
  redis: RedisServer,
  machine: string,
  more: Record<string, string> = {},
): Promise<Runner> {
  return stage.start({ environment: { ...machineEnvironment(stage, redis, machine), ...more } });
}

/** Of a repository that is not there: who begins it is all that counts. */
function deployment(labels: string[]): RunRequest {
  return {
    kind: 'deploy',
    trigger: { source: 'deploy_api', actor: 'ada', deliveryId: null, retryOf: null },
    input: {
      operation: 'apply',
      tool: 'terraform',
      toolVersion: null,
      gitUrl: 'https://127.0.0.1:1/none.git',
      gitRef: 'main',
      path: '.',
      tfvarsFiles: [],
      timeoutMs: 10_000,
      autoApprove: false,
      callbackUrl: null,
    },
    concurrencyGroup: `deploy:${labels.join()}`,
    coalesce: false,
    dedupeKey: null,
    labels,
  };
}

/** `iac-runner worker`, until the end of the test. */
async function startWorkerOn(stage: Stage, redis: RedisServer, machine: string, options: string[]) {
  const env = runnerEnvironment({
    ...stage.runnerOptions,
    environment: machineEnvironment(stage, redis, machine),
  });
  const program = join(PROJECT_ROOT, 'src/cli.ts');
  const child = execa(process.execPath, [program, 'worker', ...options], {
    ...{ cwd: PROJECT_ROOT, env, extendEnv: false, reject: false, stdin: 'ignore', all: true },
  });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  return {
    async stop(): Promise<number | undefined> {
      child.kill('SIGTERM');
      return (await child).exitCode;
    },
  };
}

describe.skipIf(withoutRedis !== null)(`With the store in Redis${because(withoutRedis)}`, () => {
  it('a push is synced, recorded and told like with a file', async () => {
    const stage = await setTestStage('redis-push');
    const redis = await startRedis(...DURABLE);
    const runner = await startOn(stage, redis, 'one');
    const commit = await commitChange(stage.repository, ['platform/redis', 'platform/dashy'], 'A change');
    const { run_id: runId } = (await stage.push(runner)).body as { run_id: string };
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run).toMatchObject({ revision: commit, message: '2 service(s) synced successfully' });
    const { syncs, overlaps } = await stage.journal.read();
    expect(syncs.map(({ service }) => service)).toEqual(['platform/redis', 'platform/dashy']);
    expect(overlaps).toEqual([]);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    expect(await runner.stop()).toBe(0);
    // What stands in Redis is no secret to whoever may read it, but ours is not among it.
    expect(runner.output()).not.toContain('may lose');
  });

  it('two servers show and cancel each other’s runs, whichever works on them', async () => {
    const stage = await setTestStage('redis-two');
    const redis = await startRedis(...DURABLE);
    const runners = await Promise.all([startOn(stage, redis, 'one'), startOn(stage, redis, 'two')]);
    const [one, two] = runners;
    await writeGatedService(stage.repository, 'platform/06.gated', 'open');
    await stage.repository.commit('A service that waits');
    const { runId } = await pushRun(stage, one);
    const seen = runners.map(async ({ url }) => {
      const events: string[] = [];
      const lines: string[] = [];
      for await (const message of readStream({ url, runId })) {
        events.push(message.event);
        const log = logMessage(message);
        if (log) lines.push(log.text);
      }
      return { lines, last: events.at(-1) };
    });
    await until('the task', async () => ((await stage.journal.read()).syncs.length > 0 ? true : null));
    for (const { url } of runners) {
      const page = await fetch(`${url}/runs/${runId}`, {
        headers: { accept: 'text/html', authorization: `Bearer ${API_TOKENS.viewer}` },
      });
      expect(await page.text()).toContain('platform/gated');
    }
    await openGate(stage, 'open');
    const [first, second] = await Promise.all(seen);
    expect(first?.last).toBe('end');
    expect(second).toEqual(first);
    expect((await two.waitForRun(runId, 'succeeded')).attempt).toBe(1);

    await writeGatedService(stage.repository, 'platform/06.gated', 'never');
    await stage.repository.commit('It waits for ever');
    const cancelled = await pushRun(stage, two);
    for (const { url } of runners) {
      await until('the task', async () => ((await stage.journal.read()).syncs.length > 1 ? true : null));
      await fetch(`${url}/runs/${cancelled.runId}/cancel`, {
        method: 'POST',
        headers: { accept: 'application/json', authorization: `Bearer ${API_TOKENS.operator}` },
      });
    }
    await one.waitForRun(cancelled.runId, 'cancelled');
  });

  it('never syncs a service twice at once, through pushes to both, kill -9, and a Redis that is killed', async () => {
    const stage = await setTestStage('redis-chaos');
    const redis = await startRedis(...DURABLE);
    const one = await startOn(stage, redis, 'one');
    let two = await startOn(stage, redis, 'two');
    const ids = ['platform/redis', 'platform/minio', 'platform/dashy'];
    let head = '';
    for (let round = 0; round < 9; round += 1) {
      head = await commitChange(stage.repository, ids, `Change ${round}`);
      const answer = await stage.push(round % 2 === 0 ? one : two);
      expect([200, 503]).toContain(answer.status);
      if (round === 3) {
        await two.kill();
        two = await startOn(stage, redis, 'two');
      }
      if (round === 6) {
        await redis.kill();
        await redis.start();
      }
    }
    await until(
      'the ledger at the head',
      async () => {
        const last = await lastSynced(stage.journal, ids);
        return ids.every((id) => last[id] === head) ? true : null;
      },
      { timeoutMs: 90_000 },
    );
    await until('no run open', async () => {
      const open = (await one.runs()).filter(({ state }) => state === 'queued' || state === 'running');
      return open.length === 0 ? true : null;
    });
    expect((await stage.journal.read()).overlaps).toEqual([]);
    await stage.github.statuses.waitFor({ sha: head, state: 'success' });
    expect([await one.stop(), await two.stop()]).toEqual([0, 0]);
  }, 180_000);

  it('F49: a Redis that lost everything has every service synced once more', async () => {
    const stage = await setTestStage('redis-loss');
    const redis = await startRedis();
    const runner = await startOn(stage, redis, 'one');
    expect(runner.output()).toContain('appendonly yes');
    const commit = await commitChange(stage.repository, ['platform/redis'], 'A change');
    const { runId } = await pushRun(stage, runner);
    expect(commit).toHaveLength(40);
    await runner.waitForRun(runId, 'succeeded');
    await runner.stop();
    const before = (await stage.journal.read()).syncs.length;
    await redis.kill();
    await redis.start();
    const again = await startOn(stage, redis, 'one');
    const run = await again.waitForRun(() => true, 'succeeded');
    expect(run.message).toContain('12 service(s) synced');
    expect((await stage.journal.read()).syncs.length).toBe(before + 12);
    expect(again.output()).toContain('the data in Redis is gone');
  });

  it('F49: a Redis restored from an older dump has what it forgot synced again, and that once', async () => {
    const stage = await setTestStage('redis-dump');
    const redis = await startRedis();
    const runner = await startOn(stage, redis, 'one', { RECONCILE_INTERVAL: '1' });
    const sync = async (id: string, why: string) => {
      await commitChange(stage.repository, [id], why);
      return runner.waitForRun((await pushRun(stage, runner)).runId, 'succeeded');
    };
    await sync('platform/redis', 'Known to the dump');
    await redis.client().save();
    const dump = (name: string) => join(redis.directory, name);
    copyFileSync(dump('dump.rdb'), dump('kept.rdb'));
    const lost = await sync('platform/dashy', 'Lost');
    await redis.kill();
    copyFileSync(dump('kept.rdb'), dump('dump.rdb'));
    await redis.start();
    const again = await runner.waitForRun(
      ({ state, revision }) => state === 'succeeded' && revision === lost.revision,
      'succeeded',
    );
    expect(again.run_id).not.toBe(lost.run_id);
    expect((await runner.getJson(`/runs/${lost.run_id}`)).status).toBe(404);
    const { syncs, overlaps } = await stage.journal.read();
    expect(syncs.map(({ service }) => service)).toEqual([
      ...['platform/redis', 'platform/dashy', 'platform/dashy'],
    ]);
    expect(overlaps).toEqual([]);
    expect(await runner.stop()).toBe(0);
  });

  it('a worker without a server works on what a server took in, and is seen on its page and in its metrics', async () => {
    const stage = await setTestStage('redis-worker');
    const redis = await startRedis(...DURABLE);
    const server = await startOn(stage, redis, 'one', { WORKER_LABELS: 'none' });
    const worker = await startWorkerOn(stage, redis, 'two', ['--labels', 'aws,linux', '--concurrency', '2']);
    const workers = await until('two workers', async () => {
      const { body } = await server.getJson('/workers');
      const { workers: found } = body as { workers: { command: string; labels: string[]; owner: string }[] };
      return found.length === 2 ? found : null;
    });
    expect(workers.map(({ command, labels }) => [command, labels]).toSorted()).toEqual([
      ['serve', ['none']],
      ['worker', ['aws', 'linux']],
    ]);
    const metrics = String((await server.getJson('/metrics')).body);
    expect(metrics).toContain('iac_runner_workers{command="worker"} 1');
    expect(metrics).toContain('iac_runner_queue_oldest_seconds 0');
    const store = await createRedisStore({ url: redis.url });
    onTestFinished(() => store.close());
    const { run } = await store.enqueue(deployment(['aws']));
    await server.waitForRun(run.id, 'final');
    const started = await store.latestEvent(run.id, 'run.started');
    expect(started?.owner).toBe(workers.find(({ command }) => command === 'worker')?.owner);
    // Nobody has this label.
    await store.enqueue(deployment(['gpu']));
    await until('a second of waiting', async () => {
      const text = String((await server.getJson('/metrics')).body);
      return /iac_runner_queue_oldest_seconds [1-9]/.test(text) ? true : null;
    });
    expect(await worker.stop()).toBe(0);
    const { body } = await server.getJson('/workers');
    expect((body as { workers: unknown[] }).workers).toHaveLength(1);
  });

  it('F51: a wrong password is refused at the start in one line, without the password', async () => {
    const stage = await setTestStage('redis-password');
    const redis = await startRedis('--requirepass', 'right');
    const url = redis.url.replace('//', '//:wrong-e2e-password@');
    const starting = startOn(stage, redis, 'one', { STORE_URL: url });
    await expect(starting).rejects.toThrow('Correct the user and password in STORE_URL.');
    await expect(starting).rejects.not.toThrow('wrong-e2e-password');
  });

  it('F51: a Redis that stalls for 30 s: pushes are answered 503 before GitHub gives up, what runs goes on', async () => {
    const stage = await setTestStage('redis-stall');
    const redis = await startRedis(...DURABLE);
    const runner = await startOn(stage, redis, 'one');
    await writeGatedService(stage.repository, 'platform/06.gated', 'stalled');
    const { runId } = await pushRun(stage, runner, 'A service that waits');
    await stage.journal.waitForStart('platform/gated');
    await appendLine(stage.repository, 'platform/04.dashy/conf.yml', '# stalled');
    await stage.repository.commit('While Redis stands still');
    process.kill(redis.pid(), 'SIGSTOP');
    const from = performance.now();
    const refused = await stage.push(runner);
    // An answer at all: GitHub, and the sender of these tests, give up after ten seconds.
    expect(refused.status).toBe(503);
    // Its task ends while nothing can be written.
    await openGate(stage, 'stalled');
    await sleep(30_000 - (performance.now() - from));
    expect((await runner.getJson('/health', null)).status).toBe(200);
    process.kill(redis.pid(), 'SIGCONT');
    await until('health', async () => ((await runner.getJson('/ready', null)).status === 200 ? true : null));
    expect(await runner.waitForRun(runId, 'succeeded')).toMatchObject({ attempt: 1 });
    expect((await stage.github.redeliver(refused.deliveryId)).status).toBe(200);
    await until('the push', async () =>
      (await stage.journal.read()).syncs.some(({ service }) => service === 'platform/dashy') ? true : null,
    );
    const { syncs, overlaps } = await stage.journal.read();
    expect(syncs.map(({ service }) => service)).toEqual(['platform/gated', 'platform/dashy']);
    expect(overlaps).toEqual([]);
  });
});
