/**
 * Deployments over HTTP with a real terraform, row by row of the contract, from the request to the applied
 * resources.
 */

import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type DeploymentStage,
  deploymentClient,
  GIT_PASSWORD,
  GIT_USER,
  MODULE,
  setDeploymentStage,
  withoutTerraform,
} from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import { type Runner, runProgram } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';

const unavailable = withoutTerraform();

describeUnless(unavailable, 'Deployments', () => {
  let stage: DeploymentStage;
  let runner: Runner;
  let commits: { first: string; main: string };
  const api = deploymentClient(
    () => runner,
    // The address is known when the stage is ready.
    '',
  );
  const start = (fields: Record<string, unknown> = {}) => api.start({ git_url: stage.gitUrl, ...fields });

  beforeAll(async () => {
    stage = await setDeploymentStage('deploy');
    const first = await stage.commit(
      { 'main.tf': MODULE, 'vars/ada.tfvars': 'name = "ada"\n' },
      { tag: 'v1' },
    );
    const main = await stage.commit({
      'stacks/other/main.tf': MODULE,
      'broken/main.tf': 'resource "terraform_data" {',
      'failing/main.tf':
        'resource "terraform_data" "x" {\n provisioner "local-exec" {\n command = "echo doomed; exit 3"\n }\n}\n',
    });
    commits = { first, main };
    runner = await stage.serve({ APPROVAL_TIMEOUT: '3600' });
  });
  afterAll(() => stage.close());

  it('are asked for, approved and followed on the command line, and nothing is destroyed by mistake', async () => {
    const client = (args: string[], token: string = API_TOKENS.admin) =>
      runProgram(args, {
        ...stage.runnerOptions,
        environment: {
          IAC_RUNNER_URL: runner.url,
          IAC_RUNNER_TOKEN: token,
          MY_TOKEN: 'env-secret-CANARY',
          GIT_PASS: GIT_PASSWORD,
        },
      });
    const target = [
      'deploy',
      stage.gitUrl,
      '--ref',
      commits.main,
      '--path',
      'stacks/other',
      '--tool',
      'terraform',
      '--git-user',
      GIT_USER,
      '--git-password',
      'GIT_PASS',
    ];
    const asked = await client([...target, '--env', 'MY_TOKEN', '--json']);
    expect(asked).toMatchObject({ exitCode: 0, stderr: '' });
    const { deployment_id: id } = JSON.parse(asked.stdout);
    await api.waitForState(id, 'awaiting_approval');
    expect(await client(['approve', id, '--follow'])).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('run succeeded'),
    });
    const careless = await client([...target, '--destroy', '--confirm', 'stacks']);
    expect(careless).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('Add --confirm stacks/other if you mean it.'),
    });
    const meant = await client([
      ...target,
      '--destroy',
      '--confirm',
      'stacks/other',
      '--auto-approve',
      '--follow',
    ]);
    expect(meant).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('run succeeded') });
    expect(await client([...target, '--env', 'NONE'])).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('The variable NONE is not set in your shell.'),
    });
    expect(await client(target, API_TOKENS.viewer)).toMatchObject({ exitCode: 4 });
  });

  it('are planned, approved and applied; status, logs and outputs are as in the contract', async () => {
    const posted = await api.post({
      git_url: stage.gitUrl,
      git_ref: commits.first,
      tfvars_files: ['vars/ada.tfvars'],
      env_vars: { TF_VAR_unused: 'x', MY_TOKEN: 'env-secret-CANARY' },
    });
    expect(posted).toMatchObject({ status: 202, body: { status: 'running', message: 'Deployment started' } });
    const id = String(posted.body.deployment_id);
    expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);

    const planned = await api.waitForState(id, 'awaiting_approval');
    expect(planned).toMatchObject({ phase: 'plan', deployment_id: id });
    expect(planned.plan_output).toContain('# terraform_data.greeting will be created');
    expect(planned.plan_output).toContain('hello ada');
    expect(planned.init_log).toContain('Terraform has been successfully initialized');
    expect(planned.plan_log).toContain('\u001b[');
    expect(planned.apply_log ?? '').toBe('');

    expect(await api.approve(id, 'operator')).toMatchObject({ status: 403 });
    expect(await api.approve(id)).toMatchObject({ status: 200, body: { message: 'Deployment approved' } });
    const done = await api.waitForState(id, 'success');
    expect(done).toMatchObject({ phase: 'completed' });
    expect(done.error ?? '').toBe('');
    expect(done.ended_at).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    expect(done.apply_log).toContain('Apply complete! Resources: 1 added');
    expect(JSON.parse(done.apply_output ?? '')).toMatchObject({
      greeting: { value: 'hello ada', sensitive: false },
      password: { sensitive: true },
    });
    expect(JSON.stringify(done)).not.toContain('CANARY');
    expect(await api.approve(id)).toMatchObject({ status: 409, body: { error: expect.any(String) } });
    expect(await api.cancel(id)).toMatchObject({
      status: 400,
      body: { error: 'Deployment already completed or cancelled' },
    });
    // The credentials of the request are in no file: not in the store, its log, the mirror or the checkout.
    expect(await filesWith(stage.folder, ['git-password-CANARY', 'env-secret-CANARY'])).toEqual([]);
  });

  it.each([
    ['a branch', () => 'main'],
    ['a tag', () => 'v1'],
    ['a commit', () => commits.main],
  ])('take %s as git_ref', async (_, ref) => {
    const id = await start({ git_ref: ref(), path: '.', auto_approve: true });
    await api.waitForState(id, 'success');
  });

  it('run in the requested folder, with flags that are split as a shell splits them', async () => {
    const id = await start({
      path: 'stacks/other',
      plan_flags: `-var 'name=two words' -compact-warnings`,
      auto_approve: true,
    });
    const done = await api.waitForState(id, 'success');
    expect(JSON.parse(done.apply_output ?? '').greeting.value).toBe('hello two words');
    expect(done.plan_log).toContain('hello ****');
    expect(`${done.plan_log}${done.apply_log}`).not.toContain('two words');
  });

  it('destroy only after approval the resources that were applied before', async () => {
    const id = await start({ destroy: true, path: 'stacks/other' });
    const planned = await api.waitForState(id, 'awaiting_approval');
    expect(planned.plan_output).toContain('No changes');
    await api.approve(id);
    await api.waitForState(id, 'success');
  });

  it('end as cancelled when they are rejected, and accept no second decision', async () => {
    const id = await start();
    await api.waitForState(id, 'awaiting_approval');
    expect(await api.reject(id)).toMatchObject({ status: 200, body: { message: 'Deployment rejected' } });
    await api.waitForState(id, 'cancelled');
    expect((await api.approve(id)).status).toBe(409);
    expect((await api.reject(id)).status).toBe(409);
  });

  it('fail in the phase that failed, and show its output', async () => {
    const [unknown, broken, failing, missing] = await Promise.all([
      start({ git_ref: 'no-such-branch' }),
      start({ path: 'broken', auto_approve: true }),
      start({ path: 'failing', auto_approve: true }),
      start({ path: 'vars', tfvars_files: ['../../nowhere.tfvars'] }).catch((error: Error) => error.message),
    ]);
    expect(await api.waitForState(unknown, 'failed')).toMatchObject({
      phase: 'cloning',
      error: expect.stringContaining('no-such-branch'),
    });
    expect(await api.waitForState(broken, 'failed')).toMatchObject({ phase: 'init' });
    const failed = await api.waitForState(failing, 'failed');
    expect(failed.phase).toBe('apply');
    expect(failed.apply_log).toContain('doomed');
    expect(missing).toContain('400');
  });

  it('F38: read no file outside the checkout, even through a link that was committed', async () => {
    const secret = join(stage.folder, 'outside.tfvars');
    await writeFile(secret, 'name = "outside-CANARY"\n');
    const work = join(stage.folder, 'infra');
    await mkdir(join(work, 'linked'), { recursive: true });
    await symlink(secret, join(work, 'linked', 'leak.tfvars'));
    await symlink('/etc', join(work, 'etc'));
    await stage.commit({ 'linked/main.tf': MODULE }, { branch: 'links' });
    const leak = await start({ git_ref: 'links', path: 'linked', tfvars_files: ['leak.tfvars'] });
    const failed = await api.waitForState(leak, 'failed');
    expect(failed.error).toContain('leak.tfvars');
    expect(JSON.stringify(failed)).not.toContain('CANARY');
    const folder = await start({ git_ref: 'links', path: 'etc' });
    expect((await api.waitForState(folder, 'failed')).error).toContain('etc');
  });

  it('list the installed versions when the requested one is missing', async () => {
    const answer = await api.post({ git_url: stage.gitUrl, tool_version: '0.0.1' });
    expect(answer.status).toBe(400);
  });

  it('show pages and answers to no stranger', async () => {
    const id = await start();
    for (const [method, path] of [
      ['POST', '/deploy'],
      ['GET', `/deploy/${id}/status`],
      ['GET', `/deploy/${id}/logs`],
      ['POST', `/deploy/${id}/approve`],
      ['POST', `/deploy/${id}/cancel`],
    ] as const) {
      expect((await api.call(method, path, undefined, null)).status).toBe(401);
    }
    expect((await api.post({}, 'viewer')).status).toBe(403);
    expect((await api.call('GET', '/deploy/none/status')).body).toEqual({ error: 'Deployment not found' });
    await api.cancel(id);
    await api.waitForState(id, 'cancelled');
  });
});

/**
 * Files below `folder` that contain one of the texts. The repositories of the git servers belong to the test and
 * are left out.
 */
async function filesWith(folder: string, texts: readonly string[]): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const content = await readFile(file).catch(() => Buffer.alloc(0));
    if (texts.some((text) => content.includes(text))) found.push(file);
  }
  return found;
}
