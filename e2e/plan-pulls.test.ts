/**
 * Plans of our own pull requests, started by the webhook: every changed root in one comment, and a status on the
 * head.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { withoutTerraform } from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import { buildPullRequestPayload, type PullRequestEvent } from './support/pull-request-payload.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';
import { until } from './support/until.ts';

const CONTEXT = 'IaC Runner / Plan';
const MARK = '<!-- runners-poc:plan:pr -->';
const ONE = 'resource "terraform_data" "one" {\n  input = "x"\n}\n';

const acceptedSchema = z.object({ status: z.literal('accepted'), run_id: z.string() });

describeUnless(withoutTerraform(), 'Plans of pull requests', () => {
  const stage = shareStage('plan-pulls', async ({ folder }) => {
    const policy = join(folder, 'policy.sh');
    await writeFile(policy, 'if grep -o forbidden "$1"; then exit 1; fi\n');
    return {
      PLANS: 'true',
      TRUST_PULL_REQUEST_AUTHORS: 'true',
      PLAN_CHECKS: JSON.stringify([{ name: 'policy', command: `sh ${policy} {plan}`, required: true }]),
      DEPLOY_DIR: `${folder}/deployments`,
    };
  });
  let lastNumber = 20;

  async function open(files: Record<string, string>, { fork }: { fork?: string } = {}) {
    const { repository, github } = stage().stage;
    lastNumber += 1;
    const number = lastNumber;
    await repository.git('checkout', '--quiet', '-B', `pull-${number}`, 'main');
    for (const [file, text] of Object.entries(files)) await repository.write(file, text);
    const head = await repository.commit(`Pull request ${number}`);
    await repository.push({ refspec: `HEAD:refs/pull/${number}/head`, force: true });
    await repository.git('checkout', '--quiet', 'main');
    github.pulls.set({ number, head, ...(fork ? { fork } : {}) });
    return { number, head, ...(fork ? { fork } : {}) };
  }

  async function deliver(event: Partial<PullRequestEvent> & Pick<PullRequestEvent, 'number' | 'head'>) {
    const { stage: set, runner } = stage();
    const { fullName } = set.github;
    const payload = buildPullRequestPayload({ action: 'opened', fullName, ...event });
    const { status, body } = await set.github.deliver({
      url: `${runner.url}/webhook`,
      secret: WEBHOOK_SECRET,
      event: 'pull_request',
      payload,
    });
    expect(status).toBe(200);
    return body;
  }

  const ownCommentsOf = (number: number) => {
    const { comments } = stage().stage.github;
    return comments.of(number).filter(({ login }) => login === comments.ownLogin);
  };

  function commentOf(number: number, fits: (body: string) => boolean): Promise<string> {
    return until(
      `a comment on #${number}`,
      async () => ownCommentsOf(number).find(({ body }) => fits(body))?.body ?? null,
      { seen: () => ownCommentsOf(number) },
    );
  }

  it('show all changed roots in one comment and set a status, and no other root is read', async () => {
    const { stage: set, runner } = stage();
    const pull = await open({
      'infra/a/main.tf': ONE,
      'infra/b/main.tf': 'module "m" {\n  source = "../modules/m"\n}\n',
      'infra/modules/m/main.tf': ONE + ONE.replace('"one"', '"two"'),
    });
    const { run_id: id } = acceptedSchema.parse(await deliver(pull));
    const run = await runner.waitForRun(id, 'succeeded');
    expect(run).toMatchObject({
      kind: 'plan',
      message: 'Planned 2 roots: 3 to add, 0 to change, 0 to destroy',
    });
    expect(run.steps.map((step) => step.id)).toEqual([
      'clone',
      'init infra/a',
      'plan infra/a',
      'check-policy infra/a',
      'init infra/b',
      'plan infra/b',
      'check-policy infra/b',
    ]);
    const body = await commentOf(pull.number, (text) => text.startsWith(MARK));
    expect(body).toContain(`\`acme/platform @ ${pull.head}\``);
    expect(body).toContain('#### `infra/a`');
    expect(body).toContain('#### `infra/b`');
    expect(body.match(/- Required check `policy`: Passed/g)).toHaveLength(2);
    expect(ownCommentsOf(pull.number)).toHaveLength(1);
    const status = await set.github.statuses.waitFor({ sha: pull.head, state: 'success', context: CONTEXT });
    expect(status).toMatchObject({ description: 'Planned 2 roots: 3 to add, 0 to change, 0 to destroy' });
  });

  it('write no comment when no root is changed, but set a status', async () => {
    const { stage: set } = stage();
    const pull = await open({ 'docs/notes.md': 'No infrastructure\n' });
    await deliver(pull);
    await set.github.statuses.waitFor({ sha: pull.head, state: 'success', context: CONTEXT });
    expect(ownCommentsOf(pull.number)).toEqual([]);
  });

  it('F46: run nothing for a fork until somebody approves that commit', async () => {
    const { stage: set, runner } = stage();
    const pull = await open({ 'infra/f/main.tf': ONE }, { fork: 'stranger/platform' });
    const { run_id: id } = acceptedSchema.parse(await deliver(pull));
    await runner.waitForRun(id, 'awaiting_approval');
    expect(await commentOf(pull.number, (text) => text.startsWith(MARK))).toContain('awaits approval');
    await set.github.statuses.waitFor({ sha: pull.head, state: 'pending', context: CONTEXT });
    set.github.pulls.set({ ...pull, state: 'closed' });
    expect(await deliver({ ...pull, action: 'closed' })).toMatchObject({ status: 'ignored' });
    expect(await runner.waitForRun(id, 'cancelled')).toMatchObject({ reason: 'cancelled_by_request' });
  });

  it('fail on the head when a required check does not pass, and are shown', async () => {
    const { stage: set, runner } = stage();
    const pull = await open({ 'infra/c/main.tf': ONE.replace('"x"', '"forbidden"') });
    const { run_id: id } = acceptedSchema.parse(await deliver(pull));
    expect(await runner.waitForRun(id, 'failed')).toMatchObject({ reason: 'check_failed' });
    await set.github.statuses.waitFor({ sha: pull.head, state: 'failure', context: CONTEXT });
    const body = await commentOf(pull.number, (text) => text.includes(pull.head));
    expect(body).toContain('### Terraform plan did not pass its checks');
    expect(body).toContain('1 to add');
    expect(body).toContain('- Required check `policy`: **Failed with exit code 1**');
    expect(body).toContain('Last lines of the log of policy');
  });

  it('fail on the head when a root cannot be planned', async () => {
    const { stage: set } = stage();
    const pull = await open({ 'infra/x/main.tf': 'resource "nonsense" {\n' });
    await deliver(pull);
    await set.github.statuses.waitFor({ sha: pull.head, state: 'failure', context: CONTEXT });
    expect(await commentOf(pull.number, (text) => text.includes(pull.head))).toContain('Next step: ');
  });
});
