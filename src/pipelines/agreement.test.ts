import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Executor } from '../executor/executor.ts';
import { createGit } from '../git/git.ts';
import { createMirror } from '../git/own/mirror.ts';
import { createWorkspace } from '../git/own/workspace.ts';
import { openClone } from '../git/requested/clone.ts';
import { createScratchRepository } from '../git/requested/scratch-repository.ts';
import { captureProcess } from '../process/capture.ts';
import type { PreviewInput, RunRequest } from '../runs/run.ts';
import type { ServiceDecision } from '../runs/run-events.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import type { SyncInput } from '../runs/sync/sync-input.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { executeRun } from '../worker/execute-run.ts';
import { preview } from './preview/preview.ts';
import { type Chance, createChance } from './random/chance.fixture.ts';
import { randomHistory } from './random/history.fixture.ts';
import { ENVIRONMENTS } from './random/rules.fixture.ts';
import { explainRange } from './selection/explain-range.ts';
import { sync } from './sync/sync.ts';

/** By default as many as take about a minute. */
const HISTORIES = Number(process.env.HISTORIES ?? 30);
const FIRST_SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 1e6));
const SEEDS = Array.from({ length: HISTORIES }, (_, index) => FIRST_SEED + index);

const TASK_ENVIRONMENT = { REGION: 'eu', DB_TOKEN: 'd', WEB_TOKEN: 'w' };

type Decisions = Record<string, ServiceDecision['decision']>;

interface Ran {
  state: string;
  message: string;
  decisions: Decisions;
  /** Services whose task was started, and those that were held back by a failed one they need. */
  started: string[];
  blocked: string[];
}

let root = '';
let store: RunStore;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'agreement-'));
  store = await createSqliteStore({ directory: path.join(root, 'data') });
});
afterAll(async () => {
  await store.close();
  await rm(root, { recursive: true, force: true });
});

let claiming: Promise<unknown> = Promise.resolve();

/** One at a time, so that each history gets the run it asked for. */
function claimAlone(request: RunRequest): Promise<Claim> {
  const claimed = claiming.then(async () => {
    await store.enqueue(request);
    const claim = await store.claim({ owner: 'test', leaseMs: 60_000 });
    if (!claim) throw new Error('There is no run to claim.');
    return claim;
  });
  claiming = claimed.catch(() => undefined);
  return claimed;
}

describe('An explanation before a run names the services that the run syncs (SEED=… HISTORIES=1 repeats one)', () => {
  it.concurrent.each(SEEDS)('in history %i', async (seed) => {
    const world = await createWorld(seed, createChance(seed));
    const { start, later, pull } = world.commits;

    await world.setBranch(start);
    const first = await world.sync({ selection: { mode: 'all' } });
    expect(first).toMatchObject({ state: 'succeeded' });

    const explained = await world.explain(start, later);
    await world.setBranch(later);
    world.failSome();
    const pushed = await world.sync({ revision: later, before: start });
    expect(explained).toEqual(pushed.decisions);
    expect(pushed).not.toMatchObject({ state: 'errored' });
    expect(runsOf(explained)).toEqual([...pushed.started, ...pushed.blocked].toSorted());

    // From here on there is a ledger in which services have failed, were removed, or stand at different commits.
    const previewed = await world.preview(pull);
    const merged = await world.merge(later, pull);
    if (merged === null) return;
    await world.setBranch(merged);
    const after = await world.sync({ revision: merged, before: later });
    // A service that was already due is synced after the merge, or reported as removed.
    for (const [service, decision] of Object.entries(after.decisions)) {
      if (previewed[service] === 'already_due') expect(['run', 'removed']).toContain(decision);
      else expect([service, previewed[service]]).toEqual([service, decision]);
    }
    expect(Object.keys(previewed).toSorted()).toEqual(Object.keys(after.decisions).toSorted());
  });
});

function runsOf(decisions: Decisions): string[] {
  return Object.keys(decisions)
    .filter((service) => decisions[service] === 'run')
    .toSorted();
}

function byService(services: readonly ServiceDecision[]): Decisions {
  return Object.fromEntries(services.map(({ service, decision }) => [service, decision]));
}

async function createWorld(seed: number, chance: Chance) {
  const environment = chance.pick([null, ...ENVIRONMENTS]);
  const folder = path.join(root, `history-${seed}`);
  const remote = path.join(folder, 'remote.git');
  const group = `sync:main-${seed}`;
  const branch = `main-${seed}`;
  await mkdir(folder);
  const env = { PATH: process.env.PATH ?? '', HOME: folder, GIT_CONFIG_NOSYSTEM: '1' };
  async function shell(args: readonly string[], input = ''): Promise<{ exitCode: number; stdout: string }> {
    const argv = ['git', '-c', 'user.name=Dev', '-c', 'user.email=dev@example.com', ...args] as const;
    const result = await captureProcess({ argv: [...argv], cwd: folder, env, timeoutMs: 30_000, input });
    if (result.kind !== 'exited') throw new Error(JSON.stringify(result));
    if (result.exitCode > 1) throw new Error(`git ${args.join(' ')}: ${result.stderr}`);
    return { exitCode: result.exitCode, stdout: result.stdout.toString().trim() };
  }
  const inRemote = (...args: string[]) => shell(['--git-dir', remote, ...args]);

  const { stream, marks } = randomHistory(chance);
  await shell(['init', '--quiet', '--bare', remote]);
  const exported = `--export-marks=${path.join(folder, 'marks')}`;
  await shell(['--git-dir', remote, 'fast-import', '--quiet', '--done', exported], stream);
  const written = await readFile(path.join(folder, 'marks'), 'utf8');
  const ids = new Map(written.split('\n').map((line) => [line.split(' ')[0], line.split(' ')[1] ?? '']));
  const commitOf = (mark: number): string => ids.get(`:${mark}`) ?? '';

  const git = createGit({
    path: env.PATH,
    home: folder,
    remote: { url: remote, token: null },
    timeoutMs: 30_000,
  });
  const mirror = createMirror({
    git,
    directory: path.join(folder, 'mirror.git'),
    followed: { branch },
    log: { warn: () => undefined },
    requireSpace: async () => undefined,
  });
  let failing: () => boolean = () => false;
  let started: string[] = [];
  const executor: Pick<Executor, 'run'> = {
    async run({ env: { IAC_SERVICE: service = '' } }) {
      started.push(service);
      return { kind: 'exited', exitCode: failing() ? 1 : 0 };
    },
  };
  const syncOptions = {
    mirror,
    workspace: createWorkspace({
      git,
      mirror,
      directory: path.join(folder, 'work'),
      requireSpace: async () => undefined,
    }),
    lockPath: path.join(folder, '.sync.lock'),
    environment,
    windows: [],
    readSecrets: () => ({}),
    requireSignature: false,
    now: Date.now,
    ledger: store.ledger,
    holds: store.holds,
    steps: store.steps,
    refuse: async () => null,
    outside: null,
    executor,
    invokeCommand: ['invoke'] as const,
    plumbing: {},
    taskEnvironment: TASK_ENVIRONMENT,
    mask: (text: string) => text,
    tempDir: path.join(folder, 'tmp'),
    timeoutMs: 1_000,
    concurrency: 4,
    lockWaitMs: 1_000,
  };
  const objects = path.join(folder, 'mirror.git/objects');
  const previewOptions = {
    mirror,
    openScratch: () => createScratchRepository({ git, directory: path.join(folder, 'scratch'), objects }),
    environment,
    ledger: () => store.ledger(group),
    holds: store.holds,
    taskEnvironment: TASK_ENVIRONMENT,
  };

  async function execute(request: RunRequest): Promise<Ran> {
    const claim = await claimAlone(request);
    started = [];
    const never = new AbortController().signal;
    await executeRun(
      {
        store,
        pipelines: {
          sync: (context) => sync(syncOptions, context),
          preview: (context) => preview(previewOptions, context),
          deploy: () => Promise.reject(new Error('Nothing is deployed here.')),
          plan: () => Promise.reject(new Error('Nothing is planned here.')),
          command: () => Promise.reject(new Error('Nothing is commanded here.')),
        },
        leaseMs: 60_000,
        draining: never,
        stopping: never,
        log: pino({ level: 'silent' }),
      },
      claim,
    );
    const explained = await store.latestEvent(claim.run.id, 'run.explained');
    const run = await store.run(claim.run.id);
    if (!explained) throw new Error(`The run explained nothing: ${run?.state}, ${run?.message}`);
    const steps = await store.steps(claim.run.id);
    return {
      state: run?.state ?? '',
      message: run?.message ?? '',
      decisions: byService(explained.explanation.services),
      // The check of a service is a second command.
      started: [...new Set(started)].toSorted(),
      blocked: steps.filter(({ state }) => state === 'blocked').map(({ id }) => id),
    };
  }

  const nobody = { actor: null, deliveryId: null, retryOf: null };
  return {
    commits: { start: commitOf(marks.start), later: commitOf(marks.later), pull: commitOf(marks.pull) },
    setBranch: (commit: string) => inRemote('update-ref', `refs/heads/${branch}`, commit),
    failSome() {
      failing = () => chance.happens(0.25);
    },
    async sync(input: Partial<SyncInput>): Promise<Ran> {
      return execute({
        kind: 'sync',
        trigger: { source: 'webhook', ...nobody },
        input: {
          branch,
          revision: null,
          before: null,
          selection: { mode: 'changed' },
          force: false,
          dryRun: false,
          postponed: [],
          unpin: false,
          announced: [],
          ...input,
        },
        concurrencyGroup: group,
        coalesce: false,
        dedupeKey: null,
      });
    },
    async explain(from: string, to: string): Promise<Decisions> {
      const clone = await openClone({ git, folder: remote, directory: path.join(folder, 'explained') });
      const { explanation } = await explainRange(clone.scratch.reader(to), { from, to, environment });
      return byService(explanation.services);
    },
    async preview(head: string): Promise<Decisions> {
      const input: PreviewInput = { branch, revision: head, pullRequest: 1 };
      const trigger = { source: 'pull_request', ...nobody } as const;
      const concurrencyGroup = `preview:${seed}`;
      const { decisions } = await execute({
        kind: 'preview',
        trigger,
        input,
        concurrencyGroup,
        coalesce: true,
        dedupeKey: null,
      });
      return decisions;
    },
    /** Null when the two conflict. */
    async merge(base: string, head: string): Promise<string | null> {
      const { exitCode, stdout } = await inRemote('merge-tree', '--write-tree', base, head);
      if (exitCode === 1) return null;
      const { stdout: commit } = await inRemote(
        'commit-tree',
        stdout.split('\n')[0] ?? '',
        '-p',
        base,
        '-p',
        head,
        '-m',
        'Merge',
      );
      return commit;
    },
  };
}
