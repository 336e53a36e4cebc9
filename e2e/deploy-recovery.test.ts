/** Deployments under bad conditions: killed in each phase, cancelled, timed out, in a race, and many at once. */

import { existsSync } from 'node:fs';
import { appendFile, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it, onTestFinished } from 'vitest';
import {
  type DeploymentStage,
  deploymentClient,
  MODULE,
  setDeploymentStage,
  withoutTerraform,
} from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import { processesMentioning } from './support/processes.ts';
import type { Runner } from './support/runner.ts';
import { until } from './support/until.ts';

const unavailable = withoutTerraform();

/** A tool that appends its command to a file and then waits for a while in the named command. */
function slowTool(command: string, seconds: number, calls: string): string {
  return `echo "$1" >> ${calls}
if [ "$1" = ${command} ] && [ ! -e ${calls}.go ]; then touch ${calls}.slow; sleep ${seconds}; fi
exec $REAL "$@"`;
}

async function setUp(name: string, environment: Record<string, string> = {}) {
  const stage: DeploymentStage = await setDeploymentStage(name);
  onTestFinished(async ({ task }) => stage.close({ keep: task.result?.state === 'fail' }));
  await stage.commit({ 'main.tf': MODULE });
  let runner: Runner = await stage.serve(environment);
  const calls = join(stage.folder, 'calls');
  return {
    stage,
    calls,
    api: deploymentClient(() => runner, stage.gitUrl),
    runner: () => runner,
    async restart() {
      runner = await stage.serve(environment);
    },
    called: async (command: string) =>
      (await readFile(calls, 'utf8')).split('\n').filter((line) => line === command).length,
  };
}

describeUnless(unavailable, 'Deployments', () => {
  it.each(['init', 'plan'])(
    'F25: that are killed during %s are planned again and can be approved',
    async (phase) => {
      const { stage, api, calls, runner, restart } = await setUp(`deploy-kill-${phase}`);
      await stage.addTool('9.9.9', slowTool(phase, 300, calls));
      const id = await api.start({ tool_version: '9.9.9' });
      await until('the slow command', async () => existsSync(`${calls}.slow`) || null);
      await runner().kill();
      await stage.addTool('9.9.9', 'exec $REAL "$@"');
      await restart();
      // The old command has ended before a new one starts.
      expect(await processesMentioning(`${id}`)).toEqual([]);
      await api.waitForState(id, 'awaiting_approval');
      await api.approve(id);
      expect(await api.waitForState(id, 'success')).toMatchObject({ deployment_id: id });
    },
  );

  it('F25: that are killed right after they were accepted are planned and applied all the same', async () => {
    const { api, runner, restart } = await setUp('deploy-kill-accepted');
    const id = await api.start({ auto_approve: true });
    await runner().kill();
    await restart();
    await api.waitForState(id, 'success');
  });

  it.each([
    ['after an approval', false],
    ['without one', true],
  ])('F25: killed while the outputs are read, %s, apply nothing twice', async (_, auto_approve) => {
    const { stage, api, calls, runner, restart, called } = await setUp('deploy-kill-output');
    await stage.addTool('9.9.9', slowTool('output', 300, calls));
    const id = await api.start({ tool_version: '9.9.9', auto_approve });
    if (!auto_approve) {
      await api.waitForState(id, 'awaiting_approval');
      await api.approve(id);
    }
    await until('the slow command', async () => existsSync(`${calls}.slow`) || null);
    await runner().kill();
    await stage.addTool('9.9.9', slowTool('none', 0, calls));
    await restart();
    const done = await api.waitForState(id, 'success');
    expect(done.apply_output).toContain('hello nobody');
    expect(await called('apply')).toBe(1);
  });

  it('that are killed during apply end as failed and are never applied again by themselves', async () => {
    const { stage, api, calls, runner, restart, called } = await setUp('deploy-kill-apply');
    await stage.addTool('9.9.9', slowTool('apply', 300, calls));
    const id = await api.start({ tool_version: '9.9.9', auto_approve: true });
    await until('the apply', async () => existsSync(`${calls}.slow`) || null);
    await runner().kill();
    await restart();
    const failed = await api.waitForState(id, 'failed');
    expect(failed).toMatchObject({ phase: 'apply', error: expect.stringContaining('interrupted') });
    expect(await called('apply')).toBe(1);
    expect(await processesMentioning(id)).toEqual([]);
  });

  it('that wait for approval over restarts keep no process running, and then apply exactly that plan', async () => {
    const { stage, api, calls, runner, restart, called } = await setUp('deploy-wait');
    await stage.addTool('9.9.9', slowTool('none', 0, calls));
    const id = await api.start({ tool_version: '9.9.9', env_vars: { TF_VAR_name: 'kept' } });
    const before = await api.waitForState(id, 'awaiting_approval');
    expect(await processesMentioning(id)).toEqual([]);
    await runner().kill();
    await restart();
    expect(await api.status(id)).toEqual(before);
    await api.approve(id);
    const done = await api.waitForState(id, 'success');
    expect(JSON.parse(done.apply_output ?? '').greeting.value).toBe('hello kept');
    expect(await called('plan')).toBe(1);
  });

  it('apply exactly that plan also when the folder of the run is missing, as after a reboot', async () => {
    const { stage, api, calls, runner, restart, called } = await setUp('deploy-missing');
    await stage.addTool('9.9.9', slowTool('none', 0, calls));
    const id = await api.start({ tool_version: '9.9.9', env_vars: { TF_VAR_name: 'kept' } });
    await api.waitForState(id, 'awaiting_approval');
    await runner().kill();
    await rm(join(stage.folder, 'deployments', id), { recursive: true });
    await restart();
    await api.approve(id);
    const done = await api.waitForState(id, 'success');
    expect(JSON.parse(done.apply_output ?? '').greeting.value).toBe('hello kept');
    expect(await called('plan')).toBe(1);
  });

  it('apply exactly that plan also when another plan lies in its place', async () => {
    const { stage, api, calls, called } = await setUp('deploy-tampered');
    await stage.addTool('9.9.9', slowTool('none', 0, calls));
    const id = await api.start({ tool_version: '9.9.9', env_vars: { TF_VAR_name: 'kept' } });
    await api.waitForState(id, 'awaiting_approval');
    await appendFile(join(stage.folder, 'deployments', id, 'tfplan'), 'x');
    await api.approve(id);
    const done = await api.waitForState(id, 'success');
    expect(JSON.parse(done.apply_output ?? '').greeting.value).toBe('hello kept');
    expect(await called('plan')).toBe(1);
  });

  it('apply nothing when neither the disk nor the store holds the plan that was shown', async () => {
    const { stage, api, runner, restart } = await setUp('deploy-plan-lost');
    const id = await api.start();
    await api.waitForState(id, 'awaiting_approval');
    await runner().kill();
    await appendFile(join(stage.folder, 'deployments', id, 'tfplan'), 'x');
    const database = new DatabaseSync(join(stage.folder, 'data/iac-runner.db'));
    database.exec('DELETE FROM kept_plans');
    database.close();
    await restart();
    await api.approve(id);
    const failed = await api.waitForState(id, 'failed');
    expect(failed.error).toContain('plan that was shown');
    expect(failed.apply_log ?? '').toBe('');
  });

  it('that are cancelled while a command runs interrupt it first, so that the tool can save its state', async () => {
    const { stage, api } = await setUp('deploy-cancel');
    await stage.commit({
      'main.tf':
        'resource "terraform_data" "x" {\n provisioner "local-exec" {\n command = "echo started; sleep 300"\n }\n}\n',
    });
    const id = await api.start({ auto_approve: true });
    await api.waitFor(id, 'applying', (seen) => seen.apply_log?.includes('started') === true);
    expect(await api.cancel(id)).toMatchObject({ status: 200, body: { message: 'Cancellation requested' } });
    const cancelled = await api.waitForState(id, 'cancelled');
    expect(cancelled.apply_log).toContain('Interrupt received');
    await until('the end of all its processes', async () =>
      (await processesMentioning(id)).length === 0 ? true : null,
    );
    const state = await readFile(
      join(stage.folder, 'deployments', id, 'checkout', 'terraform.tfstate'),
      'utf8',
    );
    expect(JSON.parse(state)).toMatchObject({ version: 4 });
    expect(
      existsSync(join(stage.folder, 'deployments', id, 'checkout', '.terraform.tfstate.lock.info')),
    ).toBe(false);
  });

  it('can be cancelled while they wait, for their turn or for approval', async () => {
    const { api } = await setUp('deploy-cancel-waiting');
    const first = await api.start();
    await api.waitForState(first, 'awaiting_approval');
    const second = await api.start();
    expect(await api.status(second)).toMatchObject({ status: 'running', phase: 'initializing' });
    await api.cancel(second);
    expect(await api.status(second)).toMatchObject({ status: 'cancelled' });
    await api.cancel(first);
    expect(await api.status(first)).toMatchObject({ status: 'cancelled' });
  });

  it('end a command that runs longer than its time limit', async () => {
    const { stage, api, calls } = await setUp('deploy-timeout');
    await stage.addTool('9.9.9', slowTool('plan', 300, calls));
    const id = await api.start({ tool_version: '9.9.9', timeout: 1 });
    const failed = await api.waitForState(id, 'failed');
    expect(failed).toMatchObject({ phase: 'plan', error: expect.stringContaining('timed out') });
  });

  it('expire when nobody approves them in time', async () => {
    const { api } = await setUp('deploy-expire', { APPROVAL_TIMEOUT: '2' });
    const id = await api.start();
    const expired = await api.waitForState(id, 'cancelled');
    expect(expired).toMatchObject({ phase: 'plan', error: 'Nobody approved in time' });
    expect((await api.approve(id)).status).toBe(409);
  });

  it('have one outcome when approve, reject and cancel arrive at the same moment', async () => {
    const { api } = await setUp('deploy-race');
    const id = await api.start();
    await api.waitForState(id, 'awaiting_approval');
    const [approved, rejected] = await Promise.all([api.approve(id), api.reject(id), api.cancel(id)]);
    const ended = await api.waitFor(id, 'ended', ({ status }) => ['success', 'cancelled'].includes(status));
    expect([approved.status, rejected.status].filter((status) => status === 200).length).toBeLessThanOrEqual(
      1,
    );
    if (approved.status !== 200) expect(ended.status).toBe('cancelled');
  });

  it('run one after the other for one target, and four at a time for twenty targets', async () => {
    const { stage, api, calls } = await setUp('deploy-many');
    const folders = Array.from({ length: 10 }, (_, index) => `stack-${index}`);
    await stage.commit(Object.fromEntries(folders.map((folder) => [`${folder}/main.tf`, MODULE])));
    await stage.addTool(
      '9.9.9',
      `[ "$1" = init ] && { echo "+ $PWD" >> ${calls}; sleep 0.3; echo "- $PWD" >> ${calls}; }\nexec $REAL "$@"`,
    );
    const ids = await Promise.all(
      [...folders, ...folders].map((path) => api.start({ tool_version: '9.9.9', path, auto_approve: true })),
    );
    expect(new Set(ids).size).toBe(20);
    for (const id of ids) await api.waitForState(id, 'success', 180_000);
    const working = new Map<string, number>();
    let most = 0;
    for (const line of (await readFile(calls, 'utf8')).trim().split('\n')) {
      const target = line.slice(2).split('/checkout/')[1] ?? '';
      working.set(target, (working.get(target) ?? 0) + (line.startsWith('+') ? 1 : -1));
      expect(working.get(target)).toBeLessThanOrEqual(1);
      most = Math.max(
        most,
        [...working.values()].reduce((sum, count) => sum + count, 0),
      );
    }
    expect(most).toBeLessThanOrEqual(4);
  }, 240_000);

  it('run in the order of their priority', async () => {
    const { api } = await setUp('deploy-priority', { MAX_CONCURRENT_RUNS: '1' });
    const first = await api.start({ auto_approve: true });
    const low = await api.start({ auto_approve: true, priority: -1 });
    const high = await api.start({ auto_approve: true, priority: 10 });
    for (const id of [first, low, high]) await api.waitForState(id, 'success');
    const endOf = async (id: string) => Date.parse((await api.status(id)).ended_at ?? '');
    expect(await endOf(high)).toBeLessThan(await endOf(low));
  });
});
