/** Lets each call of a sync fail once, one after the other, and checks the promises after each failure. */

import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { failingFiles, whileCallFails } from '../../faults/failing-files.fixture.ts';
import { failAtCall } from '../../faults/failing-store.fixture.ts';
import type { SyncRun } from '../../runs/run.ts';
import { createSyncWorld, type SyncWorld } from './sync-world.fixture.ts';

vi.mock('node:fs/promises', async (load) => failingFiles(await load()));

const REDIS = 'platform/redis';

async function worldWithRedis(path?: string): Promise<SyncWorld> {
  const world = await createSyncWorld(path);
  await world.commit({ 'platform/01.redis/deploy.py': '', 'platform/01.redis/compose.yaml': 'one' });
  await world.ask({ trigger: { source: 'sync_api' }, input: { selection: { mode: 'all' } } });
  expect(await world.work()).toMatchObject({ state: 'succeeded' });
  return world;
}

function askForced(world: SyncWorld): Promise<SyncRun> {
  const selection = { mode: 'services' as const, services: [REDIS] };
  return world.ask({ trigger: { source: 'sync_api' }, input: { selection, force: true } });
}

async function expectNothingLeft(world: SyncWorld, run: SyncRun): Promise<void> {
  expect(await world.hasEnded(run.id)).toBe(true);
  expect(Object.values(await world.steps(run.id))).not.toContain('running');
  expect(Object.values(await world.steps(run.id))).not.toContain('pending');
  expect(existsSync(world.lock)).toBe(false);
  expect(world.leftBehind()).toEqual([]);
  expect(world.processes(run.id)).toEqual([]);
  expect(world.tasks().filter((line) => line.startsWith('overlap'))).toEqual([]);
}

/** Expects that the next sync works without a restart, and without a wait for the lock. */
async function expectNextWorks(world: SyncWorld): Promise<void> {
  await askForced(world);
  const next = await world.work();
  expect([next?.state, next?.message]).toEqual(['succeeded', '1 service(s) synced successfully']);
}

/**
 * Checks what a failed sync leaves. The next sync of a sweep gets as far as the failed one and one call further, so only
 * every fifth failed sync is followed by a whole one.
 */
function followUp(world: SyncWorld) {
  let failures = 0;
  return async (run: SyncRun, hasWorked: boolean): Promise<void> => {
    await expectNothingLeft(world, run);
    failures = hasWorked ? 0 : failures + 1;
    if (failures % 5 === 4) await expectNextWorks(world);
  };
}

describe.each([
  { code: 'ENOSPC', reason: 'disk_full', below: 'everything' as const },
  { code: 'EACCES', reason: 'workspace_unavailable', below: 'the files of its tasks' as const },
])('A sync whose file system fails once with $code below $below', ({ code, reason, below }) => {
  it('ends with the true reason, and the next one works', { timeout: 300_000 }, async () => {
    const world = await worldWithRedis();
    const follow = followUp(world);
    const place = { everything: world.root, 'the files of its tasks': world.options.tempDir }[below];
    const failed: string[] = [];
    for (let call = 1; ; call += 1) {
      const run = await askForced(world);
      const hit = await whileCallFails({ call, code, below: place }, async () => void (await world.work()));
      const ended = await world.store.run(run.id);
      if (ended?.state !== 'succeeded') {
        expect([hit, ended?.state, ended?.reason]).toEqual([expect.any(String), 'errored', reason]);
        expect((await world.notices(run.id)).join('\n')).toContain(`${code}: `);
      }
      await follow(run, ended?.state === 'succeeded');
      if (hit === null) break;
      failed.push(hit);
    }
    expect(failed.some((hit) => hit.startsWith('mkdir'))).toBe(true);
    expect(failed.some((hit) => hit.startsWith('rm'))).toBe(true);
  });
});

describe('A sync if one of its git processes is killed', () => {
  /** A git that kills itself when it is the n-th that is started, by the number in the file `dies`. */
  async function worldWithMortalGit() {
    const folder = mkdtempSync(path.join(tmpdir(), 'iac-mortal-git-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const dies = path.join(folder, 'dies');
    const script = `#!/bin/sh
if [ -e '${dies}' ]; then
  n=1; while ! mkdir "${folder}/$n" 2> /dev/null; do n=$((n + 1)); done
  [ "$n" != "$(cat '${dies}')" ] || kill -KILL $$
fi
exec /usr/bin/git "$@"
`;
    writeFileSync(path.join(folder, 'git'), script, { mode: 0o755 });
    const world = await worldWithRedis(`${folder}:/usr/bin:/bin`);
    return {
      world,
      /** Resolves to whether so many were started. */
      async whileGitDies(call: number, work: () => Promise<unknown>): Promise<boolean> {
        writeFileSync(dies, String(call));
        await work();
        rmSync(dies);
        const started = readdirSync(folder).filter((name) => /^\d+$/.test(name));
        for (const name of started) rmSync(path.join(folder, name), { recursive: true });
        return started.length >= call;
      },
    };
  }

  it('reports that, and the next one works', { timeout: 300_000 }, async () => {
    const { world, whileGitDies } = await worldWithMortalGit();
    const follow = followUp(world);
    let deaths = 0;
    for (let call = 1; ; call += 1) {
      const run = await askForced(world);
      const hit = await whileGitDies(call, () => world.work());
      const ended = await world.store.run(run.id);
      if (!hit) {
        expect(ended).toMatchObject({ state: 'succeeded' });
        break;
      }
      deaths += 1;
      if (ended?.state !== 'succeeded') {
        expect([call, ended?.state, ended?.reason]).toEqual([call, 'errored', 'git_unavailable']);
        expect((await world.notices(run.id)).join('\n')).toContain('SIGKILL');
      }
      await follow(run, ended?.state === 'succeeded');
    }
    expect(deaths).toBeGreaterThan(5);
  });
});

describe('A sync whose task is killed', () => {
  it('at any of its lines ends and leaves no process, and the next one works', async () => {
    const world = await worldWithRedis();
    for (const line of [1, 2, 3]) {
      const lines = `for n in 1 2 3; do echo $n; [ $n != ${line} ] || kill -KILL $$; done`;
      world.script('redis.sync', `sleep 300 & ${lines}`);
      const run = await askForced(world);
      expect(await world.work()).toMatchObject({ state: 'failed', reason: 'step_failed' });
      expect(await world.store.steps(run.id)).toMatchObject([
        { state: 'failed', message: 'Killed by SIGKILL' },
      ]);
      await expectNothingLeft(world, run);
    }
    world.script('redis.sync', '');
    await expectNextWorks(world);
  });

  it('may leave read-only folders', async () => {
    const world = await worldWithRedis();
    world.script(
      'redis.sync',
      'cd "$(dirname "$IAC_RESULT_FILE")"; mkdir -p a/b; touch a/b/c; chmod 0 a/b a',
    );
    const run = await askForced(world);
    expect(await world.work()).toMatchObject({ state: 'succeeded' });
    await expectNothingLeft(world, run);
  });
});

describe('A sync whose store fails once', () => {
  it('ends or continues later, and the next one works', { timeout: 300_000 }, async () => {
    const world = await worldWithRedis();
    let failures = 0;
    for (let call = 1; ; call += 1) {
      const run = await askForced(world);
      const failing = failAtCall(world.store, call);
      await world.work(failing.store);
      const [failed] = failing.failed();
      const state = (await world.store.run(run.id))?.state;
      expect(['succeeded', 'queued'], `${call}: ${failed}`).toContain(state);
      // The run is postponed until the store is back, and nothing works on it meanwhile.
      if (state === 'queued') await world.store.requestCancel(run.id, 'test');
      await expectNothingLeft(world, run);
      if (state === 'queued') await expectNextWorks(world);
      if (failed === undefined) break;
      failures += 1;
    }
    expect(failures).toBeGreaterThan(3);
  });
});
