import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import { canariesBelow } from '../../faults/canaries-below.fixture.ts';
import { failAtCall } from '../../faults/failing-store.fixture.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { tidyFolders } from '../../worker/run-folders.ts';
import { forgetSecrets } from './attempt.ts';
import { openDeploySetup } from './deploy-setup.fixture.ts';

/** Behaves as if the server were killed between the apply and the outputs. */
function cutOffAtOutput(store: RunStore): RunStore {
  return {
    ...store,
    async append(...values) {
      const [, events] = values;
      if (events.some((event) => event.type === 'step.started' && event.step === 'output')) {
        throw new Error('The server was killed.');
      }
      return store.append(...values);
    },
  };
}

describe('A deployment', { timeout: 300_000 }, () => {
  it('that was applied has succeeded, even if its outputs cannot be read', async () => {
    for (const output of ['exit 1', 'echo nonsense']) {
      const setup = await openDeploySetup({ output });
      const run = await setup.ask();
      expect(await setup.work(await setup.claim())).toEqual({
        state: 'succeeded',
        reason: null,
        message: 'Applied: 1 to add, 0 to change, 0 to destroy; the outputs could not be read',
      });
      const steps = await setup.store.steps(run.id);
      expect(steps.map(({ id, state }) => `${id} ${state}`).slice(-2)).toEqual([
        'apply succeeded',
        'output failed',
      ]);
    }
  });

  it('that was applied has succeeded, even if it is cancelled while its outputs are read', async () => {
    const setup = await openDeploySetup({ output: 'echo > "$(dirname "$0")/../reading"; sleep 600' });
    const run = await setup.ask();
    const execution = setup.execute(await setup.claim());
    await expect.poll(() => existsSync(setup.fileNamed('reading'))).toBe(true);
    await setup.store.requestCancel(run.id, 'ada');
    await execution;
    expect(await setup.store.run(run.id)).toMatchObject({
      state: 'succeeded',
      reason: null,
      message:
        'Applied: 1 to add, 0 to change, 0 to destroy; the outputs were not read, as the run was cancelled',
    });
    const steps = await setup.store.steps(run.id);
    expect(steps.map(({ id, state }) => `${id} ${state}`).slice(-2)).toEqual([
      'apply succeeded',
      'output cancelled',
    ]);
    const [notice] = await setup.store.eventsOf(run.id, 'run.notice');
    expect(notice?.message).toBe('The outputs were not read, as the run was cancelled after the apply');
    expect(existsSync(path.join(setup.directory, run.id, 'cli.tfrc'))).toBe(false);
  });

  it('F41: shows no secret in its plan, its outputs or its errors, and applies the plan as it is', async () => {
    const secret = 'canary-of-the-server';
    const plan = {
      resource_changes: [{ address: `a.b["${secret}"]`, change: { actions: ['create'] } }],
      output_changes: { [secret]: { actions: ['create'] } },
    };
    const outputs = {
      plain: { type: ['object', { [secret]: 'string' }], value: { [secret]: [`-${secret}-`] } },
      resource: { type: 'string', value: Buffer.from(secret).toString('base64') },
    };
    const setup = await openDeploySetup(
      {
        plan: `echo '${secret}' > "$out"`,
        show: `if [ "$2" = -json ]; then echo '${JSON.stringify(plan)}'; exit; else echo '+ ${secret}'; fi`,
        apply: `grep -q '${secret}' "$3" || exit 1`,
        output: `echo '${JSON.stringify(outputs)}'; exit`,
      },
      [secret, 'resource', 'sensitive'],
    );
    const run = await setup.ask();
    expect(await setup.work(await setup.claim())).toMatchObject({
      state: 'succeeded',
      message: 'Applied: 1 to add, 0 to change, 0 to destroy',
    });
    const events = await setup.store.events(run.id, { after: 0, limit: 1_000 });
    expect(JSON.stringify(events)).not.toMatch(new RegExp(`${secret}|${outputs.resource.value}`));
    const planned = events.find(({ type }) => type === 'run.planned');
    expect(planned).toMatchObject({
      text: expect.stringMatching(/^\+ \*{4}$/m),
      summary: { resources: [{ address: 'a.b["****"]', action: 'create' }], outputs: ['****'] },
    });
    expect(events.find(({ type }) => type === 'run.outputs')).toMatchObject({
      outputs: {
        plain: { sensitive: false, type: ['object', { '****': 'string' }], value: { '****': ['-****-'] } },
        '****': { sensitive: false, value: '****' },
      },
    });

    const failing = await openDeploySetup({ apply: `echo 'Error: ${secret} is wrong'; exit 1` }, [secret]);
    await failing.ask();
    expect(await failing.work(await failing.claim())).toMatchObject({
      state: 'failed',
      message: 'apply failed with exit code 1: **** is wrong',
    });
  });

  it('F41: masks the values of variables in its logs, and shows them in the plan and in the outputs', async () => {
    const printed = '"warning-canary" and "list-canary", 123456789 of them';
    const output = JSON.stringify({ thing: { type: 'string', value: 'warning-canary' } });
    const setup = await openDeploySetup({
      plan: `echo '${printed}'`,
      show: `[ "$2" = -json ] || echo '${printed}'`,
      apply: `echo '${printed}'`,
      output: `echo '${output}'; exit`,
    });
    const secrets = {
      environment: { TF_VAR_list: '["list-canary"]' },
      git: null,
      initFlags: [],
      planFlags: ['-var=thing=warning-canary', '-var=size=123456789'],
    };
    const run = await setup.ask();
    expect(await setup.work(await setup.claim(), setup.store, secrets)).toMatchObject({ state: 'succeeded' });
    const events = await setup.store.events(run.id, { after: 0, limit: 1_000 });
    const lines = events.flatMap((event) => (event.type === 'step.log' ? event.lines : []));
    const masked = '"****" and "****", 123456789 of them';
    expect(lines.filter((line) => line.includes('of them'))).toEqual([masked, masked]);
    expect(JSON.stringify(lines)).not.toContain('canary');
    expect(events.find(({ type }) => type === 'run.planned')).toMatchObject({
      text: expect.stringContaining(printed),
    });
    expect(events.find(({ type }) => type === 'run.outputs')).toMatchObject({
      outputs: { thing: { value: 'warning-canary' } },
    });

    const failing = await openDeploySetup({ apply: `echo 'Error: ${printed}'; exit 1` });
    await failing.ask();
    expect(await failing.work(await failing.claim(), failing.store, secrets)).toMatchObject({
      state: 'failed',
      message: `apply failed with exit code 1: ${masked}`,
    });
  });

  it('that was applied has succeeded, even if it was cut off then and its files are lost', async () => {
    const losses = ['remote', 'tool', 'credentials', 'wall'] as const;
    for (const lost of losses) {
      const setup = await openDeploySetup();
      const run = await setup.ask(lost === 'wall' ? { needsWall: true } : {});
      await expect(setup.work(await setup.claim(), cutOffAtOutput(setup.store))).rejects.toThrow('killed');
      await setup.store.takeBack({ all: true, maxAttempts: 3 });
      rmSync(setup.directory, { recursive: true, force: true });
      // The commits that were fetched before are lost, too.
      const remote = [setup.world.remote, setup.fileNamed('repositories')];
      for (const name of lost === 'remote' ? remote : []) rmSync(name, { recursive: true });
      setup.lose(lost);
      const claim = await setup.claim();
      const outcome = await setup.work(claim);
      expect(outcome, lost).toEqual({
        state: 'succeeded',
        reason: null,
        message: 'Applied: 1 to add, 0 to change, 0 to destroy; the outputs could not be read',
      });
      await setup.end(claim, outcome);
      const steps = await setup.store.steps(run.id);
      expect(steps.filter(({ state }) => state === 'pending' || state === 'running')).toEqual([]);
      expect(setup.applied()).toBe(1);
    }
  });

  it('F41: leaves no value of a variable or of the backend in a file when it has ended, and none in an argument', async () => {
    const setup = await openDeploySetup({ plan: 'echo "[$TF_CLI_ARGS_plan]"' });
    const run = await setup.ask();
    const planFlags = ['-var', 'password=CANARY-it\'s a \\ "flag"', '-target=a.b'];
    const initFlags = ['-backend-config=secret_key=CANARY-init'];
    await setup.work(await setup.claim(), setup.store, { environment: {}, git: null, initFlags, planFlags });
    expect(setup.argv().join('\n')).not.toContain('CANARY');
    expect(existsSync(path.join(setup.directory, run.id))).toBe(true);
    expect(canariesBelow(setup.directory)).toEqual([]);
    const events = await setup.store.events(run.id, { after: 0, limit: 1_000 });
    const commands = events.flatMap((event) =>
      event.type === 'step.started' ? [event.command.join(' ')] : [],
    );
    expect(commands.find((command) => command.includes(' plan '))).toMatch(
      /-var password=\*{4} -target=a\.b$/,
    );
    const lines = events.flatMap((event) => (event.type === 'step.log' ? event.lines : []));
    expect(lines.find((line) => line.startsWith('['))).toMatch(/^\['-var' 'password=.*' '-target=a\.b'\]$/);
  });

  it('leaves no secret in a file when it is cancelled', async () => {
    const setup = await openDeploySetup({ plan: 'echo > "$(dirname "$0")/../planning"; sleep 600' });
    const run = await setup.ask();
    const execution = setup.execute(await setup.claim());
    await expect.poll(() => existsSync(setup.fileNamed('planning'))).toBe(true);
    expect(canariesBelow(setup.directory)).not.toEqual([]);
    await setup.store.requestCancel(run.id, 'ada');
    await execution;
    expect(await setup.store.run(run.id)).toMatchObject({ state: 'cancelled' });
    expect(canariesBelow(setup.directory)).toEqual([]);
  });

  it('leaves no secret in a file if it ends without a worker, and keeps them while it waits', async () => {
    const setup = await openDeploySetup();
    const run = await setup.ask({ autoApprove: false });
    const claim = await setup.claim();
    await setup.end(claim, await setup.work(claim));
    const tidy = () =>
      tidyFolders({
        store: setup.store,
        directory: setup.directory,
        forgetSecrets: (folder) => forgetSecrets(folder, null),
        remove: async () => undefined,
        now: Date.now,
        log: pino({ level: 'silent' }),
      });
    await tidy();
    expect(canariesBelow(setup.directory)).not.toEqual([]);
    expect(existsSync(path.join(setup.directory, run.id, 'tfplan'))).toBe(true);
    await setup.store.decide(run.id, 'rejected', 'ada');
    await tidy();
    expect(canariesBelow(setup.directory)).toEqual([]);
    expect(existsSync(path.join(setup.directory, run.id, 'tfplan'))).toBe(false);
    expect(existsSync(path.join(setup.directory, run.id, 'checkout'))).toBe(true);
  });

  it('ends although its tool dies at any of its lines, and is applied at most once', async () => {
    const setup = await openDeploySetup();
    const ends: string[] = [];
    for (let n = 1; ; n += 1) {
      const before = setup.applied();
      setup.dieAt(n);
      const run = await setup.ask();
      const claim = await setup.claim();
      const outcome = await setup.work(claim);
      await setup.end(claim, outcome);
      ends.push(outcome.state);
      const times = setup.applied() - before;
      expect(times).toBeLessThanOrEqual(1);
      if (outcome.state === 'succeeded') expect(times).toBe(1);
      expect(existsSync(path.join(setup.directory, run.id, 'cli.tfrc'))).toBe(false);
      expect(canariesBelow(setup.directory)).toEqual([]);
      if (n > 8) break;
    }
    // init; plan twice; show twice; apply twice; output; and nothing any more.
    expect(ends).toEqual([
      ...Array.from({ length: 7 }, () => 'failed'),
      ...Array.from({ length: 2 }, () => 'succeeded'),
    ]);
  });

  it('is applied at most once, and only as it was approved, although the store fails at any call', async () => {
    const setup = await openDeploySetup();
    for (let n = 1; ; n += 1) {
      const before = setup.applied();
      const run = await setup.ask({ autoApprove: false });
      const failing = failAtCall(setup.store, n);
      const attempt = async () => {
        const claim = await setup.claim();
        try {
          const outcome = await setup.work(claim, failing.store);
          await setup.end(claim, outcome);
          return outcome;
        } catch (error) {
          if (!(error instanceof StoreUnavailableError)) throw error;
          await setup.putBack(claim);
          const again = await setup.claim();
          const outcome = await setup.work(again, failing.store);
          await setup.end(again, outcome);
          return outcome;
        }
      };
      let outcome = await attempt();
      expect(setup.applied()).toBe(before);
      expect(outcome.state).toBe('awaiting_approval');
      await setup.store.decide(run.id, 'approved', 'ada');
      outcome = await attempt();
      const times = setup.applied() - before;
      expect(times).toBeLessThanOrEqual(1);
      if (outcome.state === 'succeeded') expect(times).toBe(1);
      else expect(outcome).toMatchObject({ state: 'failed', reason: 'interrupted' });
      expect(existsSync(path.join(setup.directory, run.id, 'cli.tfrc'))).toBe(false);
      if (failing.failed().length === 0) break;
    }
  });
});
