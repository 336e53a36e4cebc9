/** Comment commands: who may give them, which commit they apply to, what they do, and that none is lost. */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { buildCommentPayload, type CommentEvent } from './support/comment-payload.ts';
import { withoutTerraform } from './support/deployments.ts';
import { describeUnless } from './support/describe-unless.ts';
import type { GivenReview, PullRequestState } from './support/github-pulls.ts';
import { expectNoViolations } from './support/local-github.ts';
import { obtainedInvoke } from './support/obtained.ts';
import type { Runner } from './support/runner.ts';
import type { ListedRun } from './support/runner-client.ts';
import { API_TOKENS, WEBHOOK_SECRET } from './support/runner-environment.ts';
import { type Stage, setStage } from './support/stage.ts';
import { until } from './support/until.ts';

const APPLY = 'Looks good, let us go.\n\n  iac-runner apply  \n\nThanks!';
const EARLIER = '2026-03-02T09:00:00Z';
const LATER = '2026-03-02T10:00:00Z';

const acceptedSchema = z.object({ status: z.literal('accepted'), run_id: z.string() });
const deliveriesSchema = z.object({ deliveries: z.array(z.looseObject({ event: z.string() })) });

/** Creates a file when it is applied, and prints the variables that it received. */
function moduleThatWrites(file: string): string {
  return `resource "terraform_data" "one" {
  provisioner "local-exec" {
    command = "echo applied >> ${file}; echo \\"vault $VAULT_ADDR token $GITHUB_TOKEN.\\" >> ${file}; sleep \${var.seconds}"
  }
}
variable "seconds" {
  default = 0
}
`;
}

describeUnless(withoutTerraform(), 'Comment commands', () => {
  let stage: Stage;
  let runner: Runner;
  let environment: Record<string, string | undefined>;
  let lastNumber = 40;

  beforeAll(async () => {
    stage = await setStage({ name: 'comment-commands', invoke: obtainedInvoke() });
    const slow = join(stage.folder, 'slow.sh');
    await writeFile(slow, `grep -q '"seconds":{"value":7}' "$1" && sleep 8; exit 0\n`);
    environment = {
      PLAN_CHECKS: JSON.stringify([{ name: 'slow', command: `sh ${slow} {plan}`, required: true }]),
      COMMENT_COMMANDS: 'true',
      TRUST_PULL_REQUEST_AUTHORS: 'true',
      VAULT_ADDR: 'https://vault.example.com',
      DEPLOY_DIR: join(stage.folder, 'deployments'),
    };
    runner = await stage.start({ environment });
    const { people } = stage.github;
    people.allow('ada', 'write');
    people.allow('bob', 'maintain');
  });

  afterAll(async () => {
    const { github } = stage;
    await stage.close();
    expectNoViolations(github);
  });

  interface Pull extends PullRequestState {
    /** The content of the file that the root created when it was applied. */
    written(): Promise<string>;
  }

  async function open(
    more: Partial<PullRequestState> & { roots?: string[]; seconds?: number } = {},
  ): Promise<Pull> {
    const { roots = ['infra/a'], seconds = 0, ...state } = more;
    lastNumber += 1;
    const number = lastNumber;
    const file = join(stage.folder, `applied-${number}`);
    await stage.repository.git('checkout', '--quiet', '-B', `pull-${number}`, 'main');
    for (const root of roots) {
      const text = moduleThatWrites(file).replace('default = 0', `default = ${seconds}`);
      await stage.repository.write(`${root}-${number}/main.tf`, text);
    }
    const head = await commit(number);
    const pull = { number, head, author: 'ada', ...state };
    stage.github.pulls.set(pull);
    return { ...pull, written: () => readFile(file, 'utf8').catch(() => '') };
  }

  async function commit(number: number): Promise<string> {
    const head = await stage.repository.commit(`Pull request ${number}`);
    await stage.repository.push({ refspec: `HEAD:refs/pull/${number}/head`, force: true });
    await stage.repository.git('checkout', '--quiet', 'main');
    return head;
  }

  function approve({ number, head }: Pull, more: Partial<GivenReview> = {}): void {
    stage.github.pulls.review(number, {
      login: 'bob',
      state: 'APPROVED',
      commit: head,
      at: EARLIER,
      ...more,
    });
  }

  async function comment(event: Partial<CommentEvent> & { number: number }) {
    const { fullName } = stage.github;
    const payload = buildCommentPayload({ body: APPLY, author: 'ada', at: LATER, fullName, ...event });
    const { status, body } = await stage.github.deliver({
      url: `${runner.url}/webhook`,
      secret: WEBHOOK_SECRET,
      event: 'issue_comment',
      payload,
    });
    expect(status).toBe(200);
    return body;
  }

  async function command(event: Partial<CommentEvent> & { number: number }): Promise<string> {
    return acceptedSchema.parse(await comment(event)).run_id;
  }

  function reply(number: number, fits: (body: string) => boolean = () => true): Promise<string> {
    const { comments } = stage.github;
    return until(
      `a reply on #${number}`,
      async () =>
        comments.of(number).find(({ login, body }) => login === comments.ownLogin && fits(body))?.body ??
        null,
      { seen: () => [comments.of(number), runner.output().slice(-3_000)] },
    );
  }

  async function deployments(): Promise<string[]> {
    return (await runner.runs()).filter(({ kind }) => kind === 'deploy').map(({ run_id }) => run_id);
  }

  it('apply all changed roots of an approved, mergeable head, and report the result', async () => {
    const pull = await open({ roots: ['infra/a', 'infra/b'] });
    approve(pull);
    const id = await command(pull);
    const run = await runner.waitForRun(id, 'succeeded');
    expect(run).toMatchObject({ kind: 'command', message: `Applied 2 root(s) at ${pull.head.slice(0, 8)}` });
    const body = await reply(pull.number);
    expect(body).toContain('`iac-runner apply` by `ada`: **Applied');
    expect(body).toContain(`Commit \`${pull.head}\``);
    expect(body).toContain(`- \`infra/a-${pull.number}\`: Applied`);
    expect(body).toContain(`- \`infra/b-${pull.number}\`: Applied`);
    const written = await pull.written();
    expect(written.match(/applied/g)).toHaveLength(2);
    // As in tasks, the variables that TASK_ENV names are visible, and none of the runner's own.
    expect(written).toContain('vault https://vault.example.com token .');
  });

  it('plan the head for everybody who may write', async () => {
    const pull = await open();
    const id = await command({ number: pull.number, body: 'iac-runner plan\r\niac-runner apply' });
    await runner.waitForRun(id, 'succeeded');
    expect(await reply(pull.number)).toContain('**Plan: 1 to add, 0 to change, 0 to destroy.**');
    expect(await pull.written()).toBe('');
  });

  it('plan a head from a fork only after that commit was approved', async () => {
    const pull = await open({ fork: 'stranger/platform', author: 'eve' });
    await runner.waitForRun(await command({ number: pull.number, body: 'iac-runner plan' }), 'succeeded');
    expect(await reply(pull.number)).toContain('awaits approval');
  });

  it.each<
    [string, { event?: Partial<CommentEvent>; reviews?: Partial<GivenReview>[]; pull?: object }, string]
  >([
    ['somebody without write access', { event: { author: 'eve' } }, '`eve`: eve has no write access'],
    ['nobody’s approval', { reviews: [] }, 'Nobody has approved'],
    ['their own approval', { reviews: [{ login: 'ada' }] }, 'Nobody approves a pull request of their own'],
    ['a stranger’s approval', { reviews: [{ login: 'eve' }] }, 'Nobody with write access'],
    [
      'an approval of another commit',
      { reviews: [{ commit: 'b'.repeat(40) }] },
      'The approval is of another commit',
    ],
    ['an approval after the comment', { event: { at: '2026-03-02T08:00:00Z' } }, 'after the comment'],
    [
      'an approval that was taken back, on the second page',
      {
        reviews: [
          {},
          ...Array.from({ length: 120 }, (_, i) => ({ login: `c${i}`, state: 'COMMENTED' }) as const),
          { state: 'CHANGES_REQUESTED', at: LATER },
        ],
      },
      'has asked for changes',
    ],
    ['a closed pull request', { pull: { state: 'closed' } }, 'The pull request is closed'],
    ['another base', { pull: { base: 'dev' } }, 'is not for the branch'],
    ['a fork', { pull: { fork: 'stranger/platform' } }, 'Heads from forks'],
    ['a conflict', { pull: { mergeable: false } }, 'it is in conflict'],
    [
      'rules of the branch',
      { pull: { mergeableState: 'blocked' } },
      'by the rules of the branch it is blocked',
    ],
  ])('F47: apply is refused for %s, with a reply that says so', async (_what, scene, why) => {
    const pull = await open();
    for (const review of scene.reviews ?? [{}]) approve(pull, review);
    stage.github.pulls.set({ ...pull, ...scene.pull });
    const before = await deployments();
    const id = await command({ number: pull.number, ...scene.event });
    await runner.waitForRun(id, 'failed');
    const body = (await reply(pull.number)).replaceAll('**', '');
    expect(body).toContain(why);
    expect(body).toMatch(/Ask somebody|write a new comment/);
    expect(await pull.written()).toBe('');
    expect(await deployments()).toEqual(before);
  });

  it.each<[string, Partial<CommentEvent>, string]>([
    ['edited', { action: 'edited' }, 'Action edited'],
    ['deleted', { action: 'deleted' }, 'Action deleted'],
    [
      'of a sender who is not its author',
      { author: 'ada', sender: 'eve' },
      'The sender did not write the comment',
    ],
    ['of a bot', { author: 'helper[bot]' }, 'A comment of a bot'],
    ['on a plain issue', { isIssue: true }, 'Not a pull request'],
    ['of another repository', { fullName: 'eve/platform' }, 'Not repository acme/platform'],
    ['in a sentence', { body: 'Please iac-runner apply' }, 'No command'],
    ['in other letters', { body: 'IAC-Runner Apply' }, 'No command'],
    ['with more behind it', { body: 'iac-runner apply now' }, 'No command'],
    ['quoted', { body: '> iac-runner apply' }, 'No command'],
    ['in a code block', { body: '```\niac-runner apply\n```' }, 'No command'],
    ['of our own making', { body: '<!-- runners-poc:plan:pr -->\niac-runner apply' }, 'No command'],
  ])('F47: a comment %s is no command', async (_what, event, reason) => {
    expect(await comment({ number: 7, ...event })).toEqual({ status: 'ignored', reason });
    const { body } = await runner.getJson('/deliveries?decision=ignored', API_TOKENS.admin);
    const { deliveries } = deliveriesSchema.parse(body);
    expect(deliveries[0]).toMatchObject({ event: 'issue_comment', detail: reason });
  });

  it('F47: do not apply a head that moves after the approval, neither the old nor the new commit', async () => {
    const pull = await open();
    approve(pull);
    await stage.repository.git('checkout', '--quiet', `pull-${pull.number}`);
    await stage.repository.write('infra/more.txt', 'B\n');
    const newHead = await commit(pull.number);
    stage.github.pulls.set({ ...pull, head: newHead });
    await runner.waitForRun(await command(pull), 'failed');
    expect(await reply(pull.number)).toContain('The approval is of another commit');
    expect(await pull.written()).toBe('');
  });

  it('F47: do not start a deployment when the approval is withdrawn while it waits for its target', async () => {
    const pull = await open({ seconds: 8 });
    approve(pull);
    const firstId = await command(pull);
    await until('the first apply', async () => ((await pull.written()) === '' ? null : true));
    const before = (await deployments()).length;
    const secondId = await command(pull);
    // The deployment is approved and waits for its target.
    await until('the second deployment', async () => ((await deployments()).length > before ? true : null));
    approve(pull, { state: 'CHANGES_REQUESTED', at: LATER });
    await runner.waitForRun(firstId, 'succeeded');
    const second = await runner.waitForRun(secondId, 'failed');
    expect(second.steps[0]?.message).toMatch(/Nothing was applied: .* has asked for changes/);
    expect((await pull.written()).match(/applied/g)).toHaveLength(1);
  });

  it('F47: do not apply a head that moves after the plan', async () => {
    const pull = await open({ seconds: 7 });
    approve(pull);
    const before = await deployments();
    const id = await command(pull);
    const isNewDeployment = (run: ListedRun) => run.kind === 'deploy' && !before.includes(run.run_id);
    await until('the check', async () => {
      const newest = (await runner.runs()).find(isNewDeployment);
      if (!newest) return null;
      const { steps } = await runner.waitForRun(newest.run_id, 'running');
      return steps.some((step) => step.id === 'check-slow' && step.state === 'running') ? true : null;
    });
    stage.github.pulls.set({ ...pull, head: 'b'.repeat(40) });
    const deployment = await runner.waitForRun(isNewDeployment, 'failed');
    expect(deployment).toMatchObject({ reason: 'not_approved' });
    expect(deployment.message).toContain('Nothing was applied: The head has moved');
    expect(deployment.steps.map((step) => `${step.id} ${step.state}`).slice(2)).toEqual([
      'plan succeeded',
      'check-slow succeeded',
      'apply blocked',
      'output blocked',
    ]);
    await runner.waitForRun(id, 'failed');
    expect(await pull.written()).toBe('');
  });

  it('are obeyed once, however often the comment is delivered', async () => {
    const pull = await open();
    approve(pull);
    const id = await command({ number: pull.number, id: 777 });
    expect(await command({ number: pull.number, id: 777 })).toBe(id);
    await runner.waitForRun(id, 'succeeded');
    expect(await command({ number: pull.number, id: 777 })).toBe(id);
    expect((await pull.written()).match(/applied/g)).toHaveLength(1);
  });

  it('wait until GitHub knows whether the head can be merged', async () => {
    const pull = await open({ mergeable: null });
    approve(pull);
    const id = await command(pull);
    await until('the run to wait', async () =>
      (await runner.runs()).some(
        ({ run_id, message }) => run_id === id && message.includes('whether the head can be merged'),
      )
        ? true
        : null,
    );
    stage.github.pulls.set({ ...pull, mergeable: true });
    await runner.waitForRun(id, 'succeeded');
    expect(await pull.written()).toContain('applied');
  });

  it('get one reply when many strangers give them', async () => {
    const pull = await open();
    const { comments } = stage.github;
    for (let i = 0; i < 3; i += 1) {
      await runner.waitForRun(await command({ number: pull.number, author: `stranger-${i}` }), 'failed');
      await reply(pull.number, (body) => body.includes(`stranger-${i}`));
    }
    expect(comments.of(pull.number).filter(({ login }) => login === comments.ownLogin)).toHaveLength(1);
  });

  it.each([0, 300, 900, 2_000])(
    'survive a kill -9 after %i ms: they are applied at most once, and the result is reported in the end',
    async (delayMs) => {
      const pull = await open({ seconds: 1 });
      approve(pull);
      const id = await command(pull);
      await new Promise((resolve) => setTimeout(resolve, delayMs));
      await runner.kill();
      runner = await stage.start({ environment });
      const run = await runner.waitForRun(id, 'final');
      const applied = (await pull.written()).match(/applied/g)?.length ?? 0;
      expect(applied).toBeLessThanOrEqual(1);
      if (run.state === 'succeeded') expect(applied).toBe(1);
      expect(await reply(pull.number)).toContain('`iac-runner apply` by `ada`');
    },
  );
});
