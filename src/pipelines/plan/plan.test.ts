import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished, type TestContext } from 'vitest';
import { expectNoViolations, startLocalGithub } from '../../../e2e/support/local-github.ts';
import { loadPlumbing, type PlanCheck } from '../../config.ts';
import { createIsolatedExecutor } from '../../executor/isolated.ts';
import { createLocalExecutor } from '../../executor/local.ts';
import { createRemoteRepositories } from '../../git/requested/remote-repositories.ts';
import { createWorld, type World } from '../../git/test-support.ts';
import { createGitHubComments } from '../../github/github-comments.ts';
import { createStepUser } from '../../isolation/open-folder.ts';
import { startRequestComments } from '../../reporters/github-reporters.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import type { PlanInput } from '../../runs/plan-comment.ts';
import { isFinal, type Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { startWorker } from '../../worker/worker.ts';
import {
  BOX,
  NEEDS_BOX,
  plugin,
  temporaryFolder,
  terraformOrSkip,
  writeTree,
} from '../terraform/terraform.fixture.ts';
import { type PlanOptions, plan } from './plan.ts';
import { type LookedUp, whyNotPlanned } from './plan-head.ts';

const ONE = 'resource "terraform_data" "one" {\n  input = "x"\n}\n';
const PULL_REQUEST = 7;
const MARK = '<!-- runners-poc:plan:p1 -->';
const { PATH = '' } = loadPlumbing();

interface Setup {
  world: World;
  store: RunStore;
  directory: string;
  options: PlanOptions;
  /** The answers of GitHub about the pull request. */
  facts: LookedUp;
  /** The bodies of all comments on the pull request. */
  comments(): string[];
  ask(input: Partial<PlanInput> & { revision: string }): Promise<Run>;
  /** Waits until the run is in one of these states, or has ended. */
  ended(id: string, ...states: Run['state'][]): Promise<Run>;
  sent(): Promise<void>;
}

/** A worker with the plan pipeline, real git, a real terraform under both names, and the local GitHub. */
async function openSetup(context: TestContext, changes: Partial<PlanOptions> = {}): Promise<Setup> {
  const program = await terraformOrSkip(context);
  const world = await createWorld();
  const bin = path.join(world.root, 'bin');
  writeTree(bin, { tofu: `#!/bin/sh\nexec ${program} "$@"\n` });
  const directory = path.join(world.root, 'runs');
  const store = await createSqliteStore({ directory: path.join(world.root, 'data') });
  const executor = createLocalExecutor();
  const repositories = createRemoteRepositories({
    directory: path.join(world.root, 'repositories'),
    path: PATH,
    home: world.root,
    timeoutMs: 60_000,
    rules: { protocols: ['file'], hosts: [] },
    network: {},
    log: { warn: () => undefined },
    tempDir: world.root,
  });
  const searched = `${bin}:${PATH}`;
  const options: PlanOptions = {
    executor,
    initExecutor: executor,
    stepUser: null,
    interruptGraceMs: 1_000,
    tools: { path: searched, toolsDir: null },
    plumbing: { PATH: searched },
    gitProtocols: ['https'],
    registryUrl: null,
    providerMirrorDir: null,
    directory,
    repositories: { configured: repositories, sealed: repositories },
    steps: store.steps,
    latestEvent: store.latestEvent,
    credentials: async () => ({ git: null, secrets: ['ghs_CANARY01234'] }),
    lookUp: async () => setup.facts,
    checks: [],
    timeoutMs: 60_000,
    approvalTimeoutMs: 60_000,
    now: Date.now,
    ...changes,
  };
  const never = async (): Promise<never> => {
    throw new Error('Not asked for here.');
  };
  const log = pino({ level: 'silent' });
  const worker = startWorker({
    leaseMs: 60_000,
    store,
    pipelines: {
      sync: never,
      preview: never,
      deploy: never,
      plan: (run) => plan(options, run),
      command: never,
    },
    owner: 'test',
    limits: { sync: 1, preview: 1, deploy: 1, plan: 2, command: 1 },
    drainTimeoutMs: 1_000,
    log,
  });
  const token = 'ghs_local';
  const github = await startLocalGithub({ fullName: 'acme/infra', token });
  const client = createGitHubComments({ apiUrl: github.url, token, version: '0', ofRequest: true });
  const sender = startRequestComments({
    store,
    openClient: async () => client,
    runUrl: (id) => `https://iac.example.com/runs/${id}`,
    log,
    minIntervalMs: 1,
  });
  onTestFinished(async () => {
    await worker.drain();
    await sender.stop();
    await store.close();
    await github.close();
    expectNoViolations(github);
  });
  const setup: Setup = {
    world,
    store,
    directory,
    options,
    facts: null,
    comments: () => github.comments.of(PULL_REQUEST).map(({ body }) => body),
    async ask(input) {
      const { run } = await enqueueRun(store, 'plan', {
        trigger: { source: 'pubsub' },
        sealed: 'sealed',
        input: {
          repository: 'acme/infra',
          pullRequest: PULL_REQUEST,
          headRef: 'topic',
          baseRef: 'main',
          cloneUrl: `file://${world.remote}`,
          apiUrl: 'https://api.github.com',
          planId: 'p1',
          roots: [{ directory: '.', tool: 'tofu', toolVersion: null }],
          fromFork: false,
          credential: 'sealed',
          requestId: null,
          ...input,
        },
      });
      return run;
    },
    async ended(id, ...states) {
      for (;;) {
        const run = await store.run(id);
        if (run && (isFinal(run.state) || states.includes(run.state))) return run;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    sent: () => sender.idle(),
  };
  return setup;
}

/** The one comment of the plan p1. */
function commentIn(setup: Setup): string | undefined {
  const ours = setup.comments().filter((body) => body.includes(MARK));
  expect(ours.length).toBeLessThanOrEqual(1);
  return ours[0];
}

async function commands(store: RunStore, runId: string): Promise<string[]> {
  const events = await store.events(runId, { after: 0, limit: 1_000 });
  return events.flatMap((event) =>
    event.type === 'step.started' ? [`${event.step}: ${event.command.slice(1).join(' ')}`] : [],
  );
}

describe('The plan of a pull request', () => {
  it('is made of exactly the head, shown in one comment, and leaves nothing behind', async (context) => {
    const setup = await openSetup(context);
    const revision = await setup.world.commit({ 'infra/main.tf': ONE });
    await setup.world.commit({ 'infra/main.tf': `${ONE}${ONE.replace('"one"', '"two"')}` });
    const run = await setup.ask({
      revision,
      roots: [{ directory: 'infra', tool: 'tofu', toolVersion: null }],
    });
    expect(await setup.ended(run.id)).toMatchObject({
      state: 'succeeded',
      message: 'Planned: 1 to add, 0 to change, 0 to destroy',
      revision,
    });
    const steps = await setup.store.steps(run.id);
    expect(steps.map(({ id, state }) => `${id} ${state}`)).toEqual([
      'clone succeeded',
      'init succeeded',
      'plan succeeded',
    ]);
    const planFile = path.join(setup.directory, run.id, 'root-0/tmp/tfplan');
    expect((await commands(setup.store, run.id)).slice(1)).toEqual([
      'init: init -input=false -no-color',
      `plan: plan -input=false -no-color -out=${planFile}`,
    ]);
    await setup.sent();
    const body = commentIn(setup) ?? '';
    expect(body).toContain(`\`acme/infra @ ${revision}\` · folder \`infra\``);
    expect(body).toContain('**Plan: 1 to add, 0 to change, 0 to destroy.**');
    expect(body).toContain('terraform_data.one will be created');
    expect(body).toContain(`[full log](https://iac.example.com/runs/${run.id})`);
    expect(readdirSync(setup.directory)).toEqual([]);
    expect(await setup.store.sealed(run.id)).toBeNull();
  });

  it('F41: shows no secret of the server, in its comment or anywhere else', async (context) => {
    const secret = 'canary-of-the-server';
    const executor = createLocalExecutor({ secrets: [secret] });
    const checks: PlanCheck[] = [{ name: 'print', argv: ['grep', '-o', secret, '{plan}'], required: true }];
    const setup = await openSetup(context, { executor, initExecutor: executor, checks });
    const resource = `resource "terraform_data" "x" {\n  for_each = toset(["${secret}"])\n  input = each.key\n}\n`;
    const run = await setup.ask({ revision: await setup.world.commit({ 'main.tf': resource }) });
    expect(await setup.ended(run.id)).toMatchObject({ state: 'succeeded' });
    await setup.sent();
    const body = commentIn(setup) ?? '';
    expect(body).toContain('terraform_data.x["****"] will be created');
    const events = await setup.store.events(run.id, { after: 0, limit: 1_000 });
    expect(events.find(({ type }) => type === 'run.planned')).toMatchObject({
      summary: { resources: [{ address: 'terraform_data.x["****"]', action: 'create' }] },
    });
    // The check reads the plan with the secret, and its output is masked.
    expect(events.find(({ type }) => type === 'run.checked')).toMatchObject({ passed: true });
    expect(`${body}${JSON.stringify(events.filter(({ type }) => type !== 'step.started'))}`).not.toContain(
      secret,
    );
  });

  it('F42: is made by another user if that user may enter the folder, and leaves nothing behind', async (context) => {
    if (process.getuid?.() !== 0) context.skip('only root may become another user');
    const [user, group] = [65_534, 54_321];
    const become = ['setpriv', `--reuid=${user}`, `--regid=${user}`, `--groups=${group}`] as const;
    const cli = path.join(import.meta.dirname, '../../cli.ts');
    const executor = createIsolatedExecutor({
      command: [...become, process.execPath, cli, 'exec'],
      environment: { PATH },
    });
    const look =
      'echo "user $(id -u)"; stat -c %a . "$0"; echo x > here || echo not here; echo x > ../here || echo nor there';
    const setup = await openSetup(context, {
      executor,
      initExecutor: executor,
      stepUser: createStepUser(executor, { PATH }),
      checks: [{ name: 'look', argv: ['sh', '-c', look, '{plan}'], required: true }],
    });
    chmodSync(setup.world.root, 0o711);
    mkdirSync(setup.directory);
    chownSync(setup.directory, 0, group);
    chmodSync(setup.directory, 0o2750);
    const revision = await setup.world.commit({ 'a/main.tf': ONE, 'b/main.tf': ONE });
    const roots = ['a', 'b'].map((directory) => ({ directory, tool: 'tofu', toolVersion: null }) as const);
    const run = await setup.ended((await setup.ask({ revision, roots })).id);
    expect(run).toMatchObject({
      state: 'succeeded',
      message: 'Planned 2 roots: 2 to add, 0 to change, 0 to destroy',
    });
    const events = await setup.store.events(run.id, { after: 0, limit: 1_000 });
    const lines = events.flatMap((event) => (event.type === 'run.checked' ? event.lines : []));
    expect(lines.filter((line) => !line.includes('annot create'))).toEqual(
      [1, 2].flatMap(() => [`user ${user}`, '2750', '640', 'not here', 'nor there']),
    );
    expect(readdirSync(setup.directory)).toEqual([]);
  });

  it('finds a head that only the pull request leads to', async (context) => {
    const setup = await openSetup(context);
    await setup.world.commit({ 'main.tf': '' });
    const { shell } = setup.world;
    writeTree(setup.world.source, { 'main.tf': ONE });
    await shell(['commit', '-qam', 'Topic']);
    const revision = await shell(['rev-parse', 'HEAD']);
    await shell(['push', '-q', 'origin', 'HEAD:refs/pull/7/head']);
    expect(await setup.ended((await setup.ask({ revision })).id)).toMatchObject({ state: 'succeeded' });
    const none = await setup.ended((await setup.ask({ revision: 'b'.repeat(40) })).id);
    expect(none).toMatchObject({ state: 'errored', reason: 'unknown_revision' });
    await setup.sent();
    expect(commentIn(setup)).toContain('Next step: Check that the commit');
  });

  it('reports changes that are not planned', async (context) => {
    const setup = await openSetup(context);
    await setup.world.commit({ 'old/main.tf': ONE, 'new/main.tf': ONE });
    await setup.world.shell(['checkout', '-q', '-b', 'topic']);
    const rules = 'terraform:\n  roots: [new, misspelt]\n';
    const revision = await setup.world.commit({ 'old/main.tf': null, '.iac-runner.yaml': rules });
    await setup.world.shell(['push', '-q', 'origin', 'HEAD~1:refs/heads/main', '--force']);
    const run = await setup.ended((await setup.ask({ revision, roots: null })).id);
    const removed = 'The root old is removed: what it manages stays, unless it is destroyed before';
    expect(run).toMatchObject({ state: 'succeeded', message: `${removed}, and 1 more remark(s)` });
    await setup.sent();
    const body = commentIn(setup) ?? '';
    expect(body).toContain(
      `- ${removed}\n- \`terraform.roots\` names misspelt, which has no \`.tf\` or \`.tofu\` file`,
    );
  });

  it('continues if one root fails, and reports the cause and the next action', async (context) => {
    const setup = await openSetup(context);
    const revision = await setup.world.commit({
      'a/main.tf': 'resource "nonsense" {\n',
      'b/main.tf': ONE,
      'c/main.tf': 'variable "must" {}\n',
    });
    const roots = ['a', 'b', 'c'].map(
      (directory) => ({ directory, tool: 'tofu', toolVersion: null }) as const,
    );
    const run = await setup.ended((await setup.ask({ revision, roots })).id);
    expect(run).toMatchObject({ state: 'failed', message: '2/3 roots could not be planned' });
    const steps = await setup.store.steps(run.id);
    expect(steps.map(({ id, state }) => `${id} ${state}`)).toEqual([
      'clone succeeded',
      'init a failed',
      'plan a blocked',
      'init b succeeded',
      'plan b succeeded',
      'init c succeeded',
      'plan c failed',
    ]);
    await setup.sent();
    const body = commentIn(setup) ?? '';
    expect(body).toContain('The configuration is not valid');
    expect(body).toContain('A variable has no value');
    expect(body).toContain('terraform_data.one will be created');
    expect(body.match(/Next step: /g)).toHaveLength(2);
  });

  it('is checked by the commands of the operator: a required one fails the run, and the plan is shown', async (context) => {
    const setup = await openSetup(context, {
      checks: [
        {
          name: 'policy',
          // Two is one too many.
          argv: [
            'sh',
            '-c',
            'echo "looking at $1"; test "$(grep -o create "$1" | wc -l)" -lt 2',
            'sh',
            '{plan}',
          ],
          required: true,
        },
        { name: 'cost', argv: ['sh', '-c', "echo '@team ``` 7 EUR'; exit 4"], required: false },
      ],
    });
    const good = await setup.world.commit({ 'main.tf': ONE });
    const run = await setup.ended((await setup.ask({ revision: good })).id);
    expect(run).toMatchObject({ state: 'succeeded' });
    const steps = await setup.store.steps(run.id);
    expect(steps.map(({ id, state, message }) => `${id} ${state}: ${message}`).slice(3)).toEqual([
      'check-policy succeeded: Passed',
      'check-cost failed: Failed with exit code 4 (not required)',
    ]);
    await setup.sent();
    const body = commentIn(setup) ?? '';
    expect(body).toContain('- Required check `policy`: Passed');
    expect(body).toContain('- Check `cost`: **Failed with exit code 4**');
    expect(body).toContain(
      '<summary>Last lines of the log of cost</summary>\n\n````text\n@team ``` 7 EUR\n````',
    );

    const two = ONE + ONE.replace('"one"', '"two"');
    const bad = await setup.world.commit({
      'a/main.tf': two,
      'b/main.tf': ONE,
      'c/main.tf': 'variable "must" {}',
    });
    const roots = ['a', 'b', 'c'].map(
      (directory) => ({ directory, tool: 'tofu', toolVersion: null }) as const,
    );
    const refused = await setup.ended((await setup.ask({ revision: bad, roots: roots.slice(0, 1) })).id);
    expect(refused).toMatchObject({
      state: 'failed',
      reason: 'check_failed',
      message: 'Required check not passed: policy',
    });
    await setup.sent();
    const refusal = commentIn(setup) ?? '';
    expect(refusal).toContain('### OpenTofu plan did not pass its checks');
    expect(refusal).toContain('**Plan: 2 to add, 0 to change, 0 to destroy.**');
    expect(refusal).toContain('terraform_data.two will be created');
    expect(refusal).toContain('- Required check `policy`: **Failed with exit code 1**');
    expect(refusal).toContain('Open the failed check');

    const some = await setup.ended((await setup.ask({ revision: bad, roots })).id);
    expect(some).toMatchObject({
      state: 'failed',
      reason: 'step_failed',
      message: '1/3 roots could not be planned, 1/3 roots did not pass a required check',
    });
    const all = await setup.store.steps(some.id);
    expect(all.map(({ id, state }) => `${id} ${state}`).slice(3)).toEqual([
      'check-policy a failed',
      'check-cost a failed',
      'init b succeeded',
      'plan b succeeded',
      'check-policy b succeeded',
      'check-cost b failed',
      'init c succeeded',
      'plan c failed',
      'check-policy c blocked',
      'check-cost c blocked',
    ]);
    await setup.sent();
    const both = commentIn(setup) ?? '';
    expect(both.match(/Required check `policy`/g)).toHaveLength(2);
    expect(both.indexOf('- Required check `policy`: Passed')).toBeGreaterThan(both.indexOf('#### `b`'));
  });

  it('uses an installed version if the requested one is missing, and the comment says so', async (context) => {
    const setup = await openSetup(context);
    const revision = await setup.world.commit({ 'main.tf': ONE });
    const roots = [{ directory: '.', tool: 'tofu', toolVersion: '9.9.9' }] as const;
    const run = await setup.ended((await setup.ask({ revision, roots: [...roots] })).id);
    expect(run).toMatchObject({
      state: 'succeeded',
      message: 'Planned: 1 to add, 0 to change, 0 to destroy',
    });
    await setup.sent();
    const body = commentIn(setup) ?? '';
    expect(body).toContain(
      '- tofu `9.9.9` is not installed on the server: planned with the tofu on the PATH',
    );
  });

  it('needs exactly the version that our own rules name', async (context) => {
    const setup = await openSetup(context);
    const revision = await setup.world.commit({ 'main.tf': ONE });
    const roots = [{ directory: '.', tool: 'tofu', toolVersion: '9.9.9' }] as const;
    const asked = await setup.ask({ revision, roots: [...roots], credential: 'configured' });
    expect(await setup.ended(asked.id)).toMatchObject({ state: 'errored', reason: 'tool_missing' });
  });

  it('F46: of a head from a fork fetches nothing until that very commit is approved', async (context) => {
    const setup = await openSetup(context);
    const revision = await setup.world.commit({ 'main.tf': ONE });
    const run = await setup.ask({ revision, fromFork: true });
    const waiting = await setup.ended(run.id, 'awaiting_approval');
    expect(waiting).toMatchObject({ state: 'awaiting_approval', revision: null });
    expect(existsSync(path.join(setup.world.root, 'repositories'))).toBe(false);
    expect((await setup.store.latestEvent(run.id, 'run.awaiting_approval'))?.subject).toBe(revision);
    await setup.sent();
    expect(commentIn(setup)).toContain('awaits approval');
    await setup.store.decide(run.id, 'approved', 'ada');
    expect(await setup.ended(run.id)).toMatchObject({ state: 'succeeded' });
    await setup.sent();
    expect(commentIn(setup)).toContain('1 to add');
  });

  it('F47: of a newer head from a fork needs an approval of its own', async (context) => {
    const setup = await openSetup(context);
    const facts = { isOpen: true, head: await setup.world.commit({ 'main.tf': ONE }), fromFork: true };
    setup.facts = facts;
    const first = await setup.ask({ revision: facts.head });
    await setup.ended(first.id, 'awaiting_approval');
    const head = await setup.world.commit({ 'main.tf': '' });
    setup.facts = { ...facts, head };
    const second = await setup.ask({ revision: head });
    expect(await setup.ended(first.id)).toMatchObject({ state: 'superseded', coveredBy: second.id });
    expect(await setup.store.decide(first.id, 'approved', 'eve')).toMatchObject({ decided: false });
    expect(await setup.ended(second.id, 'awaiting_approval')).toMatchObject({ state: 'awaiting_approval' });
  });

  it('F46: starts no program of the repository, and has no secret of the server in its environment', async (context) => {
    const setup = await openSetup(context);
    const canary = path.join(temporaryFolder(), 'started');
    const revision = await setup.world.commit({
      ...NEEDS_BOX,
      [`terraform.d/plugins/${BOX}`]: plugin(canary),
      [`.terraform/providers/${BOX}`]: plugin(canary),
      '.terraformrc': `plugin_cache_dir = "/nonexistent"\n`,
    });
    const run = await setup.ended((await setup.ask({ revision })).id);
    expect(run.state).not.toBe('succeeded');
    expect(existsSync(canary)).toBe(false);
  });

  it('is not made for a closed pull request, nor for an older head after a second look', async (context) => {
    const setup = await openSetup(context);
    const revision = await setup.world.commit({ 'main.tf': ONE });
    setup.facts = { isOpen: false, head: revision, fromFork: false };
    expect(await setup.ended((await setup.ask({ revision })).id)).toMatchObject({
      state: 'superseded',
      reason: 'pull_request_closed',
    });
    setup.facts = { isOpen: true, head: 'b'.repeat(40), fromFork: false };
    const late = await setup.ask({ revision });
    await expect.poll(async () => (await setup.store.run(late.id))?.notBefore).toBeGreaterThan(Date.now());
    // GitHub's servers agree by then.
    setup.facts = { isOpen: true, head: revision, fromFork: false };
    await setup.store.requestCancel(late.id, 'ada');
    expect(setup.comments().length).toBeLessThanOrEqual(1);
  });

  it('F46: waits while GitHub does not answer, and then for an approval', async (context) => {
    const setup = await openSetup(context);
    setup.facts = 'unavailable';
    const run = await setup.ask({ revision: 'a'.repeat(40) });
    await expect.poll(async () => (await setup.store.run(run.id))?.notBefore).toBeGreaterThan(Date.now());
    if (run.kind !== 'plan') throw new Error('It is no plan.');
    const later = { ...setup.options, now: () => Date.now() + 600_000 };
    expect(await whyNotPlanned(later, run, 'unavailable')).toMatchObject({ state: 'awaiting_approval' });
  });

  it('reports that its token is lost', async (context) => {
    const setup = await openSetup(context, { credentials: async () => null });
    const run = await setup.ended((await setup.ask({ revision: 'a'.repeat(40) })).id);
    expect(run).toMatchObject({ state: 'errored', reason: 'credentials_lost' });
  });

  it('stores a large plan up to 200 KB, cut in the middle', async (context) => {
    const setup = await openSetup(context);
    await mkdir(setup.directory, { recursive: true });
    const many = Array.from({ length: 1_500 }, (_, i) =>
      ONE.replace('"one"', `"many_${i}_${'x'.repeat(60)}"`),
    );
    const revision = await setup.world.commit({ 'main.tf': many.join('') });
    const run = await setup.ended((await setup.ask({ revision })).id);
    expect(run).toMatchObject({
      state: 'succeeded',
      message: 'Planned: 1500 to add, 0 to change, 0 to destroy',
    });
    const text = (await setup.store.latestEvent(run.id, 'run.planned'))?.text ?? '';
    expect(text.length).toBeLessThanOrEqual(200_000);
    expect(text).toContain('characters left out');
    expect(text).toContain('1500 to add');
    await setup.sent();
    expect(commentIn(setup)?.length).toBeLessThanOrEqual(65_000);
  });
});
