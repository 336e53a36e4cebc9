import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Lease } from '../../runs/run-store.ts';
import {
  claimNext,
  DEPLOY_BODY,
  done,
  ended,
  logged,
  planned,
  stepStarted,
  toApproval,
} from '../../triggers/deployments.fixture.ts';
import { DAY } from '../../units.ts';
import { AS_VIEWER } from '../pages.fixtures.ts';
import { createDeployHistories } from './deploy-history.ts';
import { createDeployStatuses } from './deploy-status.ts';
import { openDeployApp, postDeploy } from './deployments.fixtures.ts';

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

let stage: Awaited<ReturnType<typeof openDeployApp>>;
let app: ReturnType<typeof stage.serve>['app'];
let id: string;
beforeEach(async () => {
  stage = await openDeployApp();
  ({ app } = stage.serve());
  id = await postDeploy(app, DEPLOY_BODY);
});
afterEach(() => stage.close());

async function statusText(): Promise<string> {
  const response = await app.request(`/deploy/${id}/status`, { headers: AS_VIEWER });
  expect([response.status, response.headers.get('Content-Type')]).toEqual([200, 'application/json']);
  return response.text();
}

const status = async () => JSON.parse(await statusText());

async function claim(): Promise<Lease> {
  return (await claimNext(stage.store())).lease;
}

const append = (lease: Lease, ...events: RunEventBody[]) => stage.store().append(lease, events);

describe('The status of a deployment', () => {
  it('begins with the members of the earlier API, and is running while the deployment waits in the queue', async () => {
    const first = await status();
    expect(Object.keys(first)).toEqual([
      ...['deployment_id', 'status', 'phase', 'started_at', 'ended_at', 'error'],
      ...['init_log', 'plan_log', 'plan_output', 'apply_log', 'apply_output'],
      ...['plan_summary', 'approved_by', 'approved_at', 'approval_expires_at', 'run_url', 'operation'],
    ]);
    expect(first).toMatchObject({
      deployment_id: id,
      status: 'running',
      phase: 'initializing',
      started_at: expect.stringMatching(RFC_3339),
      ended_at: null,
      error: null,
      init_log: '',
      plan_output: '',
      plan_summary: null,
      run_url: `https://runner.example/runs/${id}`,
      operation: 'apply',
    });
  });

  it('follows the phases, with logs that grow and keep their colours', async () => {
    const lease = await claim();
    const { started_at } = await status();
    expect(await status()).toMatchObject({ status: 'running', phase: 'initializing' });
    await append(lease, ...planned('clone', 'init', 'plan', 'check-policy', 'apply', 'output'));
    const phases: [RunEventBody, string][] = [
      [stepStarted('clone'), 'cloning'],
      [done('clone'), 'cloning'],
      [stepStarted('init'), 'init'],
      [logged('init', '\u001b[1mInitializing\u001b[0m "é"', ''), 'init'],
      [done('init'), 'init'],
      [stepStarted('plan'), 'plan'],
      [logged('plan', 'one'), 'plan'],
      [logged('plan', 'two', 'three'), 'plan'],
      [done('plan'), 'plan'],
      [stepStarted('check-policy'), 'plan'],
      [logged('check-policy', 'fine'), 'plan'],
    ];
    for (const [event, phase] of phases) {
      await append(lease, event);
      expect(await status()).toMatchObject({ status: 'running', phase, started_at });
    }
    expect(await status()).toMatchObject({
      init_log: '\u001b[1mInitializing\u001b[0m "é"\n\n',
      plan_log: 'one\ntwo\nthree\n',
      apply_log: '',
    });
  });

  it('shows the plan while it awaits approval, then who approved, the apply, and outputs without secrets', async () => {
    const expiresAt = stage.clock.now + DAY;
    await append(await claim(), ...toApproval(expiresAt));
    expect(await status()).toMatchObject({
      status: 'awaiting_approval',
      phase: 'plan',
      plan_output: '  + create',
      plan_summary: { add: 1 },
      approval_expires_at: new Date(expiresAt).toISOString(),
      approved_by: null,
      ended_at: null,
    });
    await stage.api().approve(id, 'ada');
    const approved = { status: 'running', phase: 'apply', approved_by: 'ada', approval_expires_at: null };
    expect(await status()).toMatchObject(approved);
    const lease = await claim();
    expect(await status()).toMatchObject(approved);
    const outputs = {
      url: { sensitive: false, type: 'string', value: 'https://x' },
      password: { sensitive: true, type: ['object', { a: 'string' }], value: null },
    };
    await append(
      lease,
      stepStarted('apply'),
      logged('apply', 'Apply complete!'),
      done('apply'),
      stepStarted('output'),
      { type: 'run.outputs', outputs },
      done('output'),
      ended('succeeded'),
    );
    const last = await status();
    expect(last).toMatchObject({
      status: 'success',
      phase: 'completed',
      error: null,
      ended_at: expect.stringMatching(RFC_3339),
      apply_log: 'Apply complete!\n',
      approved_by: 'ada',
      approved_at: expect.stringMatching(RFC_3339),
    });
    expect(JSON.parse(last.apply_output)).toEqual({
      ...outputs,
      password: { ...outputs.password, value: '(sensitive value)' },
    });
  });

  it.each([
    ['failed', 'init', 'Repository not found', 'Repository not found'],
    ['errored', 'init', 'The runner failed', 'The runner failed'],
    ['timed_out', 'plan', 'plan timed out after 1 minute', 'plan timed out after 1 minute'],
    ['timed_out', 'apply', 'apply took too long', 'apply took too long (timed out)'],
  ] as const)(
    'is failed after a run that %s, in the phase it came to: %s',
    async (state, step, message, error) => {
      await append(await claim(), ...planned(step), stepStarted(step), ended(state, message));
      expect(await status()).toMatchObject({ status: 'failed', phase: step, error });
    },
  );

  it('is cancelled after a cancel, a rejection, or an approval that expired', async () => {
    await append(await claim(), ...toApproval(stage.clock.now + 1));
    stage.clock.now += 1;
    await stage.api().approve(id, 'ada');
    const expired = { status: 'cancelled', phase: 'plan', error: 'Nobody approved in time' };
    expect(await status()).toMatchObject(expired);
    id = await postDeploy(app, DEPLOY_BODY);
    await stage.api().cancel(id, 'oscar');
    const cancelled = { status: 'cancelled', phase: 'initializing', error: 'Cancelled by oscar' };
    expect(await status()).toMatchObject(cancelled);
  });

  it('starts again when a worker was lost, and says so in the log', async () => {
    const lease = await claim();
    await append(lease, ...planned('init'), stepStarted('init'), logged('init', 'one'));
    await stage.store().takeBack({ all: true, maxAttempts: 3 });
    expect(await status()).toMatchObject({ status: 'running', phase: 'initializing' });
    await append(await claim(), ...planned('init'), stepStarted('init'), logged('init', 'two'));
    expect(await status()).toMatchObject({ phase: 'init', init_log: 'one\nStarted again\ntwo\n' });
  });

  it('is the same before and after a restart, at every point', async () => {
    const lease = await claim();
    const events = [...toApproval(stage.clock.now + DAY)];
    for (const event of events) {
      await append(lease, event);
      const before = await statusText();
      ({ app } = stage.serve());
      expect(await statusText()).toBe(before);
    }
    const before = await statusText();
    await stage.reopen();
    ({ app } = stage.serve());
    expect(await statusText()).toBe(before);
  });

  it('is complete for many simultaneous callers while the log grows', async () => {
    const lease = await claim();
    await append(lease, ...planned('plan'), stepStarted('plan'));
    const asked: Promise<{ plan_log: string }>[] = [];
    for (let chunk = 0; chunk < 40; chunk += 1) {
      const written = append(
        lease,
        logged('plan', ...Array.from({ length: 50 }, (_, n) => `${chunk * 50 + n}`)),
      );
      asked.push(status(), status(), status());
      await written;
    }
    asked.push(status());
    const whole = Array.from({ length: 2_000 }, (_, n) => `${n}\n`).join('');
    const logs = (await Promise.all(asked)).map(({ plan_log }) => plan_log);
    expect(logs.filter((log) => !whole.startsWith(log))).toEqual([]);
    expect(logs.at(-1)).toBe(whole);
  });
});

describe('The history of deployments that somebody watches', () => {
  const LINE = `\u001b[32m+\u001b[0m ${'x'.repeat(1_000)}`;

  async function grow(lease: Lease, megabytes: number): Promise<void> {
    const lines = Array.from({ length: 64 }, () => LINE);
    for (let chunk = 0; chunk < megabytes * 16; chunk += 1) void append(lease, logged('plan', ...lines));
    await append(lease, logged('plan', 'end'));
  }

  it('is read from its last event on, and rendered once for each change', async () => {
    const lease = await claim();
    await append(lease, ...planned('plan'), stepStarted('plan'));
    await grow(lease, 5);
    const store = stage.store();
    let read = 0;
    const events: typeof store.events = async (...args) => {
      const page = await store.events(...args);
      read += page.length;
      return page;
    };
    const { render } = createDeployHistories({ store: { events } });
    let rendered = 0;
    const size = (history: { logs: { plan: string } }) => {
      rendered += 1;
      return String(history.logs.plan.length);
    };
    const first = await render(id, size);
    const whole = read;
    for (let poll = 0; poll < 10; poll += 1) expect(await render(id, size)).toBe(first);
    expect([read, rendered]).toEqual([whole, 1]);
    await append(lease, logged('plan', 'more'));
    expect(Number(await render(id, size))).toBe(Number(first) + 'more\\n'.length);
    expect([read, rendered]).toEqual([whole + 1, 2]);
  });

  it('is bounded, for each log and for all of them', async () => {
    const ids = [id];
    for (let index = 1; index < 3; index += 1) {
      ids.push(await postDeploy(app, { ...DEPLOY_BODY, path: `p${index}` }));
    }
    const leases: Lease[] = [];
    for (const _ of ids) {
      const lease = await claim();
      leases.push(lease);
      await append(lease, ...planned('plan'), stepStarted('plan'));
      await grow(lease, 3);
    }
    const store = stage.store();
    const full: string[] = [];
    const events: typeof store.events = (runId, options) => {
      if (options.after === 0) full.push(runId);
      return store.events(runId, options);
    };
    const { read } = createDeployHistories({ store: { events }, maxCharacters: 8 * 1024 * 1024 });
    for (const runId of [...ids, ...ids.toReversed()]) await read(runId);
    // Two of them fit; the one asked for longest ago is read again.
    expect(full).toEqual([...ids, ids[0]]);

    const [lease] = leases;
    if (!lease) throw new Error('No lease.');
    await grow(lease, 16);
    const { logs } = await createDeployHistories({ store }).read(lease.runId);
    expect(logs.plan.length).toBeLessThan(17 * 1024 * 1024);
    expect(logs.plan.slice(-80)).toContain('the rest is in the event stream');
  });

  it('is forgotten when nobody watches any more, or when the store fails', async () => {
    const store = stage.store();
    let full = 0;
    let fail = false;
    const events: typeof store.events = async (runId, options) => {
      if (fail) throw new Error('disk on fire');
      if (options.after === 0) full += 1;
      return store.events(runId, options);
    };
    const kept = createDeployHistories({ store: { events } });
    await kept.read(id);
    await kept.read(id);
    expect(full).toBe(1);
    const { read } = createDeployHistories({ store: { events }, idleMs: 50 });
    await read(id);
    await expect
      .poll(
        async () => {
          await read(id);
          return full;
        },
        { interval: 200 },
      )
      .toBeGreaterThan(2);
    fail = true;
    await expect(read(id)).rejects.toThrow('disk on fire');
    fail = false;
    expect((await read(id)).through).toBe(1);
  });

  it('answers repeatedly for a plan of 5 MB without encoding it each time', async () => {
    const lease = await claim();
    await append(lease, ...planned('plan'), stepStarted('plan'));
    await grow(lease, 5);
    const text = `${LINE}\n`.repeat(5_000);
    await append(lease, { type: 'run.planned', step: 'plan', summary: null, text });
    const run = await stage.store().run(id);
    if (run?.kind !== 'deploy') throw new Error('No deployment.');
    const statuses = createDeployStatuses({ store: stage.store(), runUrl: (runId) => runId });
    const stringify = vi.spyOn(JSON, 'stringify');
    onTestFinished(() => stringify.mockRestore());
    const encoded = (): number =>
      stringify.mock.results.reduce((total, { value }) => total + String(value).length, 0);
    await statuses.of(run);
    expect(encoded()).toBeGreaterThan(10_000_000);
    stringify.mockClear();
    for (let poll = 0; poll < 10; poll += 1) {
      await append(lease, logged('plan', `line ${poll}`));
      expect((await statuses.of(run)).length).toBeGreaterThan(10_000_000);
    }
    expect(encoded()).toBeLessThan(100_000);
  });
});
