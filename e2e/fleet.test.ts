/** Deployments on machines that differ: each machine has its own tools, and a plan survives its machine. */

import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, type TestContext } from 'vitest';
import { type PostgresServer, runSql } from '../src/stores/postgres/postgres-server.fixture.ts';
import { deploymentClient, deploymentStageFor, MODULE, withoutTerraform } from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import { addMachines, sharePostgres, withoutPostgres } from './support/machines.ts';
import { readPage } from './support/pushed-run.ts';
import { worksOn } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { until } from './support/until.ts';

const unavailable = withoutPostgres ?? withoutTerraform();

/** The plan contains the time, so another plan would give another output. */
const WHEN_PLANNED = `resource "terraform_data" "when" {
  input = "first at \${plantimestamp()}"
}

output "when" {
  value = terraform_data.when.output
}
`;

async function setUp(server: PostgresServer, context: TestContext, name: string) {
  const stage = await deploymentStageFor(context, name);
  const folder = (machine: string, kind: string) => join(stage.folder, machine, kind);
  return { stage, folder, ...(await addMachines(server, stage, stage.serve)) };
}

/** The tools of a machine as /workers shows them. */
async function toolsOf(runner: Runner, machine: string): Promise<string[]> {
  const { body } = await runner.getJson('/workers');
  const { workers } = body as { workers: { owner: string; tools: string[] }[] };
  return workers.find(({ owner }) => owner.startsWith(`${machine}:`))?.tools ?? [];
}

describeUnless(unavailable, 'Deployments on several machines', () => {
  const postgres = sharePostgres();

  it('go to a machine that has the requested version, and are refused only when no machine has it', async (context) => {
    const { stage, folder, startOn } = await setUp(postgres(), context, 'fleet-tools');
    await stage.commit({ 'main.tf': MODULE });
    // The server that answers has no versions at all.
    const one = await startOn('one', { TOOLS_DIR: folder('one', 'tools'), WORKER_LABELS: 'linux' });
    const api = deploymentClient(() => one, stage.gitUrl);
    await until('the tools of the first machine', async () =>
      (await toolsOf(one, 'one')).length > 0 ? true : null,
    );
    expect(await api.post({ tool_version: '9.9.9' })).toMatchObject({
      status: 400,
      body: { error: expect.stringContaining('No version of terraform is installed.') },
    });
    await stage.addTool('9.9.9', 'exec $REAL "$@"');
    const two = await startOn('two', { WORKER_LABELS: 'aws' });
    await until('the tools of the second machine', async () =>
      (await toolsOf(one, 'two')).includes('terraform 9.9.9') ? true : null,
    );
    const id = await api.start({ tool_version: '9.9.9' });
    await api.waitForState(id, 'awaiting_approval');
    expect([worksOn(one, id), worksOn(two, id)]).toEqual([false, true]);
    expect(await api.post({ tool_version: '8.8.8' })).toMatchObject({
      status: 400,
      body: { error: expect.stringMatching(/^tool_version: .*"8.8.8".* Installed: 9\.9\.9\.$/) },
    });
    // One machine has the label, and the other one has the version.
    expect((await api.post({ tool_version: '9.9.9', labels: ['linux'] })).status).toBe(400);
    expect((await api.post({ tool: 'tofu' })).body.error).toMatch(/^tool: .* tofu on its PATH/);

    // Each waiting run says why it waits: its tool is missing, or no machine has its labels.
    const tools = join(stage.folder, 'tools', 'terraform');
    await rm(tools, { recursive: true });
    await until('the tool to disappear', async () =>
      (await toolsOf(one, 'two')).includes('terraform 9.9.9') ? null : true,
    );
    await api.approve(id);
    const labelled = await api.start({ labels: ['gpu'], path: 'elsewhere' });
    const waits = [
      [id, 'No machine that is alive has terraform "9.9.9". No version of terraform is installed.'],
      [labelled, 'No machine with the label gpu is alive.'],
    ] as const;
    const { body: workers } = await one.getJson('/workers');
    expect(workers).toMatchObject({
      waiting_for_machines: expect.arrayContaining(
        waits.map(([run_id, waits_for]) => ({ run_id, waits_for })),
      ),
    });
    const workersPage = await readPage(one, '/workers');
    for (const [runId, problem] of waits) {
      expect((await two.getJson(`/runs/${runId}`)).body).toMatchObject({
        state: 'queued',
        waits_for: problem,
      });
      const words = problem.replaceAll('"', '&quot;');
      expect(await readPage(two, `/runs/${runId}`)).toContain(words);
      expect(workersPage).toContain(words);
    }
    await stage.addTool('9.9.9', 'exec $REAL "$@"');
    await api.waitForState(id, 'success');
    expect((await one.getJson(`/runs/${id}`)).body).not.toHaveProperty('waits_for');
  });

  it('apply exactly the plan of a machine that was killed since then, on another machine', async (context) => {
    const { stage, folder, startOn } = await setUp(postgres(), context, 'fleet-plan');
    await stage.commit({ 'main.tf': WHEN_PLANNED });
    await stage.addTool('9.9.9', 'exec $REAL "$@"');
    const one = await startOn('one');
    const first = deploymentClient(() => one, stage.gitUrl);
    const id = await first.start({ tool_version: '9.9.9' });
    const { plan_output: plan } = await first.waitForState(id, 'awaiting_approval');
    const when = /first at [0-9TZ:-]+/.exec(plan ?? '')?.[0] ?? 'no time in the plan';
    await one.kill();
    // The branch moves on, which changes nothing about the approved plan.
    await stage.commit({ 'main.tf': WHEN_PLANNED.replace('first', 'second') });
    const two = await startOn('two');
    const api = deploymentClient(() => two, stage.gitUrl);
    expect((await api.approve(id)).status).toBe(200);
    const done = await api.waitForState(id, 'success');
    expect(JSON.parse(done.apply_output ?? '').when.value).toBe(when);
    expect(worksOn(two, id)).toBe(true);
    // The stored request and plan of a deployment are removed when it ends.
    expect(existsSync(join(folder('two', 'deploy'), id, 'tfplan'))).toBe(false);
    expect(done.plan_output).toBe(plan);
  });

  it('end as plan_lost, with nothing applied, when the plan was too large for the store and its machine is lost', async (context) => {
    const { stage, storeUrl, startOn } = await setUp(postgres(), context, 'fleet-lost');
    await stage.commit({ 'main.tf': MODULE });
    await stage.addTool('9.9.9', 'exec $REAL "$@"');
    const one = await startOn('one');
    const first = deploymentClient(() => one, stage.gitUrl);
    const id = await first.start({ tool_version: '9.9.9' });
    await first.waitForState(id, 'awaiting_approval');
    await one.kill();
    // The store then looks as after a plan that is too large: it has the credentials, but no plan.
    const removal =
      'DELETE FROM kept_plans WHERE run = (SELECT number FROM runs WHERE id = $1) RETURNING run';
    expect(await runSql(storeUrl, removal, id)).toHaveLength(1);
    const two = await startOn('two');
    const api = deploymentClient(() => two, stage.gitUrl);
    await api.approve(id);
    expect(await api.waitForState(id, 'failed')).toMatchObject({
      error: expect.stringContaining(
        'The plan that was shown is missing or has changed; nothing was applied',
      ),
      apply_log: '',
    });
    expect((await two.getJson(`/runs/${id}`)).body).toMatchObject({ reason: 'plan_lost' });
  });

  it('are finished by another machine, with all outputs, when their machine was killed after the apply', async (context) => {
    const { stage, startOn } = await setUp(postgres(), context, 'fleet-applied');
    const calls = join(stage.folder, 'calls');
    await stage.commit({ 'main.tf': `terraform {\n  backend "local" {}\n}\n${MODULE}` });
    await stage.addTool(
      '9.9.9',
      `echo "$1" >> ${calls}\nif [ "$1" = output ] && [ ! -e ${calls}.slow ]; then touch ${calls}.slow; sleep 300; fi\nexec $REAL "$@"`,
    );
    const one = await startOn('one', { LEASE_SECONDS: '10' });
    const two = await startOn('two', { LEASE_SECONDS: '10' });
    const api = deploymentClient(() => one, stage.gitUrl);
    // Both machines can reach this file, as they could reach a bucket.
    const init_flags = `-backend-config=path=${join(stage.folder, 'terraform.tfstate')}`;
    const id = await api.start({ tool_version: '9.9.9', auto_approve: true, init_flags });
    await until('the outputs being read', async () => (existsSync(`${calls}.slow`) ? true : null));
    const [worker, successor] = worksOn(one, id) ? [one, two] : [two, one];
    await worker.kill();
    const done = await deploymentClient(() => successor, stage.gitUrl).waitForState(id, 'success');
    expect(JSON.parse(done.apply_output ?? '').greeting.value).toBe('hello nobody');
    const called = (await readFile(calls, 'utf8')).split('\n');
    expect(called.filter((command) => command === 'apply')).toEqual(['apply']);
  });
});
