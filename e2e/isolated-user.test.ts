/**
 * EXECUTOR_COMMAND as another local user, by sudo, of a server that does not run as root: what this user can and
 * cannot do.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdir, rename, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished, type TestContext } from 'vitest';
import {
  type DeploymentStage,
  deploymentClient,
  deploymentStageFor,
  GIT_PASSWORD,
  GIT_USER,
  MODULE,
  withoutTerraform,
} from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import { setJobStage, withoutRedis } from './support/jobs.ts';
import { addServerAndSteps, allowSudo, noOtherUser, type ServerAndSteps } from './support/other-user.ts';
import { processesMentioning } from './support/processes.ts';
import { CLI } from './support/program.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { readLog } from './support/pushed-run.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { until } from './support/until.ts';

const PROGRAM = [process.execPath, CLI];

interface UserStage extends ServerAndSteps {
  stage: DeploymentStage;
  deployments: string;
  serve(environment?: Record<string, string>): Promise<Runner>;
}

/** The `mode` of DEPLOY_DIR; null if the folder does not exist. */
async function setUserStage(context: TestContext, name: string, mode: number | null = 0o2750) {
  const users = addServerAndSteps();
  const stage = await deploymentStageFor(context, name);
  await chmod(stage.folder, 0o711);
  for (const part of ['workspace', 'data', 'home', 'tmp', 'state']) {
    await makeFolderOf(users, join(stage.folder, part), part === 'data' ? 0o700 : 0o755);
  }
  const deployments = join(stage.folder, 'deployments');
  if (mode !== null) await makeFolderOf(users, deployments, mode);
  else await makeFolderOf(users, join(stage.folder, 'mine'), 0o755);
  const sudo = allowSudo(users.server, users.steps, [...PROGRAM, 'exec']);
  const result: UserStage = {
    ...users,
    stage,
    deployments,
    serve: (environment = {}) =>
      stage.start({
        program: [...users.server.become, ...PROGRAM, 'serve'],
        environment: {
          EXECUTOR: 'isolated',
          EXECUTOR_COMMAND: sudo.join(' '),
          DEPLOY_DIR: mode === null ? join(stage.folder, 'mine/deployments') : deployments,
          GIT_REPO_URL: `http://${GIT_USER}:${GIT_PASSWORD}@${stage.gitServer.address}`,
          GIT_ALLOWED_PROTOCOLS: 'http,https,ssh',
          GIT_ALLOWED_HOSTS: '127.0.0.1',
          TOOLS_DIR: join(stage.folder, 'tools'),
          CANCEL_GRACE: '5',
          ...environment,
        },
      }),
  };
  return result;
}

async function makeFolderOf({ server, group }: ServerAndSteps, folder: string, mode: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  await chown(folder, server.uid, (mode & 0o2000) === 0 ? server.gid : group);
  await chmod(folder, mode);
}

/** Runs a line of shell as one of the users. */
function shellAs({ become }: { become: readonly string[] }, line: string) {
  const [program = '', ...args] = [...become, 'sh', '-c', line];
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: '/' });
  return { status, output: `${stdout}${stderr}` };
}

function modeOf(file: string): string {
  return (lstatSync(file).mode & 0o7777).toString(8);
}

/** A pattern that matches the password, but not itself. */
const PASSWORD = GIT_PASSWORD.replace(/(.)$/, '[$1]');

/** Looks for everything that only the server may see, by every means that a step has. */
function snoop({ folder }: { folder: string }): string {
  return `echo "I am $(id -un)"
    cat ${folder}/data/* ${folder}/data/*/* 2>&1 | head -c 300 | grep -v "ermission denied" && echo got data
    for pid in /proc/[0-9]*; do cat $pid/environ; done 2>/dev/null | tr '\\0' '\\n' | grep -e "^WEBHOOK_SECRET=" -e ${PASSWORD} && echo got secrets
    cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep ${PASSWORD} && echo got password
    grep -rs ${PASSWORD} ${folder} && echo got file
    echo looked around`;
}

function expectNothingSeen(log: string, { steps }: ServerAndSteps): void {
  expect(log).toContain(`I am ${steps.name}`);
  expect(log).toContain('looked around');
  for (const found of ['got ', WEBHOOK_SECRET, GIT_PASSWORD]) expect(log).not.toContain(found);
}

const missing = noOtherUser('sudo') ?? withoutTerraform();

describeUnless(missing, 'An executor as another local user, by sudo', () => {
  it('F42: runs the tasks of a sync, and sees nothing of the server', async (context) => {
    const users = await setUserStage(context, 'user-sync');
    const { stage } = users;
    const task = '@task\ndef sync(_c):\n    os.execvp("sh", ["sh", "platform/06.isolated/sync.sh"])\n';
    const commit = await stage.commit({
      'tasks.py': readFileSync(join(PROJECT_ROOT, 'examples/platform/tasks.py'), 'utf8'),
      'platform/06.isolated/deploy.py': `import os\nfrom invoke import task\n\n\n${task}`,
      'platform/06.isolated/sync.sh': `${snoop(stage)}\necho commit $(git rev-parse HEAD)\nprintf '{"action":"created"}' > "$IAC_RESULT_FILE"\n`,
    });
    const runner = await users.serve();
    const runId = acceptedRun(await runner.signedPost('/sync', { services: ['platform/isolated'] }));
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run.steps[0]?.message).toBe('Created');
    const log = await readLog(runner, runId);
    expectNothingSeen(log, users);
    expect(log).toContain(`commit ${commit}`);
    const ready = await until('a ready server', async () => {
      const answer = await runner.getJson('/ready', null);
      return answer.status === 200 ? answer : null;
    });
    expect(ready.body).toMatchObject({ checks: { step_folders: { status: 'ok' } } });
    await until('an empty DEPLOY_DIR', async () =>
      readdirSync(users.deployments).every((name) => name.startsWith('.')) ? true : null,
    );
    expect(await runner.stop()).toBe(0);
  });

  it('F42: plans and applies a deployment, and cannot change the approved plan', async (context) => {
    const users = await setUserStage(context, 'user-deploy');
    const { stage, deployments, server, steps } = users;
    const command = `sh ./snoop.sh; git log -1 --format='commit %H'; echo files $(ulimit -n)`;
    const commit = await stage.commit({
      'net/main.tf': `${MODULE}\nresource "terraform_data" "look" {\n provisioner "local-exec" {\n command = "${command}"\n }\n}\n`,
      'net/snoop.sh': snoop(stage),
      'net/prod.tfvars': 'name = "users"\n',
    });
    const runner = await users.serve({
      PLAN_CHECKS: '[{"name":"reads","command":"grep -c resource_changes {plan}","required":true}]',
      STEP_OPEN_FILES: '200',
    });
    const api = deploymentClient(() => runner, stage.gitUrl);
    const id = await api.start({
      path: 'net',
      tfvars_files: ['prod.tfvars'],
      env_vars: { MY_TOKEN: 'env-secret-CANARY' },
    });
    const planned = await api.waitForState(id, 'awaiting_approval');
    expect(planned.plan_output).toContain('hello users');

    const folder = join(deployments, id);
    expect(readdirSync(folder).sort()).toEqual(['checkout', 'data', 'home', 'tfplan', 'tmp']);
    expect(['', 'tfplan', 'checkout', 'checkout/.git'].map((name) => modeOf(join(folder, name)))).toEqual([
      '2750',
      '640',
      '2770',
      '2770',
    ]);
    expect(lstatSync(join(folder, 'tfplan')).uid).toBe(server.uid);
    const plan = readFileSync(join(folder, 'tfplan'));
    for (const line of [
      'echo x > tfplan',
      'rm -f tfplan',
      'mv checkout elsewhere',
      'ln -s /etc/passwd cli.tfrc',
    ]) {
      expect(shellAs(steps, `cd ${folder} && ${line}`)).toMatchObject({
        output: expect.stringContaining('ermission denied'),
      });
    }
    expect(readFileSync(join(folder, 'tfplan')).equals(plan)).toBe(true);

    await api.approve(id);
    const done = await api.waitForState(id, 'success');
    expect(JSON.parse(done.apply_output ?? '')).toMatchObject({ greeting: { value: 'hello users' } });
    const log = await readLog(runner, id);
    expectNothingSeen(log, users);
    expect(log).toContain(`commit ${commit}`);
    expect(log).toContain('files 200');
    expect(log).not.toContain('CANARY');
    expect(lstatSync(join(folder, 'checkout/net/terraform.tfstate')).uid).toBe(steps.uid);
    expect(await runner.stop()).toBe(0);

    // A server removes an old folder that belongs to no run soon after its start, no matter what it contains or who
    // created it.
    const canary = join(stage.folder, 'data/canary');
    writeFileSync(canary, 'kept');
    const planted = `mkdir -p deep/er && echo x > deep/er/file && chmod 500 deep/er && ln -s ${stage.folder}/data data-link && ln -s ${canary} file-link`;
    expect(shellAs(steps, `cd ${folder}/checkout && ${planted}`)).toEqual({ status: 0, output: '' });
    const orphan = join(deployments, id.replace(/^......../, '00000000'));
    await rename(folder, orphan);
    await utimes(orphan, 0, 0);
    const next = await users.serve();
    await until('the folder to go', async () => (existsSync(orphan) ? null : true));
    expect(readFileSync(canary, 'utf8')).toBe('kept');
    await next.stop();
  });

  it('ends a cancelled deployment, whose tool gets a chance to save its state', async (context) => {
    const users = await setUserStage(context, 'user-cancel');
    const { stage } = users;
    await stage.commit({
      'main.tf':
        'resource "terraform_data" "x" {\n provisioner "local-exec" {\n command = "echo started; setsid sleep 300 & exec sleep 300"\n }\n}\n',
    });
    const runner = await users.serve();
    const api = deploymentClient(() => runner, stage.gitUrl);
    const id = await api.start({ auto_approve: true });
    await api.waitFor(id, 'applying', (seen) => seen.apply_log?.includes('started') === true);
    await api.cancel(id);
    const cancelled = await api.waitForState(id, 'cancelled');
    expect(cancelled.apply_log).toContain('Interrupt received');
    expect(cancelled.apply_log).not.toContain('Two interrupts');
    await until('nothing but the server', async () =>
      (await processesMentioning(stage.folder)).length === 1 ? true : null,
    );
  });

  it('F38: cannot redirect the server by links in place of the files that it reads', async (context) => {
    const users = await setUserStage(context, 'user-links');
    const { stage } = users;
    const secret = join(stage.folder, 'data/secret');
    writeFileSync(secret, 'server-secret-CANARY');
    await chown(secret, users.server.uid, users.server.gid);
    await chmod(secret, 0o600);
    const outOf = `for word in "$@"; do case $word in -out=*) out=\${word#-out=};; esac; done`;
    await stage.addTool(
      '1.0.1',
      `${outOf}\nif [ "$1" = plan ]; then ln -s ${secret} "$out"; exit; fi\nexec $REAL "$@"`,
    );
    await stage.addTool(
      '1.0.2',
      `${outOf}\nif [ "$1" = plan ]; then mkfifo "$out"; exit; fi\nexec $REAL "$@"`,
    );
    await stage.addTool(
      '1.0.3',
      `$REAL "$@" || exit\nif [ "$1 $2" = "show -json" ]; then rm -f .terraform.lock.hcl; ln -s ${secret} .terraform.lock.hcl; fi`,
    );
    await stage.commit({ 'main.tf': MODULE });
    const runner = await users.serve();
    const api = deploymentClient(() => runner, stage.gitUrl);
    for (const [version, problem] of [
      ['1.0.1', '"tfplan" is a link.'],
      ['1.0.2', '"tfplan" is not a plain file with only one name.'],
    ]) {
      const failed = await api.waitForState(await api.start({ tool_version: version }), 'failed');
      expect(failed.error).toContain(`the plan file cannot be used: ${problem}`);
    }
    const kept = await api.start({ tool_version: '1.0.3' });
    await api.waitForState(kept, 'awaiting_approval');
    await runner.stop();
    // The checkout was made again from the stored commit, and not from the target of the link.
    await rename(join(users.deployments, kept), join(stage.folder, 'moved-away'));
    const next = await users.serve();
    const again = deploymentClient(() => next, stage.gitUrl);
    await again.approve(kept);
    await again.waitForState(kept, 'success');
    const lockFile = shellAs(users.steps, `cat ${users.deployments}/${kept}/checkout/.terraform.lock.hcl`);
    expect(lockFile.output).not.toContain('CANARY');
    expect(readFileSync(secret, 'utf8')).toBe('server-secret-CANARY');
    await next.stop();
  });

  it('that cannot enter DEPLOY_DIR is reported at the start, and by each deployment', async (context) => {
    const users = await setUserStage(context, 'user-refused', null);
    await users.stage.commit({ 'main.tf': MODULE });
    const runner = await users.serve();
    const warning = await until('a warning', async () =>
      runner
        .logs()
        .find(({ msg }) => msg === 'any deployment or plan would fail; syncs do not need DEPLOY_DIR'),
    );
    expect(warning.problem).toMatch(
      /cannot work below DEPLOY_DIR .*: Permission denied.*install -d -m 2750 -o/,
    );
    const api = deploymentClient(() => runner, users.stage.gitUrl);
    const failed = await api.waitForState(await api.start(), 'failed');
    expect(failed.error).toMatch(/EACCES.*check their permissions/);
    await runner.stop();
  });

  it('that is not in the group of DEPLOY_DIR makes the server not ready', async (context) => {
    const users = await setUserStage(context, 'user-stranger');
    await chown(users.deployments, users.server.uid, users.server.gid);
    await chmod(users.deployments, 0o2750);
    const runner = await users.serve();
    const { status, body } = await runner.getJson('/ready', null);
    expect(status).toBe(503);
    expect(JSON.stringify(body)).toMatch(
      /step_folders.*cannot work below DEPLOY_DIR.*Add that user to the group/,
    );
    await runner.stop();
  });
});

const missingForJobs = noOtherUser('sudo') ?? withoutRedis;

describeUnless(missingForJobs, 'An agent as another local user', () => {
  async function setUp(name: string, mode: number) {
    const users = addServerAndSteps();
    const stage = await setJobStage(name);
    onTestFinished(({ task }) => stage.close({ keep: task.result?.state === 'fail' }));
    await chmod(stage.folder, 0o711);
    for (const part of ['home', 'tmp', 'data']) await makeFolderOf(users, join(stage.folder, part), 0o700);
    await makeFolderOf(users, stage.tempDir, mode);
    const sudo = allowSudo(users.server, users.steps, [...PROGRAM, 'exec']);
    const agent = await stage.writeAgent(
      'cat > ../$IAC_JOB_ID/.prompt; . ./.prompt; status=$?; rm -f .prompt; exit $status',
    );
    const start = () =>
      stage.startWorker(
        {
          EXECUTOR: 'isolated',
          EXECUTOR_COMMAND: sudo.join(' '),
          DATA_DIR: join(stage.folder, 'data'),
          AGENT_COMMAND: agent,
        },
        users.server.become,
      );
    return { ...users, stage, start };
  }

  it('F42: works on a job, sees nothing of the worker, and leaves nothing behind', async () => {
    const users = await setUp('user-jobs', 0o2750);
    const { stage } = users;
    const secret = join(stage.folder, 'data/secret');
    writeFileSync(secret, 'worker-secret-CANARY');
    await chown(secret, users.server.uid, users.server.gid);
    await chmod(secret, 0o600);
    const worker = await users.start();
    const prompt = `echo "I am $(id -un)"; git status --short; git rev-parse HEAD
      for pid in /proc/[0-9]*; do cat $pid/environ; done 2>/dev/null | tr '\\0' '\\n' | grep "^ENCRYPTION_KEY=" && echo got key
      cat ${secret} ; ls ${stage.folder}/data
      mkdir -p new/locked ignored && echo hello > new/file && chmod 755 new/file && echo x > ignored/x && echo x > new/locked/x && chmod 500 new/locked
      ln -s ${secret} leak; ln -s ${stage.folder}/data leaks; mkfifo pipe; echo four >> README.md
      git -c user.name=x -c user.email=x@y commit -qam mine`;
    const { id } = await stage.job({ prompt });
    const hash = await stage.ended(id);
    const lines = (await stage.lines(id)).join('\n');
    expect(`${hash.status} ${hash.error_message}\n${lines}`).toMatch(/^success/);
    expect(lines).toContain(`I am ${users.steps.name}`);
    expect(lines).toContain('cannot open directory');
    for (const text of ['got ', 'CANARY', 'dubious']) expect(lines).not.toContain(text);
    const branch = `repobox/${id.slice(0, 8)}`;
    expect(
      (await stage.git('ls-tree', '-r', branch)).split('\n').map((line) => line.replace(/ .*\t/, ' ')),
    ).toEqual([
      '100644 .gitignore',
      '100644 README.md',
      '120000 leak',
      '120000 leaks',
      '100755 new/file',
      '100644 new/locked/x',
    ]);
    expect(await stage.git('show', `${branch}:leak`)).toBe(secret);
    expect(await stage.git('log', '--format=%s', `main..${branch}`)).toMatch(/^repobox: echo "I am/);
    await until('the folders to go', async () => (readdirSync(stage.tempDir).length === 0 ? true : null));
    expect(readdirSync(join(stage.folder, 'data/jobs/scratch'))).toEqual([]);
    expect(readFileSync(secret, 'utf8')).toBe('worker-secret-CANARY');

    const cancelled = await stage.job({ prompt: 'echo started; setsid sleep 300 & sleep 300' });
    await until('the agent', async () =>
      (await stage.lines(cancelled.id)).includes('started') ? true : null,
    );
    await stage.redis.hset(`job:${cancelled.id}`, 'status', 'cancelled');
    await until('nothing but the worker', async () => {
      const commands = (await processesMentioning(cancelled.id)).map(({ command }) => command);
      return commands.length === 0 && readdirSync(stage.tempDir).length === 0 ? true : null;
    });
    expect(await worker.stop()).toBe(0);
  });

  it('that cannot enter TEMP_DIR keeps the worker from starting', async () => {
    const users = await setUp('user-jobs-refused', 0o700);
    await expect(users.start()).rejects.toThrow(/cannot work below TEMP_DIR .*install -d -m 2750/s);
  });
});
