/** Plans and comment commands whose store, or whose tool, fails at any point. */

import { describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../errors.ts';
import { failAtCall } from '../faults/failing-store.fixture.ts';
import { isFinal, type Run } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import type { Outcome } from './pipeline.ts';
import { openPullSetup, type PullSetup } from './pull-setup.fixture.ts';

/** Repeats attempts until the run has ended, or waits for an approval or for its deployments. */
async function attempt(
  setup: PullSetup,
  kind: 'plan' | 'command',
  seen: RunStore = setup.store,
): Promise<Outcome> {
  for (;;) {
    const claim = await setup.claim(kind);
    try {
      const outcome = await setup.perform(claim, seen);
      if (outcome.state === 'queued') await setup.putBack(claim);
      else await setup.end(claim, outcome);
      return outcome;
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      await setup.putBack(claim);
    }
  }
}

/** Works on a command, and on the deployments that it requests, until the command has ended. */
async function finishCommand(setup: PullSetup, seen: RunStore = setup.store): Promise<Outcome> {
  for (;;) {
    const outcome = await attempt(setup, 'command', seen);
    if (outcome.state !== 'queued') return outcome;
    const claim = await setup.claim();
    await setup.end(claim, await setup.work(claim));
  }
}

const deploymentsOf = async ({ store }: PullSetup) =>
  (await store.runs({ limit: 1_000 })).filter(({ kind }) => kind === 'deploy');

async function expectOver(setup: PullSetup, run: Run): Promise<void> {
  const { state } = (await setup.store.run(run.id)) ?? run;
  expect(isFinal(state)).toBe(true);
  const steps = await setup.store.steps(run.id);
  expect(steps.filter((step) => step.state === 'pending' || step.state === 'running')).toEqual([]);
  expect(setup.leftOf(run.id)).toEqual([]);
}

describe('The plan of a pull request', { timeout: 300_000 }, () => {
  it('ends although the store fails at any call, and starts nothing before it is approved', async () => {
    const setup = await openPullSetup();
    for (let n = 1; ; n += 1) {
      const run = await setup.askForPlan(`p${n}`);
      const failing = failAtCall(setup.store, n);
      const before = setup.argv().length;
      expect((await attempt(setup, 'plan', failing.store)).state).toBe('awaiting_approval');
      expect(setup.argv()).toHaveLength(before);
      expect(setup.leftOf(run.id)).toEqual([]);
      await setup.store.decide(run.id, 'approved', 'ada');
      expect(await attempt(setup, 'plan', failing.store)).toMatchObject({
        state: 'succeeded',
        message: 'Planned: 1 to add, 0 to change, 0 to destroy',
      });
      await expectOver(setup, run);
      if (failing.failed().length === 0) break;
    }
    expect(setup.applied()).toBe(0);
    expect(setup.argv().filter((line) => line.startsWith('apply'))).toEqual([]);
  });

  it('ends although its tool dies at any of its lines, and leaves nothing behind', async () => {
    const setup = await openPullSetup();
    const ends: string[] = [];
    for (let n = 1; n <= 6; n += 1) {
      setup.dieAt(n);
      const run = await setup.askForPlan(`p${n}`);
      await attempt(setup, 'plan');
      await setup.store.decide(run.id, 'approved', 'ada');
      ends.push((await attempt(setup, 'plan')).state);
      await expectOver(setup, run);
    }
    // The tool prints one line in init, two in plan and one in each show. There is no sixth line.
    expect(ends).toEqual([...Array.from({ length: 5 }, () => 'failed'), 'succeeded']);
  });
});

describe('The command of a comment', { timeout: 300_000 }, () => {
  it('ends although the store fails at any call, and applies an approved head once', async () => {
    const setup = await openPullSetup();
    for (let n = 1; ; n += 1) {
      const run = await setup.askForApply(n);
      const failing = failAtCall(setup.store, n);
      expect(await finishCommand(setup, failing.store)).toMatchObject({ state: 'succeeded' });
      expect(setup.applied()).toBe(n);
      expect(await deploymentsOf(setup)).toHaveLength(n);
      await expectOver(setup, run);
      if (failing.failed().length === 0) break;
    }
  });

  it('applies nothing without an approval although the store fails at any call', async () => {
    const setup = await openPullSetup();
    setup.github.approved = false;
    for (let n = 1; ; n += 1) {
      const run = await setup.askForApply(n);
      const failing = failAtCall(setup.store, n);
      expect(await finishCommand(setup, failing.store)).toMatchObject({
        state: 'failed',
        reason: 'not_approved',
      });
      await expectOver(setup, run);
      if (failing.failed().length === 0) break;
    }
    expect(await deploymentsOf(setup)).toEqual([]);
    expect(setup.argv()).toEqual([]);
  });

  it('ends although its tool dies at any of its lines, and is applied at most once', async () => {
    const setup = await openPullSetup();
    const ends: string[] = [];
    for (let n = 1; n <= 9; n += 1) {
      setup.dieAt(n);
      const before = setup.applied();
      const run = await setup.askForApply(n);
      const { state } = await finishCommand(setup);
      ends.push(state);
      expect(setup.applied() - before).toBeLessThanOrEqual(1);
      if (state === 'succeeded') expect(setup.applied() - before).toBe(1);
      await expectOver(setup, run);
      expect(await deploymentsOf(setup)).toHaveLength(n);
    }
    // The outputs are read after the apply, so the deployment succeeds if the tool dies then.
    expect(ends).toEqual([
      ...Array.from({ length: 7 }, () => 'failed'),
      ...Array.from({ length: 2 }, () => 'succeeded'),
    ]);
  });
});
