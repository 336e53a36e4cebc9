/** Runs that wait, go back or are retried follow their intent. */

import { renameSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { SyncRun } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { SyncInput } from '../../runs/sync/sync-input.ts';
import { retryRun } from '../../triggers/run-actions.ts';
import { sync } from './sync.ts';
import { createSyncWorld, type SyncWorld } from './sync-world.fixture.ts';

const noPromotion = async () => null;

const REDIS = 'platform/redis';

/** This is long ago, so that a run which waits for a window may begin as soon as the test asks. */
const CLOSED = Date.parse('2026-03-02T09:00:00Z');
const OPEN = Date.parse('2026-03-02T10:30:00Z');
const WINDOW = 'windows:\n  - { days: [mon], from: "10:00", to: "11:00" }\n';

async function worldWithRedis(files: Record<string, string> = {}): Promise<SyncWorld> {
  const world = await createSyncWorld();
  world.clock.now = OPEN;
  await world.commit({ ...files, ...compose('first') });
  await world.ask({ trigger: { source: 'sync_api' }, input: { selection: { mode: 'all' } } });
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
  world.forgetTasks();
  return world;
}

function compose(content: string): Record<string, string> {
  return { 'platform/01.redis/deploy.py': '', 'platform/01.redis/compose.yaml': content };
}

function askBack(world: SyncWorld, revision: string, more: Partial<SyncInput> = {}) {
  const selection = { mode: 'services' as const, services: [REDIS] };
  return world.ask({ trigger: { source: 'sync_api' }, input: { selection, revision, ...more } });
}

async function pinOf(world: SyncWorld): Promise<string | undefined> {
  return (await world.store.ledger('sync:main')).pins.get(REDIS);
}

/** Pushes and lets the push be worked on. */
async function deploy(world: SyncWorld, content: string): Promise<string> {
  const commit = await world.commit(compose(content));
  await world.pushed(commit);
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
  world.forgetTasks();
  return commit;
}

describe('A commit that was pushed while a window was closed', () => {
  it('is deployed at the opening only if it is the newest one, also if pushes were missed', async () => {
    const world = await worldWithRedis({ '.iac-runner.yaml': WINDOW });
    world.clock.now = CLOSED;
    await world.commit(compose('bad'));
    const { head, postponed } = await world.due();
    const found = await world.ask({ trigger: { source: 'reconcile' }, input: { revision: head, postponed } });
    expect(await world.work()).toMatchObject({ id: found.id, state: 'queued' });
    const fix = await world.commit(compose('fix'));
    world.clock.now = OPEN;
    expect(await world.work()).toMatchObject({ id: found.id, state: 'succeeded', revision: fix });
    expect(world.tasks()).toEqual([`redis.sync ${fix}`]);
    expect((await world.due()).services).toEqual([]);
  });

  it('is also left out by a run that is cut off at the opening before its first step', async () => {
    const world = await worldWithRedis({ '.iac-runner.yaml': WINDOW });
    world.clock.now = CLOSED;
    await world.commit(compose('bad'));
    const { head } = await world.due();
    const found = await world.ask({ trigger: { source: 'reconcile' }, input: { revision: head } });
    await world.work();
    const fix = await world.commit(compose('fix'));
    world.clock.now = OPEN;
    expect(await world.store.claim({ owner: 'test:1', leaseMs: 60_000 })).toMatchObject({
      run: { id: found.id, revision: head },
    });
    await world.store.takeBack({ all: true, maxAttempts: 3 });
    expect(await world.work()).toMatchObject({ state: 'succeeded', revision: fix, attempt: 2 });
    expect(world.tasks()).toEqual([`redis.sync ${fix}`]);
  });

  it('is not undone by a run that is cut off after the opening', async () => {
    const world = await worldWithRedis({ '.iac-runner.yaml': WINDOW });
    const both = (content: string) => ({
      ...compose(content),
      'platform/02.dashy/deploy.py': `# ${content}`,
    });
    await world.pushed(await world.commit(both('second')));
    await world.work();
    world.forgetTasks();
    world.clock.now = CLOSED;
    await world.commit(both('bad'));
    const { head } = await world.due();
    await world.ask({ trigger: { source: 'reconcile' }, input: { revision: head } });
    await world.work();
    const fix = await world.commit(both('fix'));
    world.clock.now = OPEN;
    await cutOffAfterOneService(world);
    expect(world.tasks()).toEqual([`redis.sync ${fix}`]);
    expect(await world.work()).toMatchObject({ state: 'succeeded', revision: fix, attempt: 2 });
    expect(world.tasks()).toEqual([`redis.sync ${fix}`, `dashy.sync ${fix}`]);
    expect((await world.due()).services).toEqual([]);
  });

  it('is not synced by a run that is cut off while a forced push takes it off the branch', async () => {
    const world = await worldWithRedis({ '.iac-runner.yaml': WINDOW });
    world.clock.now = CLOSED;
    const kept = await world.commit(compose('kept'));
    await world.pushed(kept);
    await world.work();
    const lost = await world.commit(compose('lost'));
    world.clock.now = OPEN;
    await cutOffAfterOneService(world);
    expect(world.tasks()).toEqual([`redis.sync ${lost}`]);
    await world.shell(['reset', '--quiet', '--hard', kept]);
    const head = await world.commit(compose('head'));
    expect(await world.work()).toMatchObject({ state: 'superseded', reason: 'not_on_branch' });
    expect(await world.work()).toMatchObject({ state: 'succeeded', revision: head });
    expect(world.tasks()).toEqual([`redis.sync ${lost}`, `redis.sync ${head}`]);
  });

  it('by a push after a reconcile is deployed too, and the push gets the outcome', async () => {
    const world = await worldWithRedis({ '.iac-runner.yaml': WINDOW });
    world.clock.now = CLOSED;
    await world.commit(compose('bad'));
    const { head } = await world.due();
    const found = await world.ask({ trigger: { source: 'reconcile' }, input: { revision: head } });
    await world.work();
    const fix = await world.commit(compose('fix'));
    const push = await world.pushed(fix);
    world.clock.now = OPEN;
    expect(await world.work()).toMatchObject({ id: push.id, state: 'succeeded', revision: fix });
    expect(await world.store.run(found.id)).toMatchObject({ state: 'superseded', coveredBy: push.id });
    expect(world.tasks()).toEqual([`redis.sync ${fix}`]);
  });

  it('before and after a request by name is deployed too', async () => {
    const world = await worldWithRedis({ '.iac-runner.yaml': WINDOW });
    world.clock.now = CLOSED;
    await world.pushed(await world.commit(compose('bad')));
    await world.work();
    await world.ask({ trigger: { source: 'sync_api' }, input: { selection: { mode: 'all' } } });
    await world.work();
    const fix = await world.commit(compose('fix'));
    await world.pushed(fix);
    world.clock.now = OPEN;
    while (await world.work());
    expect(world.tasks()).toEqual([`redis.sync ${fix}`]);
  });
});

/** Does what happens when the server is killed and another one takes its run back. */
async function cutOffAfterOneService({ store, options }: SyncWorld): Promise<void> {
  const claim = await store.claim({ owner: 'test:1', leaseMs: 60_000 });
  if (claim?.run.kind !== 'sync') throw new Error('There is no sync to claim.');
  const { signal } = new AbortController();
  const emit = async (...events: RunEventBody[]) => {
    await store.append(claim.lease, events);
    if (events.some(({ type }) => type === 'step.finished')) throw new Error('The server was killed.');
  };
  const context = { run: claim.run, covers: [], signal, draining: signal, emit };
  await expect(sync(options, context)).rejects.toThrow('The server was killed.');
  await store.takeBack({ all: true, maxAttempts: 3 });
}

describe('A rollback', () => {
  it('that failed is retried as a rollback', async () => {
    const world = await worldWithRedis();
    const good = await deploy(world, 'good');
    await deploy(world, 'bad');
    renameSync(world.remote, `${world.remote}.away`);
    const rollback = await askBack(world, good);
    expect(await world.work()).toMatchObject({ state: 'errored', reason: 'git_unavailable' });
    renameSync(`${world.remote}.away`, world.remote);
    const retried = await retryRun({ store: world.store, promoteAgain: noPromotion }, rollback.id, 'ada');
    expect(retried.status).toBe('accepted');
    expect(await world.work()).toMatchObject({ state: 'succeeded', revision: good });
    expect(world.tasks()).toEqual([`redis.sync ${good}`]);
    expect(await pinOf(world)).toBe(good);
  });

  it('that an earlier version stored is still a rollback', async () => {
    const world = await worldWithRedis();
    const good = await deploy(world, 'good');
    await deploy(world, 'bad');
    const { trigger, input, concurrencyGroup } = await askBack(world, good);
    const { intent, ...old } = input;
    expect(intent).toBe('back');
    expect(await world.work()).toMatchObject({ state: 'succeeded' });
    await deployUnpinned(world);
    world.forgetTasks();
    const stored = {
      kind: 'sync',
      trigger,
      input: old,
      concurrencyGroup,
      coalesce: false,
      dedupeKey: null,
    } as const;
    await world.store.enqueue(stored);
    expect(await world.work()).toMatchObject({ state: 'succeeded', revision: good });
    expect(await pinOf(world)).toBe(good);
  });

  it('to the head ends an earlier rollback, so that the service follows the branch again', async () => {
    const world = await worldWithRedis();
    const good = await deploy(world, 'good');
    const head = await deploy(world, 'head');
    await askBack(world, good);
    expect(await world.work()).toMatchObject({ state: 'succeeded' });
    expect(await pinOf(world)).toBe(good);
    await askBack(world, head);
    expect(await world.work()).toMatchObject({ state: 'succeeded', revision: head });
    expect(await pinOf(world)).toBeUndefined();
  });

  it('waits for a window and says how to avoid that, and does not wait by force', async () => {
    const world = await worldWithRedis({ '.iac-runner.yaml': WINDOW });
    const good = await deploy(world, 'good');
    await deploy(world, 'bad');
    world.clock.now = CLOSED;
    const waiting = await askBack(world, good);
    expect(await world.work()).toMatchObject({
      state: 'queued',
      message: expect.stringContaining('--force'),
    });
    await world.store.requestCancel(waiting.id, 'ada');
    await askBack(world, good, { force: true });
    expect(await world.work()).toMatchObject({ state: 'succeeded', revision: good });
    expect(world.tasks()).toEqual([`redis.sync ${good}`]);
  });

  it('to a commit that has left the branch deploys nothing, and reports that', async () => {
    const world = await worldWithRedis();
    const kept = await world.shell(['rev-parse', 'HEAD']);
    const withdrawn = await deploy(world, 'withdrawn');
    await world.shell(['reset', '--quiet', '--hard', kept]);
    await world.commit(compose('bad'));
    await askBack(world, withdrawn);
    expect(await world.work()).toMatchObject({
      state: 'failed',
      reason: 'unknown_revision',
      message: `${withdrawn.slice(0, 8)} is not on main any more, so nothing was taken back`,
    });
    expect(await world.work()).toBeNull();
    expect(world.tasks()).toEqual([]);
    expect(await pinOf(world)).toBeUndefined();
  });
});

describe('A forced push', () => {
  /** Takes the latest commits off the branch and puts another one in their place. */
  async function rewrite(world: SyncWorld, back: string, content: string): Promise<string> {
    await world.shell(['reset', '--quiet', '--hard', back]);
    return world.commit(compose(content));
  }

  const notOnBranch = (commit: string, synced: string) => ({
    state: 'superseded',
    reason: 'not_on_branch',
    message: expect.stringContaining(`${commit.slice(0, 8)} is not on main`),
    coveredBy: synced,
  });

  it('takes commits off the branch, which then get no outcome of a newer push that covers them', async () => {
    const world = await worldWithRedis();
    const kept = await world.commit(compose('kept'));
    const keptPush = await world.pushed(kept);
    const lost = await world.commit(compose('lost'));
    const lostPush = await world.pushed(lost);
    const head = await rewrite(world, kept, 'head');
    const push = await world.pushed(head);
    expect(await world.work()).toMatchObject({ id: push.id, state: 'succeeded', revision: head });
    expect(await world.store.run(lostPush.id)).toMatchObject(notOnBranch(lost, push.id));
    expect(await world.store.run(keptPush.id)).toMatchObject({
      reason: 'covered_by_newer',
      coveredBy: push.id,
    });
    expect(world.tasks()).toEqual([`redis.sync ${head}`]);
  });

  it('is followed by the head, whose outcome goes only to the commits that it contains', async () => {
    const world = await worldWithRedis();
    const kept = await world.commit(compose('kept'));
    const keptPush = await world.pushed(kept);
    const lost = await world.commit(compose('lost'));
    const lostPush = await world.pushed(lost);
    const late = await world.pushed(await world.commit(compose('late')));
    const head = await rewrite(world, kept, 'head');
    expect(await world.work()).toMatchObject({ id: late.id, reason: 'not_on_branch' });
    // The branch is rewritten again before a run works on its head, and one more push is lost with it.
    const laterLost = await world.pushed(head);
    const last = await rewrite(world, kept, 'last');
    expect(await world.work()).toMatchObject({ id: laterLost.id, reason: 'not_on_branch' });
    const followUp = await world.work();
    expect(followUp).toMatchObject({ state: 'succeeded', revision: last });
    expect(await world.store.run(lostPush.id)).toMatchObject(notOnBranch(lost, late.id));
    expect(await world.store.run(keptPush.id)).toMatchObject({ reason: 'covered_by_newer' });
    expect(world.tasks()).toEqual([`redis.sync ${last}`]);
    expect(await world.work()).toBeNull();
  });

  it('is followed by the head, which covers a push that waited, and that push does not get its success', async () => {
    const world = await worldWithRedis();
    const base = await world.shell(['rev-parse', 'HEAD']);
    const first = await world.pushed(await world.commit(compose('first lost')));
    const lost = await world.commit(compose('lost'));
    const head = await rewrite(world, base, 'head');
    const waiting: SyncRun[] = [];
    const store: RunStore = {
      ...world.store,
      async append(...values) {
        if (waiting.length === 0) waiting.push(await world.pushed(lost));
        return world.store.append(...values);
      },
    };
    expect(await world.work(store)).toMatchObject({ id: first.id, reason: 'not_on_branch' });
    const followUp = await world.work();
    expect(followUp).toMatchObject({ state: 'succeeded', revision: head });
    expect(await world.store.run(waiting[0]?.id ?? '')).toMatchObject(notOnBranch(lost, followUp?.id ?? ''));
    expect(await world.work()).toBeNull();
  });

  it('with two commits that do not contain each other is synced at a commit that contains both', async () => {
    const world = await worldWithRedis();
    const base = await world.shell(['rev-parse', 'HEAD']);
    const one = await world.commit(compose('one'));
    await world.pushed(one);
    await world.shell(['reset', '--quiet', '--hard', base]);
    const two = await world.commit({ 'README.md': 'two' });
    await world.pushed(two);
    await world.shell(['merge', '--quiet', '--no-edit', one]);
    const head = await world.commit({ 'README.md': 'merged' });
    expect(await world.work()).toMatchObject({ state: 'succeeded', revision: head });
    expect(world.tasks()).toEqual([`redis.sync ${head}`]);
  });
});

async function deployUnpinned(world: SyncWorld): Promise<void> {
  const selection = { mode: 'services' as const, services: [REDIS] };
  await world.ask({ trigger: { source: 'sync_api' }, input: { selection, unpin: true } });
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
}
