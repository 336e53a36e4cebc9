import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import { createReporting, type Reporting, RUNNING, SUCCEEDED, SYNCED } from '../reporting.fixture.ts';
import { answer } from '../scripted-github.fixture.ts';
import { aPreview, aRun } from '../stored-runs.fixture.ts';

let reporting: Reporting;

beforeEach(async () => {
  reporting = await createReporting();
});

afterEach(() => reporting.close());

describe('A sync and a preview of one commit', () => {
  it('have a status each, under their own names', async () => {
    const { github, runs, start, unsettled } = reporting;
    const sha = 'a'.repeat(40);
    const preview = { ...SUCCEEDED, message: 'Merging this will sync nothing' };
    await runs.put(aPreview({ id: 'preview', ...preview }));
    await runs.put(aRun({ id: 'sync', ...SUCCEEDED, revision: sha }, { revision: sha }));
    const { idle } = await start();
    await idle();
    expect(github.seen.map(({ context, description }) => [context, description])).toEqual([
      ['IaC Runner / Sync', '1 service(s) synced successfully'],
      ['IaC Runner / Preview', 'Merging this will sync nothing'],
    ]);
    expect(await unsettled()).toEqual([]);
  });
});

describe('one run', () => {
  it('is reported from queued to its end, each state once, with a link to its page', async () => {
    const { github, put, seen, start, runs, unsettled } = reporting;
    const { idle } = await start();
    await put('run-1', 'aaa');
    await idle();
    await runs.change('run-1', { state: 'running', revision: 'aaa' });
    await idle();
    await runs.change('run-1', RUNNING);
    await idle();
    await runs.change('run-1', SUCCEEDED);
    await idle();
    expect(seen()).toEqual([
      'aaa pending: Waiting for previous sync to complete',
      'aaa pending: Syncing 1 service(s)...',
      `aaa ${SYNCED}`,
    ]);
    expect(github.seen[2]).toMatchObject({
      context: 'IaC Runner / Sync',
      targetUrl: `https://runner.example/runs/${runs.idOf('run-1')}`,
    });
    expect(await unsettled()).toEqual([]);
    expect(await runs.reports('run-1')).toMatchObject([
      { target: 'aaa', sent: SYNCED, settled: true, failures: 0, problem: null },
    ]);
  });

  it('that is a dry run, or has no commit, is settled without a status', async () => {
    const { github, start, runs, unsettled } = reporting;
    await runs.put(aRun({ id: 'run-1', state: 'queued' }, { revision: 'aaa', dryRun: true }));
    await runs.put(aRun({ id: 'run-2', state: 'cancelled' }));
    await runs.put(aRun({ id: 'run-3', state: 'queued' }));
    await (await start()).idle();
    expect(github.seen).toEqual([]);
    expect(await unsettled()).toEqual(['run-3']);
  });

  it('that moves on to another commit leaves no commit pending', async () => {
    const { github, start, runs, unsettled } = reporting;
    const { idle } = await start();
    await runs.put(aRun({ ...RUNNING, revision: 'aaa' }));
    await idle();
    await runs.change('run-1', { ...SUCCEEDED, revision: 'bbb' });
    await idle();
    expect([...github.standing]).toEqual([
      ['aaa', SYNCED],
      ['bbb', SYNCED],
    ]);
    expect(await unsettled()).toEqual([]);
  });
});

describe('several runs', () => {
  it('that were superseded share the outcome of the run that covers them, on their own commits', async () => {
    const { github, put, start, runs, unsettled } = reporting;
    for (const [name, sha] of Object.entries({ 'run-1': 'aaa', 'run-2': 'bbb', 'run-3': 'ccc' }))
      await put(name, sha);
    await runs.change('run-1', { state: 'superseded', coveredBy: 'run-2' });
    await runs.change('run-2', { state: 'superseded', coveredBy: 'run-3' });
    await runs.change('run-3', RUNNING);
    const { idle } = await start();
    await idle();
    expect(new Set(github.standing.values())).toEqual(new Set(['pending: Syncing 1 service(s)...']));
    await runs.change('run-3', { state: 'failed', message: '1/1 service(s) failed to sync' });
    await idle();
    expect(new Set(github.standing.values())).toEqual(new Set(['failure: 1/1 service(s) failed to sync']));
    expect(github.standing.size).toBe(3);
    expect(github.seen.every(({ targetUrl }) => targetUrl.endsWith(runs.idOf('run-3')))).toBe(true);
    expect(await unsettled()).toEqual([]);
  });

  it('that are covered by a run off the branch share the outcome of the run that follows it', async () => {
    const { github, put, start, runs, unsettled } = reporting;
    for (const [name, sha] of Object.entries({
      'run-1': 'aaa',
      'run-2': 'bbb',
      'run-3': 'ccc',
      'run-4': 'ddd',
    }))
      await put(name, sha);
    const lost = { state: 'superseded', reason: 'not_on_branch', message: 'Not on main' } as const;
    await runs.change('run-1', { state: 'superseded', reason: 'covered_by_newer', coveredBy: 'run-2' });
    await runs.change('run-2', { ...lost, coveredBy: 'run-4' });
    await runs.change('run-3', { ...lost, coveredBy: 'run-4' });
    await runs.change('run-4', { ...RUNNING, revision: 'ddd' });
    const { idle } = await start();
    await runs.change('run-4', SUCCEEDED);
    await idle();
    expect(Object.fromEntries(github.standing)).toEqual({
      aaa: SYNCED,
      bbb: 'error: Not on main',
      ccc: 'error: Not on main',
      ddd: SYNCED,
    });
    expect(await unsettled()).toEqual([]);
  });

  it('that wait together each get one pending status, and the commit that is worked on comes first', async () => {
    const { github, put, seen, start, runs } = reporting;
    const { idle } = await start();
    await put('run-1', 'aaa');
    await put('run-2', 'bbb');
    await idle();
    github.seen.length = 0;
    await runs.change('run-1', { state: 'superseded', coveredBy: 'run-2' });
    await runs.change('run-2', RUNNING);
    await idle();
    await runs.change('run-2', SUCCEEDED);
    await idle();
    expect(seen()).toEqual(['bbb pending: Syncing 1 service(s)...', `bbb ${SYNCED}`, `aaa ${SYNCED}`]);
  });

  it('that end while they are read have the commit that was worked on first', async () => {
    const { put, seen, start, runs } = reporting;
    await put('run-1', 'aaa');
    await put('run-2', 'bbb');
    await runs.change('run-1', { state: 'superseded', coveredBy: 'run-2' });
    await runs.change('run-2', RUNNING);
    const { run } = runs.store;
    let isRead = false;
    runs.store.run = async (id) => {
      if (!isRead) {
        isRead = true;
        await runs.change('run-2', SUCCEEDED);
      }
      return run(id);
    };
    await (await start()).idle();
    expect(seen()).toEqual([`bbb ${SYNCED}`, `aaa ${SYNCED}`]);
  });

  it('of one commit, 300 of them superseded, send one status', async () => {
    const { put, seen, start, runs, unsettled } = reporting;
    const together = { concurrencyGroup: 'main', coalesce: true };
    for (let n = 1; n <= 301; n++) await put(`run-${n}`, 'aaa', together);
    await runs.change('run-301', SUCCEEDED);
    await (await start()).idle();
    expect(seen()).toEqual([`aaa ${SYNCED}`]);
    expect(await unsettled()).toEqual([]);
    expect(runs.settledRuns.at(-1)).toBe('run-301');
  });

  it('of one commit show only the newest outcome, even if the newer run was cancelled first', async () => {
    const { put, seen, start, runs, unsettled } = reporting;
    await put('run-1', 'aaa', RUNNING);
    await put('run-2', 'aaa', { state: 'cancelled', message: 'Cancelled by ada' });
    const { idle, stop } = await start();
    await idle();
    await runs.change('run-1', SUCCEEDED);
    await idle();
    await stop();
    await put('run-3', 'aaa', { state: 'failed', message: '1/1 service(s) failed to sync' });
    await (await start()).idle();
    expect(seen().map((line) => line.split(' ')[1])).toEqual(['pending:', 'success:', 'failure:']);
    expect(await unsettled()).toEqual([]);
  });

  it('are reported one at a time, a second apart, and ended runs come first', async () => {
    const { gaps, github, put, runs, start } = reporting;
    await put('run-1', 'aaa');
    await put('run-2', 'bbb');
    await put('run-3', 'ccc', SUCCEEDED);
    await runs.change('run-2', SUCCEEDED);
    await (await start()).idle();
    expect(github.seen.map(({ sha }) => sha)).toEqual(['ccc', 'bbb', 'aaa']);
    expect(Math.min(...gaps())).toBeGreaterThanOrEqual(1_000);
    expect(github.maxAtOnce).toBe(1);
  });

  it('never send a pending state that ended while it waited for its turn', async () => {
    const { github, put, seen, start, runs } = reporting;
    await put('run-1', 'aaa', SUCCEEDED);
    await put('run-2', 'bbb');
    github.script.push(async (_response, accept) => {
      await runs.change('run-2', SUCCEEDED);
      accept();
    });
    await (await start()).idle();
    expect(seen()).toEqual([`aaa ${SYNCED}`, `bbb ${SYNCED}`]);
  });

  it('never send a pending state that ended while others were settled', async () => {
    const { put, seen, start, runs } = reporting;
    const { settleRun } = runs.store;
    runs.store.settleRun = async (name, runId) => {
      await settleRun(name, runId);
      if (runId === runs.idOf('run-2')) await runs.change('run-1', SUCCEEDED);
    };
    await put('run-1', 'aaa');
    await runs.put(aRun({ id: 'run-2', state: 'cancelled' }));
    await (await start()).idle();
    expect(seen()).toEqual([`aaa ${SYNCED}`]);
  });
});

describe('a restart', () => {
  it('sends what was not sent, and nothing twice', async () => {
    const { github, put, start, runs, unsettled } = reporting;
    await put('run-1', 'aaa', RUNNING);
    await (await start()).idle();
    await (await start()).idle();
    expect(github.seen).toHaveLength(1);
    const reporter = await start();
    await reporter.stop();
    await runs.change('run-1', SUCCEEDED);
    expect(github.seen).toHaveLength(1);
    await (await start()).idle();
    expect(github.standing.get('aaa')).toBe(SYNCED);
    expect(await unsettled()).toEqual([]);
  });

  it('remembers a pending state that was sent just before it, and ends it', async () => {
    const { github, logged, start, runs } = reporting;
    await runs.put(aRun({ ...RUNNING, revision: 'aaa' }));
    github.script = [
      async (_response, accept) => {
        runs.failure = new StoreUnavailableError('The disk is full.');
        accept();
      },
    ];
    const reporter = await start();
    await expect.poll(() => logged).toContain('commit statuses wait: the store could not be read or written');
    await reporter.stop();
    runs.failure = null;
    await runs.change('run-1', { ...SUCCEEDED, revision: 'bbb' });
    await (await start()).idle();
    expect(github.standing.get('aaa')).toBe(SYNCED);
  });

  it('keeps waiting for as long as GitHub asked', async () => {
    const { github, gaps, logged, put, start } = reporting;
    github.script = [answer(429, {}, { 'retry-after': '600' })];
    await put('run-1', 'aaa', SUCCEEDED);
    await start();
    await expect.poll(() => logged, { interval: 1 }).toContain('commit status not sent yet');
    await (await start()).idle();
    expect(gaps()[0]).toBeGreaterThanOrEqual(600_000);
  });

  it('during a request waits for the answer and stores it', async () => {
    const { github, put, start, runs } = reporting;
    await put('run-1', 'aaa', SUCCEEDED);
    github.script = [(_response, accept) => setTimeout(accept, 100)];
    const reporter = await start();
    await expect.poll(() => github.seen.length).toBe(1);
    await reporter.stop();
    expect(await runs.reports('run-1')).toMatchObject([{ sent: SYNCED }]);
    await reporter.idle();
  });
});

it('a store that cannot store the result does not make the reporter send the status again', async () => {
  const { github, logged, put, start, runs, unsettled } = reporting;
  runs.failure = new StoreUnavailableError('The disk is full.');
  await put('run-1', 'aaa', SUCCEEDED);
  const reporter = await start();
  await expect.poll(() => logged.length).toBeGreaterThan(10);
  runs.failure = null;
  await reporter.idle();
  expect(github.seen).toHaveLength(1);
  expect(await unsettled()).toEqual([]);
});
