import { describe, expect, it } from 'vitest';
import { createReadiness } from './readiness.ts';

describe('Readiness', () => {
  it('does not start a check again that hangs, and uses its answer when it comes', async () => {
    let nowMs = 0;
    let starts = 0;
    const hanging = Promise.withResolvers<void>();
    const probe = createReadiness(
      {
        async well() {},
        async slow() {
          starts += 1;
          await hanging.promise;
        },
      },
      () => nowMs,
      20,
    );
    const tooLate = {
      well: { status: 'ok' },
      slow: { status: 'failed', problem: 'The check did not answer in time.' },
    };
    for (let poll = 0; poll < 5; poll += 1) {
      expect(await probe.look()).toEqual({ status: 'not_ready', checks: tooLate });
      nowMs += 6_000;
    }
    expect(starts).toBe(1);
    let isSettled = false;
    const settled = probe.settled().then(() => {
      isSettled = true;
    });
    await Promise.resolve();
    expect(isSettled).toBe(false);
    hanging.resolve();
    await settled;
    expect(await probe.look()).toMatchObject({ status: 'ready' });
    expect(starts).toBe(2);
  });

  it('reports a check that fails, and runs it again only after a while', async () => {
    let nowMs = 0;
    const problems = ['Install git.', 'Install invoke.'];
    const probe = createReadiness(
      {
        async program() {
          throw new Error(problems.shift());
        },
      },
      () => nowMs,
    );
    const failed = (problem: string) => ({
      status: 'not_ready',
      checks: { program: { status: 'failed', problem } },
    });
    for (const atMs of [0, 5_000]) {
      nowMs = atMs;
      expect(await probe.look()).toEqual(failed('Install git.'));
    }
    nowMs = 5_001;
    expect(await probe.look()).toEqual(failed('Install invoke.'));
  });
});
