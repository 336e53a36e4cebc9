/** Everything that a sync works with, and all of it real: the SQLite store, git, a remote, and tasks as processes. */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { onTestFinished } from 'vitest';
import { createLocalExecutor } from '../../executor/local.ts';
import { createWorld, PATH } from '../../git/test-support.ts';
import { enqueueSync, type SyncRequest } from '../../runs/enqueue.ts';
import { isFinal, type Run, type Step, type SyncRun } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { scopeOfInput } from '../../runs/sync/place.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { executeRun } from '../../worker/execute-run.ts';
import { dueServices } from '../selection/due-services.ts';
import { sync } from './sync.ts';
import type { SyncOptions } from './sync-service.ts';

const LEASE_MS = 60_000;
const never = new AbortController().signal;

/** A task that records its service and commit, notices when another task runs, and fails if a certain file exists. */
const TASK = `#!/bin/sh
exec 9> "$STATE/busy"
flock --nonblock 9 || echo "overlap $1 $IAC_COMMIT" >> "$STATE/journal"
echo "$1 $IAC_COMMIT" >> "$STATE/journal"
[ ! -e "$STATE/$1.sh" ] || . "$STATE/$1.sh"
[ ! -e "$STATE/$1.fails" ]
`;

export type SyncWorld = Awaited<ReturnType<typeof createSyncWorld>>;

/** `path` is where git is looked for. */
export async function createSyncWorld(path?: string) {
  const world = await createWorld(path === undefined ? {} : { path });
  const state = join(world.root, 'state');
  const store = await createSqliteStore({ directory: join(world.root, 'store') });
  onTestFinished(() => store.close());
  mkdirSync(state);
  const task = join(state, 'task');
  writeFileSync(task, TASK, { mode: 0o755 });
  const clock = { now: Date.now() };
  const workspaceDir = join(world.root, 'work');
  const options: SyncOptions = {
    mirror: world.mirror,
    workspace: world.workspace,
    lockPath: join(workspaceDir, '.sync.lock'),
    environment: null,
    windows: [],
    requireSignature: false,
    now: () => clock.now,
    ledger: store.ledger,
    holds: store.holds,
    steps: store.steps,
    refuse: async () => null,
    outside: null,
    executor: createLocalExecutor(),
    invokeCommand: [task],
    plumbing: { PATH, STATE: state },
    taskEnvironment: {},
    readSecrets: () => ({}),
    mask: (text) => text,
    tempDir: join(world.root, 'tmp'),
    timeoutMs: 60_000,
    concurrency: 1,
    lockWaitMs: 0,
  };
  const journal = join(state, 'journal');
  /** The options of places other than the branch main, by their scopes. */
  const places = new Map<string, SyncOptions>();

  return {
    ...world,
    store,
    state,
    options,
    places,
    clock,
    lock: join(workspaceDir, '.sync.lock'),
    /** Stores a request for a sync of the branch. */
    async ask(
      request: Omit<SyncRequest, 'input'> & { input?: Partial<SyncRequest['input']> },
    ): Promise<SyncRun> {
      const input = { branch: 'main', selection: { mode: 'changed' } as const, ...request.input };
      const { run } = await enqueueSync(store, { ...request, input });
      return syncRun(run);
    },
    /** A push as the webhook stores it. */
    pushed(revision: string, before: string | null = null) {
      return this.ask({ trigger: { source: 'webhook' }, input: { revision, before } });
    },
    /** Works on the next run that may begin; null when there is none. */
    async work(working: RunStore = store): Promise<SyncRun | null> {
      const claim = await store.claim({ owner: 'test:1', leaseMs: LEASE_MS });
      if (!claim) return null;
      await executeRun(
        {
          store: working,
          pipelines: {
            ...NO_OTHERS,
            sync: (context) => sync(places.get(claim.run.concurrencyGroup) ?? options, context),
          },
          leaseMs: LEASE_MS,
          draining: never,
          stopping: never,
          log: pino({ level: 'silent' }),
        },
        claim,
      );
      return syncRun(await store.run(claim.run.id));
    },
    due: () =>
      dueServices({ ...options, retries: 3, now: () => clock.now }, scopeOfInput({ branch: 'main' }), never),
    /** The calls of the tasks, in order: `redis.sync <commit>`, or `overlap …`. */
    tasks: () => (existsSync(journal) ? readFileSync(journal, 'utf8').trim().split('\n') : []),
    forgetTasks: () => rmSync(journal, { force: true }),
    /** Adds shell lines to the task of a service. */
    script: (task: string, shell: string) => writeFileSync(join(state, `${task}.sh`), shell),
    fail: (task: string) => writeFileSync(join(state, `${task}.fails`), ''),
    repair: (task: string) => rmSync(join(state, `${task}.fails`), { force: true }),
    /** The files that tasks got and that still exist. After a run there must be none. */
    leftBehind: () => (existsSync(options.tempDir) ? readdirSync(options.tempDir) : []),
    async steps(runId: string): Promise<Record<string, Step['state']>> {
      return Object.fromEntries((await store.steps(runId)).map(({ id, state: of }) => [id, of]));
    },
    async notices(runId: string): Promise<string[]> {
      const events = await store.events(runId, { after: 0, limit: 1_000 });
      return events.flatMap((event) => (event.type === 'run.notice' ? [event.message] : []));
    },
    /** The processes of the run, whatever their parent is. */
    processes: (runId: string) =>
      readdirSync('/proc').filter(
        (pid) => /^\d+$/.test(pid) && environmentOf(pid).includes(`IAC_RUN_ID=${runId}`),
      ),
    async hasEnded(runId: string): Promise<boolean> {
      const run = await store.run(runId);
      return run !== null && isFinal(run.state);
    },
  };
}

function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return [];
  }
}

async function noOther(): Promise<never> {
  throw new Error('Only syncs are worked on here.');
}

const NO_OTHERS = { preview: noOther, deploy: noOther, plan: noOther, command: noOther };

function syncRun(run: Run | null): SyncRun {
  if (run?.kind !== 'sync') throw new Error('There is no such sync.');
  return run;
}
