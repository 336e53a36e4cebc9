import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectNoViolations } from '../../../e2e/support/local-github.ts';
import type { Run, SyncRun } from '../../runs/run.ts';
import type { ServiceDecision } from '../../runs/run-events.ts';
import { aTarget, createLocalReporting, FIRST, type LocalReporting } from '../local-reporting.fixture.ts';
import { RUNNING, SUCCEEDED } from '../reporting.fixture.ts';
import { aRun } from '../stored-runs.fixture.ts';

const FAILED = { state: 'failed', message: '1/1 service(s) failed to sync' } as const;
const SECOND = '2'.repeat(40);

let reporting: LocalReporting;

beforeEach(async () => {
  reporting = await createLocalReporting();
  report({ deployments: true });
});

afterEach(async () => {
  await reporting.close();
  expectNoViolations(reporting.github);
});

function report(changes: Parameters<typeof aTarget>[1]): void {
  reporting.targetOf = () => aTarget(reporting.github, changes);
}

function aSync(id: string, changes: Partial<SyncRun> = {}, input: Partial<SyncRun['input']> = {}): SyncRun {
  return aRun({ id, concurrencyGroup: id, revision: FIRST, ...changes }, { revision: FIRST, ...input });
}

function decided(service: string, decision: ServiceDecision['decision']): ServiceDecision {
  return { service, folder: service, wave: 1, decision, because: 'It changed.', paths: [] };
}

const unsettled = () => reporting.runs.store.unreported('github-deployment', 10);
const states = () => reporting.github.deployments.states();

describe('A sync that has chosen services', () => {
  it('is a deployment that is under way and then succeeds, with the links and the services of the run', async () => {
    const { github, runs, start } = reporting;
    report({ deployments: true, environmentUrl: 'https://staging.example.com' });
    await runs.put(
      aSync('run', { state: 'running' }, { environment: 'staging', repository: 'acme/platform' }),
    );
    const services = [decided('platform/redis', 'run'), decided('platform/postgres', 'skipped')];
    const explanation = { revision: FIRST, notes: [], services, unmatched: [] };
    await runs.tell('run', { type: 'run.explained', explanation });
    const { idle } = await start();
    await idle();
    expect(github.deployments.all).toEqual([]);
    await runs.change('run', RUNNING);
    await idle();
    const payload = { run_id: runs.idOf('run'), services: ['platform/redis'] };
    expect(github.deployments.all).toMatchObject([
      { sha: FIRST, environment: 'staging', task: 'deploy', payload },
    ]);
    await runs.change('run', SUCCEEDED);
    await idle();
    const link = {
      logUrl: `https://runner.example/runs/${runs.idOf('run')}`,
      environmentUrl: 'https://staging.example.com',
    };
    expect(github.deployments.all[0]?.statuses).toMatchObject([
      { state: 'in_progress', description: 'Syncing 1 service(s)...', ...link },
      { state: 'success', description: '1 service(s) synced successfully', ...link },
    ]);
    expect(await unsettled()).toEqual([]);
    const asked = github.requests.filter(({ url }) => url.endsWith('/deployments')).map(({ body }) => body);
    expect(asked).toEqual([
      {
        ref: FIRST,
        environment: 'staging',
        task: 'deploy',
        auto_merge: false,
        required_contexts: [],
        payload,
      },
    ]);
  });

  it('is one of the environment production if it names none', async () => {
    const { github, runs, start } = reporting;
    await runs.put(aSync('run', { ...SUCCEEDED, chosen: 1 }));
    await (await start()).idle();
    expect(github.deployments.all).toMatchObject([{ environment: 'production' }]);
    expect(states()).toEqual([['in_progress', 'success']]);
  });

  it.each([
    ['failed', 'failure'],
    ['timed_out', 'failure'],
    ['errored', 'error'],
    ['cancelled', 'error'],
  ] as const)('that %s ends as %s', async (state, shown) => {
    const { runs, start } = reporting;
    await runs.put(aSync('run', RUNNING));
    const { idle } = await start();
    await idle();
    await runs.change('run', { state, message: 'So it ended' });
    await idle();
    expect(states()).toEqual([['in_progress', shown]]);
    expect(await unsettled()).toEqual([]);
  });

  it('ends as inactive if it is superseded after that', async () => {
    const { runs, start } = reporting;
    await runs.put(aSync('run', RUNNING));
    const { idle } = await start();
    await idle();
    await runs.change('run', { state: 'superseded', message: 'A newer push covers this one' });
    await idle();
    expect(states()).toEqual([['in_progress', 'inactive']]);
    expect(await unsettled()).toEqual([]);
  });

  it('is queued again while it waits after its worker handed it back, and goes on as the same deployment', async () => {
    const { runs, start } = reporting;
    await runs.put(aSync('run', RUNNING));
    const { idle } = await start();
    await idle();
    await runs.change('run', { state: 'queued', message: 'Handed back' });
    await idle();
    await runs.change('run', { state: 'running' });
    await idle();
    await runs.change('run', RUNNING);
    await idle();
    await runs.change('run', SUCCEEDED);
    await idle();
    expect(states()).toEqual([['in_progress', 'queued', 'in_progress', 'success']]);
  });

  it('that goes on at another commit has a deployment there, and the first one is inactive', async () => {
    const { github, runs, start } = reporting;
    await runs.put(aSync('run', RUNNING));
    const { idle } = await start();
    await idle();
    await runs.change('run', { state: 'queued', message: 'Held by ada: holiday' });
    await idle();
    await runs.change('run', { ...RUNNING, revision: SECOND });
    await idle();
    await runs.change('run', SUCCEEDED);
    await idle();
    expect(github.deployments.all.map(({ sha }) => sha)).toEqual([FIRST, SECOND]);
    expect(states()).toEqual([
      ['in_progress', 'queued', 'inactive'],
      ['in_progress', 'success'],
    ]);
    expect(await unsettled()).toEqual([]);
  });

  it('that ended before GitHub could be told is shown as under way, and then with its outcome', async () => {
    const { runs, start } = reporting;
    await runs.put(aSync('one', { ...FAILED, chosen: 1 }));
    await runs.put(aSync('two', { ...SUCCEEDED, chosen: 1 }));
    await (await start()).idle();
    expect(states()).toEqual([
      ['in_progress', 'failure'],
      ['in_progress', 'success'],
    ]);
    expect(await unsettled()).toEqual([]);
  });

  it('gets its outcome after the repository has switched deployments off, and no new run has one', async () => {
    const { github, runs, start } = reporting;
    await runs.put(aSync('run', RUNNING));
    await (await start()).idle();
    expect(states()).toEqual([['in_progress']]);
    report({ deployments: false });
    await runs.put(aSync('other', RUNNING));
    const { idle } = await start();
    await idle();
    expect((await unsettled()).map(({ id }) => id)).toEqual([runs.idOf('run')]);
    for (const id of ['run', 'other']) await runs.change(id, SUCCEEDED);
    await idle();
    expect(states()).toEqual([['in_progress', 'success']]);
    expect(github.deployments.all).toHaveLength(1);
    expect(await unsettled()).toEqual([]);
  });

  it('makes the earlier success of its environment inactive, and not that of another environment', async () => {
    const { runs, start } = reporting;
    const { idle } = await start();
    for (const [id, environment] of [
      ['one', 'staging'],
      ['two', 'qa'],
      ['three', 'staging'],
    ] as const) {
      await runs.put(aSync(id, RUNNING, { environment, repository: 'acme/platform' }));
      await idle();
      await runs.change(id, SUCCEEDED);
      await idle();
    }
    expect(states()).toEqual([
      ['in_progress', 'success', 'inactive'],
      ['in_progress', 'success'],
      ['in_progress', 'success'],
    ]);
  });

  it('has descriptions that GitHub takes', async () => {
    const { github, runs, start } = reporting;
    await runs.put(aSync('run', { state: 'failed', chosen: 1, message: `🐛\n${'x'.repeat(200)}` }));
    await (await start()).idle();
    expect(github.deployments.all[0]?.statuses.at(-1)?.description).toMatch(/^\ufffd x{137}…$/);
  });
});

describe('No deployment is created', () => {
  it.each<[string, Partial<SyncRun>, Partial<SyncRun['input']>, boolean]>([
    ['for a run that waits, and has chosen nothing', { state: 'queued' }, {}, true],
    ['for a run that looks for changes', { state: 'running' }, {}, true],
    ['for a run that had nothing to do', SUCCEEDED, {}, false],
    ['for a run that was superseded before it had one', { state: 'superseded', chosen: 1 }, {}, false],
    ['for a dry run', RUNNING, { dryRun: true }, false],
  ])('%s', async (_title, changes, input, isKept) => {
    const { github, runs, start } = reporting;
    await runs.put(aSync('run', changes, input));
    await (await start()).idle();
    expect(github.requests.filter(({ url }) => url.includes('deployments'))).toEqual([]);
    expect(await unsettled()).toHaveLength(isKept ? 1 : 0);
  });

  it('if the repository has not asked for them: its runs are settled at once', async () => {
    const { github, runs, start } = reporting;
    report({ deployments: false });
    await runs.put(aSync('ended', { ...SUCCEEDED, chosen: 1 }));
    await runs.put(aSync('running', RUNNING));
    await (await start()).idle();
    expect(github.deployments.all).toEqual([]);
    expect(await unsettled()).toEqual([]);
    report({ deployments: true });
    await (await start()).idle();
    expect(github.deployments.all).toEqual([]);
  });

  it('if the run has no repository on GitHub: it is settled at once', async () => {
    const { runs, start } = reporting;
    reporting.targetOf = (): null => null;
    await runs.put(aSync('run', RUNNING));
    await (await start()).idle();
    expect(await unsettled()).toEqual([]);
  });

  it('if the run ended days ago, as on a server that gets its first token', async () => {
    const { github, runs, start } = reporting;
    await runs.put(aSync('run', { ...SUCCEEDED, chosen: 1 }));
    const { unreported } = runs.store;
    const longAgo = reporting.clock() - 4 * 86_400_000;
    const aged = (run: Run): Run => ({ ...run, finishedAt: longAgo });
    runs.store.unreported = async (...given) => (await unreported(...given)).map(aged);
    await (await start()).idle();
    expect(github.deployments.all).toEqual([]);
    expect(await unsettled()).toEqual([]);
  });
});

it('The statuses of runs come before deployments, and all writes are paced together', async () => {
  const { github, runs, start } = reporting;
  for (const id of ['one', 'two']) await runs.put(aSync(id, { ...SUCCEEDED, chosen: 1, revision: FIRST }));
  await runs.put(aSync('three', { ...SUCCEEDED, chosen: 1, revision: SECOND }, { revision: SECOND }));
  await (await start()).idle();
  const writes = github.requests.filter(({ method }) => method === 'POST').map(({ url }) => url);
  expect(writes).toHaveLength(11);
  expect(writes.slice(0, 2).every((url) => url.includes('/statuses/'))).toBe(true);
  expect(writes.slice(2).every((url) => url.includes('/deployments'))).toBe(true);
  expect(Math.max(...github.requests.map(({ others }) => others))).toBe(0);
});
