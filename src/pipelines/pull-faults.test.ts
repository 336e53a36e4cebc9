/** Plans and comment commands whose store, or whose tool, fails at any point. */

import { describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../errors.ts';
import { failAtCall } from '../faults/failing-store.fixture.ts';
import { isFinal, type Run } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import type { Outcome } from './pipeline.ts';
import { openPullSetup, type PullSetup } from './pull-setup.fixture.ts';

/** Attempts until the run has ended, or waits: for an approval, or for its deployments. */
async function attempt(
  room: PullSetup,
  kind: 'plan' | 'command',
  seen: RunStore = room.store,
): Promise<Outcome> {
  for (;;) {
    const claim = await room.claim(kind);
    try {
      const outcome = await room.perform(claim, seen);
      if (outcome.state === 'queued') await room.putBack(claim);
      else await room.end(claim, outcome);
      return outcome;
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      await room.putBack(claim);
    }
  }
}

/** A command to its end, with the deployments that it asks for. */
async function obey(room: PullSetup, seen: RunStore = room.store): Promise<Outcome> {
  for (;;) {
    const outcome = await attempt(room, 'command', seen);
    if (outcome.state !== 'queued') return outcome;
    const claim = await room.claim();
    await room.end(claim, await room.work(claim));
  }
}

const deploymentsOf = async ({ store }: PullSetup) =>
  (await store.runs({ limit: 1_000 })).filter(({ kind }) => kind === 'deploy');

async function expectOver(room: PullSetup, run: Run): Promise<void> {
  const { state } = (await room.store.run(run.id)) ?? run;
  expect(isFinal(state)).toBe(true);
  const steps = await room.store.steps(run.id);
  expect(steps.filter((step) => step.state === 'pending' || step.state === 'running')).toEqual([]);
  expect(room.leftOf(run.id)).toEqual([]);
}

describe('The plan of a pull request', { timeout: 300_000 }, () => {
  it('ends although the store fails at any call, and starts nothing before it is approved', async () => {
    const room = await openPullSetup();
    for (let n = 1; ; n += 1) {
      const run = await room.askForPlan(`p${n}`);
      const failing = failAtCall(room.store, n);
      const before = room.argv().length;
      expect((await attempt(room, 'plan', failing.store)).state).toBe('awaiting_approval');
      expect(room.argv()).toHaveLength(before);
      expect(room.leftOf(run.id)).toEqual([]);
      await room.store.decide(run.id, 'approved', 'ada');
      expect(await attempt(room, 'plan', failing.store)).toMatchObject({
        state: 'succeeded',
        message: 'Planned: 1 to add, 0 to change, 0 to destroy',
      });
      await expectOver(room, run);
      if (failing.failed().length === 0) break;
    }
    expect(room.applied()).toBe(0);
    expect(room.argv().filter((line) => line.startsWith('apply'))).toEqual([]);
  });

  it('ends although its tool dies at any of its lines, and leaves nothing behind', async () => {
    const room = await openPullSetup();
    const ends: string[] = [];
    for (let n = 1; n <= 6; n += 1) {
      room.dieAt(n);
      const run = await room.askForPlan(`p${n}`);
      await attempt(room, 'plan');
      await room.store.decide(run.id, 'approved', 'ada');
      ends.push((await attempt(room, 'plan')).state);
      await expectOver(room, run);
    }
    // init; plan twice; show twice; and nothing any more.
    expect(ends).toEqual([...Array.from({ length: 5 }, () => 'failed'), 'succeeded']);
  });
});

describe('The command of a comment', { timeout: 300_000 }, () => {
  it('ends although the store fails at any call, and applies an approved head once', async () => {
    const room = await openPullSetup();
    for (let n = 1; ; n += 1) {
      const run = await room.askForApply(n);
      const failing = failAtCall(room.store, n);
      expect(await obey(room, failing.store)).toMatchObject({ state: 'succeeded' });
      expect(room.applied()).toBe(n);
      expect(await deploymentsOf(room)).toHaveLength(n);
      await expectOver(room, run);
      if (failing.failed().length === 0) break;
    }
  });

  it('applies nothing without an approval although the store fails at any call', async () => {
    const room = await openPullSetup();
    room.github.approved = false;
    for (let n = 1; ; n += 1) {
      const run = await room.askForApply(n);
      const failing = failAtCall(room.store, n);
      expect(await obey(room, failing.store)).toMatchObject({ state: 'failed', reason: 'not_approved' });
      await expectOver(room, run);
      if (failing.failed().length === 0) break;
    }
    expect(await deploymentsOf(room)).toEqual([]);
    expect(room.argv()).toEqual([]);
  });

  it('ends although its tool dies at any of its lines, and is applied at most once', async () => {
    const room = await openPullSetup();
    const ends: string[] = [];
    for (let n = 1; n <= 9; n += 1) {
      room.dieAt(n);
      const before = room.applied();
      const run = await room.askForApply(n);
      const { state } = await obey(room);
      ends.push(state);
      expect(room.applied() - before).toBeLessThanOrEqual(1);
      if (state === 'succeeded') expect(room.applied() - before).toBe(1);
      await expectOver(room, run);
      expect(await deploymentsOf(room)).toHaveLength(n);
    }
    // The outputs, which are read last, are no part of what was to be applied.
    expect(ends).toEqual([
      ...Array.from({ length: 7 }, () => 'failed'),
      ...Array.from({ length: 2 }, () => 'succeeded'),
    ]);
  });
});
