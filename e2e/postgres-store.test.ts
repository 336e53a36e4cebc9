/** Several machines on one PostgreSQL keep the same promises as one server with a file. */

import { execa } from 'execa';
import { expect, it, onTestFinished } from 'vitest';
import type { RunRequest } from '../src/runs/run.ts';
import { createPostgresStore } from '../src/stores/postgres/postgres-store.ts';
import { describeUnless } from './support/describe-unless.ts';
import { logMessage, readStream } from './support/event-stream.ts';
import { machineEnvironment, setMachineStage, sharePostgres, withoutPostgres } from './support/machines.ts';
import { commitChange, writeGatedService } from './support/platform-services.ts';
import { CLI } from './support/program.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { pushRun, readPage } from './support/pushed-run.ts';
import { acceptedRun, actOnRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { runnerEnvironment } from './support/runner-environment.ts';
import { openGate } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { until } from './support/until.ts';

/** Its repository does not exist: the tests look only at which machine starts it. */
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

/** Starts `iac-runner worker`, which ends with the test. */
function startWorkerOn(stage: Stage, storeUrl: string, machine: string, options: string[]) {
  const environment = machineEnvironment(stage, storeUrl, machine);
  const program = CLI;
  const child = execa(process.execPath, [program, 'worker', ...options], {
    env: runnerEnvironment({ ...stage.runnerOptions, environment }),
    cwd: PROJECT_ROOT,
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
    all: true,
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

/** Reads the event stream of a run to its end. */
async function followToEnd({ url }: Runner, runId: string) {
  const lines: string[] = [];
  let last = '';
  for await (const message of readStream({ url, runId })) {
    last = message.event;
    const log = logMessage(message);
    if (log) lines.push(log.text);
  }
  return { lines, last };
}

describeUnless(withoutPostgres, 'With the store in PostgreSQL', () => {
  const postgres = sharePostgres();

  it('a push is synced, recorded and reported as with a file', async () => {
    const { stage, startOn } = await setMachineStage(postgres(), 'postgres-push');
    const runner = await startOn('one');
    const commit = await commitChange(stage.repository, ['platform/redis', 'platform/dashy'], 'A change');
    const run = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(run).toMatchObject({ revision: commit, message: '2 service(s) synced successfully' });
    const { syncs, overlaps } = await stage.journal.read();
    expect(syncs.map(({ service }) => service)).toEqual(['platform/redis', 'platform/dashy']);
    expect(overlaps).toEqual([]);
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    expect(await runner.stop()).toBe(0);
    expect(runner.output()).not.toContain('may lose');
  });

  it('two servers show and cancel each other’s runs', async () => {
    const { stage, startOn } = await setMachineStage(postgres(), 'postgres-two');
    const one = await startOn('one');
    const two = await startOn('two');
    await writeGatedService(stage.repository, 'platform/06.gated', 'open');
    await stage.repository.commit('A service that waits');
    const { runId } = await pushRun(stage, one);
    const seen = [followToEnd(one, runId), followToEnd(two, runId)];
    await stage.journal.waitForStart('platform/gated');
    for (const server of [one, two]) {
      expect(await readPage(server, `/runs/${runId}`)).toContain('platform/gated');
    }
    await openGate(stage, 'open');
    const [first, second] = await Promise.all(seen);
    expect(first?.last).toBe('end');
    expect(second).toEqual(first);
    expect((await two.waitForRun(runId, 'succeeded')).attempt).toBe(1);

    // Each server cancels a run, so one of them cancels a run that the other works on, or both do.
    for (const [index, server] of [one, two].entries()) {
      await writeGatedService(stage.repository, 'platform/06.gated', `never-${index}`);
      const cancelled = await pushRun(stage, two, 'It waits for ever');
      await stage.journal.waitForStart('platform/gated', index + 2);
      expect((await actOnRun(server, cancelled.runId, 'cancel')).status).toBe(200);
      await one.waitForRun(cancelled.runId, 'cancelled');
    }
  });

  it('a worker without a server works on the runs that a server accepted, and is shown on its page and in its metrics', async () => {
    const { stage, storeUrl, startOn } = await setMachineStage(postgres(), 'postgres-worker');
    const server = await startOn('one', { WORKER_LABELS: 'none' });
    const worker = startWorkerOn(stage, storeUrl, 'two', ['--labels', 'aws,linux', '--concurrency', '2']);
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
    const store = await createPostgresStore({ url: storeUrl });
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
});
