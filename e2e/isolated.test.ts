/** EXECUTOR=isolated: whole syncs and deployments through iac-runner exec, also as another user and through ssh. */

import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { deploymentClient, deploymentStageFor, MODULE, withoutTerraform } from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import { waitAtGate, writeShellService } from './support/hand-made-service.ts';
import { addUser, noOtherUser } from './support/other-user.ts';
import { processesMentioning } from './support/processes.ts';
import { CLI } from './support/program.ts';
import { readLog } from './support/pushed-run.ts';
import { acceptedRun, actOnRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { runProgram } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { openGate } from './support/shared-stage.ts';
import { noSshd, startSshHost } from './support/sshd.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const EXEC = [process.execPath, CLI, 'exec'];
const SERVICE = 'platform/06.isolated';

const SECRETS = ['e2e-webhook-secret', 'e2e-github-token', 'e2e-admin-token', 'agent.sock'];

/** Starts a server with a service whose sync is this shell script. */
async function serve(stage: Stage, script: string, environment: Record<string, string> = {}) {
  await writeShellService(stage.repository, SERVICE, script);
  await stage.repository.commit('Isolated');
  const runner = await stage.start({ environment: { EXECUTOR: 'isolated', ...environment } });
  const runId = acceptedRun(await stage.push(runner));
  return { runner, runId };
}

async function waitForLog(runner: Runner, runId: string, text: string): Promise<void> {
  await until(`${text} in the log`, async () =>
    (await readLog(runner, runId)).includes(text) ? true : null,
  );
}

function commandsOf(stage: Stage): Promise<string[]> {
  return processesMentioning(stage.folder).then((found) => found.map(({ command }) => command));
}

describe('A sync with EXECUTOR=isolated', () => {
  it('F42: runs its tasks through another process, with their own environment, result and live log', async () => {
    const stage = await setTestStage('isolated-sync');
    const { runner, runId } = await serve(
      stage,
      `echo started; ${waitAtGate('isolated')}; env; tr '\\0' '\\n' < /proc/$PPID/environ
       tr '\\0' ' ' < /proc/$PPID/cmdline; echo
       printf '{"action":"updated","details":"by hand"}' > "$IAC_RESULT_FILE"`,
      { SSH_AUTH_SOCK: '/nowhere/agent.sock', VAULT_APP_TOKEN: 'vault-CANARY' },
    );
    await waitForLog(runner, runId, 'started');
    await openGate(stage, 'isolated');
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.steps).toContainEqual(
      expect.objectContaining({ id: 'platform/isolated', state: 'succeeded', message: 'Updated: by hand' }),
    );
    const log = await readLog(runner, runId);
    expect(log).toContain('IAC_SERVICE=platform/isolated');
    expect(log).toContain('VAULT_APP_TOKEN=****');
    for (const secret of [...SECRETS, 'CANARY']) expect(log).not.toContain(secret);
    expect(await processesMentioning(stage.folder)).toHaveLength(1);
    expect(await runner.stop()).toBe(0);
  });

  it('can be cancelled, and leaves nothing behind', async () => {
    const stage = await setTestStage('isolated-cancel');
    const { runner, runId } = await serve(stage, 'echo started; setsid sleep 600 & sleep 600');
    await waitForLog(runner, runId, 'started');
    expect((await actOnRun(runner, runId, 'cancel')).status).toBe(200);
    await runner.waitForRun(runId, 'cancelled');
    expect(await processesMentioning(stage.folder)).toHaveLength(1);
  });

  it('ends as errored when its executor is killed, says so, and leaves nothing behind', async () => {
    const stage = await setTestStage('isolated-killed');
    const { runner, runId } = await serve(stage, 'echo started; sleep 600');
    await waitForLog(runner, runId, 'started');
    const executor = (await processesMentioning(stage.folder)).find(({ command }) =>
      /exec --stream/.test(command),
    );
    process.kill(executor?.pid ?? 0, 'SIGKILL');
    const run = await runner.waitForRun(runId, 'errored');
    expect(run).toMatchObject({
      reason: 'executor_lost',
      message: 'The executor was killed by SIGKILL before it reported how the command ended',
      next_action: expect.stringContaining('EXECUTOR_COMMAND'),
    });
    expect(await processesMentioning(stage.folder)).toHaveLength(1);
  });

  it("says at the server's start that it isolates no user, and refuses pull requests and deployments by operators", async () => {
    const stage = await setTestStage('isolated-nobody');
    const runner = await stage.start({ environment: { EXECUTOR: 'isolated' } });
    expect(runner.logs()).toContainEqual(
      expect.objectContaining({
        level: 40,
        msg: expect.stringMatching(/^EXECUTOR=isolated .* isolates no user/),
      }),
    );
    const response = await fetch(`${runner.url}/deploy`, {
      method: 'POST',
      headers: { authorization: `Bearer ${API_TOKENS.operator}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        tool: 'terraform',
        git_url: 'https://github.com/acme/infra.git',
        git_ref: 'main',
      }),
    });
    expect([response.status, await response.text()]).toEqual([
      403,
      expect.stringContaining('TRUST_OPERATORS'),
    ]);
    expect(await runner.stop()).toBe(0);
    const { exitCode, stderr } = await runProgram(['serve'], {
      ...stage.runnerOptions,
      environment: { EXECUTOR: 'isolated', PLANS: 'true' },
    });
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('TRUST_PULL_REQUEST_AUTHORS')]);
  });

  it('F25: is ended with its server, and run again by the next one', async () => {
    const stage = await setTestStage('isolated-crash');
    const { runner, runId } = await serve(stage, `echo started $$; ${waitAtGate('isolated')}`);
    await waitForLog(runner, runId, 'started');
    await runner.kill();
    await until('the end of all its processes', async () =>
      (await commandsOf(stage)).length === 0 ? true : null,
    );
    await openGate(stage, 'isolated');
    const next = await stage.start({ environment: { EXECUTOR: 'isolated' } });
    const run = await next.waitForRun(runId, 'succeeded');
    expect(run.attempt).toBe(2);
  });

  it('F32: keeps its tasks within their limits', async () => {
    const stage = await setTestStage('isolated-limits');
    const { runner, runId } = await serve(stage, 'ulimit -n; while :; do :; done', {
      STEP_CPU_SECONDS: '2',
      STEP_OPEN_FILES: '100',
    });
    const run = await runner.waitForRun(runId, 'failed');
    expect(run.steps).toContainEqual(expect.objectContaining({ message: 'Killed by SIGXCPU' }));
    expect(await readLog(runner, runId)).toContain('100');
  });

  it('says in /ready when its executor cannot be reached, and fails each run with the reason', async () => {
    const stage = await setTestStage('isolated-nowhere');
    const { runner, runId } = await serve(stage, 'echo never', {
      EXECUTOR_COMMAND: '/nowhere/iac-runner exec',
    });
    const run = await runner.waitForRun(runId, 'errored');
    expect(run.reason).toBe('executor_lost');
    expect(run.message).toContain('/nowhere/iac-runner was not found');
    const { status, body } = await runner.getJson('/ready', null);
    expect(status).toBe(503);
    expect(JSON.stringify(body)).toMatch(/task_runner.*EXECUTOR_COMMAND/);
  });

  it('asks an executor that never answers once at a time, and ends it with the server', async () => {
    const stage = await setTestStage('isolated-silent');
    const [silent, deployments] = [join(stage.folder, 'silent'), join(stage.folder, 'deployments')];
    const asked = join(stage.folder, 'asked');
    await writeFile(silent, `#!/bin/sh\nhead -n 1 >> ${asked}\nexec sleep 600\n`, { mode: 0o755 });
    await mkdir(deployments);
    await chmod(deployments, 0o2750);
    const runner = await stage.start({
      environment: { EXECUTOR: 'isolated', EXECUTOR_COMMAND: silent, DEPLOY_DIR: deployments },
    });
    for (let poll = 0; poll < 2; poll += 1) {
      const { status, body } = await runner.getJson('/ready', null);
      expect({ status, body }).toMatchObject({
        status: 503,
        body: { checks: { step_folders: { problem: 'The check did not answer in time.' } } },
      });
    }
    // /ready has asked the executor once, however often it was called, and the server asks once when it starts.
    const copies = async () => (await readFile(asked, 'utf8')).match(/"cp","\/dev\/null"/g) ?? [];
    await until('both requests', async () => ((await copies()).length >= 2 ? true : null));
    expect(await runner.stop()).toBe(0);
    expect(await copies()).toHaveLength(2);
    // The server has sent them the signal, and waits for them for a moment only.
    await until('the executors to end', async () =>
      (await processesMentioning(stage.folder)).length === 0 ? true : null,
    );
    expect(runner.logs().filter(({ msg }) => String(msg).startsWith('any deployment'))).toEqual([]);
  });

  it('F1: is needed for EXECUTOR_COMMAND: without it, the server does not start', async () => {
    const stage = await setTestStage('isolated-refused');
    const { exitCode, stderr } = await runProgram(['serve'], {
      ...stage.runnerOptions,
      environment: { EXECUTOR_COMMAND: 'sudo -u runner iac-runner exec' },
    });
    expect([exitCode, stderr]).toEqual([3, expect.stringContaining('EXECUTOR is not isolated')]);
  });
});

const noUser = noOtherUser();

describeUnless(noUser, 'An executor as another local user', () => {
  it('F42: runs the tasks of a whole sync, and cannot see the server or its keys', async () => {
    const { uid, become } = addUser();
    const stage = await setTestStage('isolated-user');
    await chmod(stage.folder, 0o711);
    await mkdir(join(stage.folder, 'state'));
    await chmod(join(stage.folder, 'state'), 0o777);
    const { runner, runId } = await serve(
      stage,
      `echo "uid $(id -u)"; cat ${join(stage.folder, 'data/iac-runner.db')} || echo no database
       for pid in /proc/[0-9]*; do cat $pid/environ; done 2>/dev/null | tr '\\0' '\\n' | grep -c "^WEBHOOK_SECRET=" || echo no secret
       printf '{"action":"created"}' > "$IAC_RESULT_FILE"; ${waitAtGate('user')}`,
      { EXECUTOR_COMMAND: [...become, ...EXEC].join(' ') },
    );
    await waitForLog(runner, runId, `uid ${uid}`);
    await openGate(stage, 'user');
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.steps).toContainEqual(
      expect.objectContaining({ id: 'platform/isolated', message: 'Created' }),
    );
    const log = await readLog(runner, runId);
    expect(log).toContain('no database');
    expect(log).toContain('no secret');
    await runner.stop();
  });

  it('ends a cancelled sync with all its processes', async () => {
    const { uid, become } = addUser();
    const stage = await setTestStage('isolated-user-cancel');
    await chmod(stage.folder, 0o711);
    const { runner, runId } = await serve(stage, 'echo "uid $(id -u)"; setsid sleep 600 & sleep 600', {
      EXECUTOR_COMMAND: [...become, ...EXEC].join(' '),
    });
    await waitForLog(runner, runId, `uid ${uid}`);
    await actOnRun(runner, runId, 'cancel');
    await runner.waitForRun(runId, 'cancelled');
    expect(await processesMentioning(stage.folder)).toHaveLength(1);
  });
});

const noServer = noSshd();

describeUnless(noServer, 'An executor on another host, by ssh', () => {
  it('runs the tasks of a whole sync, live, and stops them on a cancel', async () => {
    const stage = await setTestStage('isolated-ssh');
    const ssh = await startSshHost(join(stage.folder, 'ssh'));
    const { runner, runId } = await serve(
      stage,
      `echo started; ${waitAtGate('ssh')}; env; printf '{"action":"created"}' > "$IAC_RESULT_FILE"`,
      { EXECUTOR_COMMAND: [...ssh, ...EXEC].join(' ') },
    );
    await waitForLog(runner, runId, 'started');
    await openGate(stage, 'ssh');
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.steps).toContainEqual(
      expect.objectContaining({ id: 'platform/isolated', message: 'Created' }),
    );
    const log = await readLog(runner, runId);
    for (const secret of SECRETS) expect(log).not.toContain(secret);

    await rm(join(stage.folder, 'state/gate-ssh'));
    const again = acceptedRun(
      await runner.signedPost('/sync', { services: ['platform/isolated'], force: true }),
    );
    await waitForLog(runner, again, 'started');
    await actOnRun(runner, again, 'cancel');
    const cancelled = await runner.waitForRun(again, 'cancelled');
    expect(cancelled.steps[0]?.message).toBe('Ended before it was done');
    await until('the end of the task', async () =>
      (await commandsOf(stage)).some((command) => command.includes('sync.sh')) ? null : true,
    );
  });

  it('whose connection breaks in the middle ends the task there, and the run here', async () => {
    const stage = await setTestStage('isolated-cut-off');
    const ssh = await startSshHost(join(stage.folder, 'ssh'));
    const { runner, runId } = await serve(stage, 'echo started; sleep 600', {
      EXECUTOR_COMMAND: [...ssh, ...EXEC].join(' '),
    });
    await waitForLog(runner, runId, 'started');
    const client = (await processesMentioning(stage.folder)).find(({ command }) =>
      command.startsWith('ssh '),
    );
    process.kill(client?.pid ?? 0, 'SIGKILL');
    expect((await runner.waitForRun(runId, 'errored')).reason).toBe('executor_lost');
    await until('the end of the task', async () => ((await commandsOf(stage)).length === 1 ? true : null));
  });
});

const noTerraform = withoutTerraform();

describeUnless(noTerraform, 'A deployment with EXECUTOR=isolated', () => {
  it('is planned, approved and applied; a cancelled apply saves its state first', async (context) => {
    const stage = await deploymentStageFor(context, 'isolated-deploy');
    await stage.commit({
      'main.tf': MODULE,
      'slow/main.tf':
        'resource "terraform_data" "x" {\n provisioner "local-exec" {\n command = "echo started; exec sleep 300"\n }\n}\n',
    });
    const runner = await stage.serve({
      EXECUTOR: 'isolated',
      SSH_AUTH_SOCK: '/nowhere/agent.sock',
      PLAN_CHECKS: '[{"name":"env","command":"env","required":true}]',
    });
    const api = deploymentClient(() => runner, stage.gitUrl);
    const id = await api.start({ env_vars: { MY_TOKEN: 'env-secret-CANARY' } });
    const planned = await api.waitForState(id, 'awaiting_approval');
    expect(planned.plan_output).toContain('hello nobody');
    expect(planned.plan_log).toContain('\u001b[');
    await api.approve(id);
    const done = await api.waitForState(id, 'success');
    expect(done.apply_log).toContain('Apply complete! Resources: 1 added');
    expect(JSON.parse(done.apply_output ?? '')).toMatchObject({ greeting: { value: 'hello nobody' } });
    const log = await readLog(runner, id);
    for (const secret of [...SECRETS, 'CANARY']) expect(log).not.toContain(secret);

    const slow = await api.start({ path: 'slow', auto_approve: true });
    await api.waitFor(slow, 'applying', (seen) => seen.apply_log?.includes('started') === true);
    await api.cancel(slow);
    const cancelled = await api.waitForState(slow, 'cancelled');
    expect(cancelled.apply_log).toContain('Interrupt received');
    expect(cancelled.apply_log).not.toContain('Two interrupts');
    await until('the end of the tool', async () =>
      (await commandsOf(stage)).some((command) => command.startsWith('terraform')) ? null : true,
    );
  });
});
