/**
 * EXECUTOR_COMMAND on other machines: deployments by ssh, a machine seen from inside a container, one without
 * prlimit.
 */

import { spawnSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { deploymentClient, deploymentStageFor, MODULE, withoutTerraform } from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import { waitAtGate, writeShellService } from './support/hand-made-service.ts';
import { processesMentioning } from './support/processes.ts';
import { CLI } from './support/program.ts';
import { readLog } from './support/pushed-run.ts';
import { acceptedRun, actOnRun } from './support/run-actions.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { openGate } from './support/shared-stage.ts';
import { noSshd, startSshHost } from './support/sshd.ts';
import type { Stage } from './support/stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const PROGRAM = [process.execPath, CLI];
const EXEC = [...PROGRAM, 'exec'];

/** Pushes a service whose sync is this shell script. */
async function push(stage: Stage, script: string, environment: Record<string, string>) {
  await writeShellService(stage.repository, 'platform/06.isolated', script);
  await stage.repository.commit('Isolated');
  const runner = await stage.start({ environment: { EXECUTOR: 'isolated', ...environment } });
  return { runner, runId: acceptedRun(await stage.push(runner)) };
}

function onlyTheServer(stage: Stage): Promise<true> {
  return until('nothing but the server', async () =>
    (await processesMentioning(stage.folder)).length === 1 ? true : null,
  );
}

const noSsh = noSshd() ?? withoutTerraform();

describeUnless(noSsh, 'A deployment on another host, by ssh', () => {
  it('is planned, approved and applied; a cancelled deployment saves its state first', async (context) => {
    const stage = await deploymentStageFor(context, 'elsewhere-ssh');
    const ssh = await startSshHost(join(stage.folder, 'ssh'));
    const slow = 'command = "echo started; setsid sleep 300 & exec sleep 300"';
    await stage.commit({
      'main.tf': MODULE,
      'slow/main.tf': `resource "terraform_data" "x" {\n provisioner "local-exec" {\n ${slow}\n }\n}\n`,
    });
    const runner = await stage.serve({
      EXECUTOR: 'isolated',
      EXECUTOR_COMMAND: [...ssh, ...EXEC].join(' '),
      PLAN_CHECKS: '[{"name":"env","command":"env","required":true}]',
    });
    const api = deploymentClient(() => runner, stage.gitUrl);
    const id = await api.start({ env_vars: { MY_TOKEN: 'env-secret-CANARY' } });
    await api.waitForState(id, 'awaiting_approval');
    await api.approve(id);
    const done = await api.waitForState(id, 'success');
    expect(JSON.parse(done.apply_output ?? '')).toMatchObject({ greeting: { value: 'hello nobody' } });
    const log = await readLog(runner, id);
    // A step sees none of the environment of its executor.
    for (const text of ['SSH_CONNECTION', 'CANARY', WEBHOOK_SECRET]) expect(log).not.toContain(text);

    const cancelled = await api.start({ path: 'slow', auto_approve: true });
    await api.waitFor(cancelled, 'applying', (seen) => seen.apply_log?.includes('started') === true);
    await api.cancel(cancelled);
    const seen = await api.waitForState(cancelled, 'cancelled');
    expect(seen.apply_log).toContain('Interrupt received');
    expect(seen.apply_log).not.toContain('Two interrupts');
    await onlyTheServer(stage);
  });
});

/** Returns null if this machine can create the namespaces that a container has, else why not. */
function noNamespaces(): string | null {
  const { status } = spawnSync('unshare', [...NAMESPACES, 'true']);
  return status === 0 ? null : 'namespaces cannot be made';
}

const NAMESPACES = ['--mount', '--pid', '--net', '--fork', '--kill-child', '--mount-proc'];
const noPlace = noNamespaces();

describeUnless(noPlace, 'An executor with its own process namespace', () => {
  it("runs the tasks of a sync, sees none of the server's processes, and is emptied by a cancel", async () => {
    const stage = await setTestStage('elsewhere-container');
    const script = `echo started as $$; ls -d /proc/[0-9]* | wc -l
      cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep "^WEBHOOK_SECRET=" && echo got secrets
      ${waitAtGate('place')}; setsid sleep 600 & [ -e "$IAC_EXAMPLE_STATE/gate-stay" ] && sleep 600
      printf '{"action":"created"}' > "$IAC_RESULT_FILE"`;
    const { runner, runId } = await push(stage, script, {
      EXECUTOR_COMMAND: ['unshare', ...NAMESPACES, ...EXEC].join(' '),
    });
    await until('the start of the task', async () =>
      (await readLog(runner, runId)).includes('started') ? true : null,
    );
    await openGate(stage, 'place');
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.steps[0]?.message).toBe('Created');
    const log = await readLog(runner, runId);
    expect(Number(/started as (\d+)/.exec(log)?.[1])).toBeLessThan(100);
    expect(log).not.toContain('got secrets');
    await onlyTheServer(stage);

    await openGate(stage, 'stay');
    const body = { services: ['platform/isolated'], force: true };
    const again = acceptedRun(await runner.signedPost('/sync', body));
    await until('the start of the task', async () =>
      (await readLog(runner, again)).includes('started') ? true : null,
    );
    await actOnRun(runner, again, 'cancel');
    await runner.waitForRun(again, 'cancelled');
    await onlyTheServer(stage);
  });
});

describeUnless(noPlace, 'Limits where there is no prlimit', () => {
  /** A command that runs the following words in a place without prlimit. */
  async function withoutPrlimit(stage: Stage): Promise<string[]> {
    const script = join(stage.folder, 'without-prlimit');
    const hide = 'for file in $(which -a prlimit); do mount --bind /dev/null "$(realpath "$file")"; done';
    await writeFile(script, `#!/bin/sh\n${hide}\nexec "$@"\n`);
    await chmod(script, 0o755);
    return ['unshare', '--mount', script];
  }

  it('F1: keep a server from starting if it would run the steps itself', async () => {
    const stage = await setTestStage('elsewhere-limits');
    const program = [...(await withoutPrlimit(stage)), ...PROGRAM, 'serve'];
    for (const more of [{}, { EXECUTOR: 'isolated' }]) {
      const environment = { STEP_OPEN_FILES: '100', ...more };
      const started = stage.start({ program, environment }).then(
        () => 'started',
        (error: Error) => `${error.message} ${String(error.cause)}`,
      );
      expect(await started).toMatch(/need prlimit, which is not here.*Install util-linux.*exit code 3/s);
    }
    const unlimited = await stage.start({ program });
    expect(await unlimited.stop()).toBe(0);
  });

  it('fail a step that would run on another machine, and nothing of the step runs', async () => {
    const stage = await setTestStage('elsewhere-no-limits');
    const { runner, runId } = await push(stage, 'echo step ran', {
      EXECUTOR_COMMAND: [...(await withoutPrlimit(stage)), ...EXEC].join(' '),
      STEP_CPU_SECONDS: '100',
    });
    const run = await runner.waitForRun(runId, 'errored');
    expect(run.message).toContain('prlimit was not found; install util-linux');
    expect(await readLog(runner, runId)).not.toContain('step ran');
  });
});
