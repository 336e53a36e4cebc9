import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectNoViolations } from '../../../e2e/support/local-github.ts';
import { SYNC } from '../../runs/kinds/sync.ts';
import type { SyncRun } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import { aTarget, createLocalReporting, FIRST, type LocalReporting } from '../local-reporting.fixture.ts';
import { RUNNING, SUCCEEDED } from '../reporting.fixture.ts';
import { aRun } from '../stored-runs.fixture.ts';
import { boundContext } from './service-statuses.ts';

const REDIS = 'IaC Runner / platform/redis';
const POSTGRES = 'IaC Runner / platform/postgres';
const CHOSEN = { ...RUNNING, chosen: 2, message: 'Syncing 2 service(s)...' } as const;
const SECOND = '2'.repeat(40);

let reporting: LocalReporting;

beforeEach(async () => {
  reporting = await createLocalReporting();
  reporting.targetOf = () => aTarget(reporting.github, { serviceStatuses: true });
});

afterEach(async () => {
  await reporting.close();
  expectNoViolations(reporting.github);
});

function aSync(id: string, changes: Partial<SyncRun> = {}, input: Partial<SyncRun['input']> = {}): SyncRun {
  const state = { state: 'running', revision: FIRST } as const;
  return aRun({ id, concurrencyGroup: id, ...state, ...changes }, { revision: FIRST, ...input });
}

function planned(...services: string[]): RunEventBody[] {
  return services.map((step, position) => ({
    type: 'step.planned',
    step,
    position,
    wave: 1,
    message: 'It changed.',
  }));
}

function begun(step: string): RunEventBody {
  return { type: 'step.started', step, command: [], ledger: null };
}

type EndState = Extract<RunEventBody, { type: 'step.finished' }>['state'];

function ended(step: string, state: EndState, message: string): RunEventBody {
  return { type: 'step.finished', step, state, message, exitCode: null, ledger: null };
}

/** The statuses of a context, oldest first. */
function shown(context: string, sha = FIRST): string[] {
  return reporting.github.statuses
    .history(sha, context)
    .map(({ state, description }) => `${state}: ${description}`);
}

const unsettled = () => reporting.runs.store.unreported('service-status', 10);

describe('The services of a sync', () => {
  it('have a status each, with a link to their step, while they wait, run and end', async () => {
    const { github, runs, start } = reporting;
    await runs.put(aSync('run'));
    await runs.tell('run', ...planned('platform/postgres', 'platform/redis'));
    await runs.change('run', CHOSEN);
    const { idle } = await start();
    await idle();
    await runs.tell('run', begun('platform/postgres'));
    await idle();
    await runs.tell('run', ended('platform/postgres', 'succeeded', 'Updated: 3 containers'));
    await runs.tell('run', begun('platform/redis'), ended('platform/redis', 'failed', 'Exit code 2'));
    await idle();
    await runs.change('run', { state: 'failed', message: '1/2 service(s) failed to sync' });
    await idle();
    expect(shown(POSTGRES)).toEqual([
      'pending: Waiting for its turn',
      'pending: Syncing...',
      'success: Updated: 3 containers',
    ]);
    expect(shown(REDIS)).toEqual(['pending: Waiting for its turn', 'failure: Exit code 2']);
    const page = `https://runner.example/runs/${runs.idOf('run')}`;
    expect(github.statuses.latest(FIRST, REDIS)?.targetUrl).toBe(`${page}#step-1`);
    expect(await unsettled()).toEqual([]);
  });

  it('have the name of the environment, and those of two environments do not influence each other', async () => {
    const { runs, start } = reporting;
    for (const [environment, state] of [
      ['production', 'failed'],
      ['staging', 'succeeded'],
    ] as const) {
      await runs.put(aSync(environment, {}, { environment, repository: 'acme/platform' }));
      await runs.tell(environment, ...planned('platform/redis'), begun('platform/redis'));
      await runs.tell(environment, ended('platform/redis', state, `It ${state}`));
      await runs.change(environment, { ...RUNNING, revision: FIRST });
      await runs.change(environment, { state, message: `It ${state}` });
    }
    await (await start()).idle();
    expect(shown(`${REDIS} (production)`)).toEqual(['failure: It failed']);
    expect(shown(`${REDIS} (staging)`)).toEqual(['success: It succeeded']);
    expect(await unsettled()).toEqual([]);
  });

  it('come after the status of the run', async () => {
    const { github, runs, start } = reporting;
    await runs.put(aSync('run'));
    await runs.tell('run', ...planned('platform/postgres', 'platform/redis'));
    await runs.change('run', CHOSEN);
    await runs.tell('run', begun('platform/redis'), ended('platform/redis', 'succeeded', 'Created'));
    await runs.put(aSync('other', { revision: SECOND, ...RUNNING }, { revision: SECOND }));
    await (await start()).idle();
    const contexts = github.requests
      .filter(({ method }) => method === 'POST')
      .map(({ body }) => Object.entries(body ?? {}).find(([name]) => name === 'context')?.[1]);
    expect(contexts).toEqual(['IaC Runner / Sync', 'IaC Runner / Sync', REDIS, POSTGRES]);
  });

  it.each<[string, EndState, string]>([
    ['needed another one that failed', 'blocked', 'failure: So it was'],
    ['took too long', 'timed_out', 'failure: So it was'],
    ['was ended with its run', 'cancelled', 'error: So it was'],
  ])('show how it went: one that %s', async (_title, state, expected) => {
    const { runs, start } = reporting;
    await runs.put(aSync('run'));
    await runs.tell('run', ...planned('platform/redis'));
    await runs.change('run', RUNNING);
    await runs.tell('run', begun('platform/redis'));
    if (state === 'blocked') await runs.tell('run', ...planned('platform/redis'));
    await runs.tell('run', ended('platform/redis', state, 'So it was'));
    await runs.change('run', { state: 'failed', message: 'The run failed' });
    await (await start()).idle();
    expect(shown(REDIS)).toEqual([expected]);
  });

  it('that were not reached end as an error', async () => {
    const { runs, start } = reporting;
    await runs.put(aSync('run'));
    await runs.tell('run', ...planned('platform/postgres', 'platform/redis'), begun('platform/redis'));
    await runs.change('run', CHOSEN);
    const { idle } = await start();
    await idle();
    await runs.change('run', { state: 'errored', reason: 'attempts_exhausted', message: 'Tried too often' });
    await idle();
    for (const context of [POSTGRES, REDIS])
      expect(shown(context).at(-1)).toBe('error: The run ended before this');
    expect(await unsettled()).toEqual([]);
  });

  it('end after the repository has switched these statuses off, and no new run has any', async () => {
    const { runs, start } = reporting;
    await runs.put(aSync('run'));
    await runs.tell('run', ...planned('platform/postgres', 'platform/redis'));
    await runs.tell('run', begun('platform/redis'), begun('platform/postgres'));
    await runs.tell('run', ended('platform/postgres', 'succeeded', 'Synced'));
    await runs.change('run', CHOSEN);
    await (await start()).idle();
    reporting.targetOf = () => aTarget(reporting.github, { serviceStatuses: false });
    await runs.put(aSync('other', { revision: SECOND }));
    await runs.tell('other', ...planned('platform/redis'));
    await runs.change('other', { ...CHOSEN, chosen: 1 });
    const { idle } = await start();
    await idle();
    expect((await unsettled()).map(({ id }) => id)).toEqual([runs.idOf('run')]);
    await runs.tell('run', ended('platform/redis', 'succeeded', 'Synced'));
    for (const id of ['run', 'other']) await runs.change(id, SUCCEEDED);
    await idle();
    expect(shown(REDIS)).toEqual(['pending: Syncing...', 'success: Synced']);
    expect(shown(POSTGRES)).toEqual(['success: Synced']);
    expect(shown(REDIS, SECOND)).toEqual([]);
    expect(await unsettled()).toEqual([]);
  });

  it('that were only looked at, or removed, have no status', async () => {
    const { runs, start } = reporting;
    await runs.put(aSync('run'));
    await runs.tell('run', ...planned('platform/postgres', 'platform/redis', 'old'));
    await runs.tell(
      'run',
      ended('platform/postgres', 'skipped', 'Unchanged'),
      ended('old', 'removed', 'Gone'),
    );
    await runs.change('run', RUNNING);
    await (await start()).idle();
    expect(shown(POSTGRES)).toEqual([]);
    expect(shown('IaC Runner / old')).toEqual([]);
    expect(shown(REDIS)).toHaveLength(1);
  });

  it('wait again if the run was cut off, and do not end in between', async () => {
    const { runs, start } = reporting;
    await runs.put(aSync('run'));
    await runs.tell('run', ...planned('platform/redis'), begun('platform/redis'));
    await runs.change('run', RUNNING);
    const { idle } = await start();
    await idle();
    await runs.tell('run', ended('platform/redis', 'cancelled', 'The server was stopped'));
    await runs.change('run', { state: 'queued', message: 'Handed back' });
    await idle();
    await runs.change('run', RUNNING);
    await runs.tell('run', ...planned('platform/redis'), begun('platform/redis'));
    await runs.tell('run', ended('platform/redis', 'succeeded', 'Created'));
    await runs.change('run', SUCCEEDED);
    await idle();
    expect(shown(REDIS).map((text) => text.split(':')[0])).not.toContain('error');
    expect(shown(REDIS).at(-1)).toBe('success: Created');
  });

  it('that a run began at another commit end there as well', async () => {
    const { runs, start } = reporting;
    await runs.put(aSync('run'));
    await runs.tell('run', ...planned('platform/postgres', 'platform/redis'));
    await runs.change('run', CHOSEN);
    await runs.tell('run', begun('platform/postgres'), ended('platform/postgres', 'failed', 'Exit code 1'));
    const { idle } = await start();
    await idle();
    await runs.change('run', { state: 'queued', message: 'Held by ada: holiday' });
    await runs.change('run', { ...CHOSEN, revision: SECOND });
    await runs.tell('run', ...planned('platform/postgres', 'platform/redis'));
    for (const step of ['platform/postgres', 'platform/redis'])
      await runs.tell('run', begun(step), ended(step, 'succeeded', 'Created'));
    await runs.change('run', SUCCEEDED);
    await idle();
    expect(shown(REDIS).at(-1)).toBe('success: Created');
    expect(shown(REDIS, SECOND).at(-1)).toBe('success: Created');
    expect(shown(POSTGRES)).toEqual(['failure: Exit code 1']);
    expect(shown(POSTGRES, SECOND).at(-1)).toBe('success: Created');
    expect(await unsettled()).toEqual([]);
  });

  it('of a later run of the same commit replace those of the earlier one', async () => {
    const { runs, start } = reporting;
    const { idle } = await start();
    for (const [id, state, message] of [
      ['one', 'failed', 'Exit code 1'],
      ['two', 'succeeded', 'Created'],
    ] as const) {
      await runs.put(aSync(id));
      await runs.tell(id, ...planned('platform/redis'));
      await runs.change(id, RUNNING);
      await runs.tell(id, begun('platform/redis'), ended('platform/redis', state, message));
      await runs.change(id, { state, message });
      await idle();
    }
    expect(shown(REDIS).at(-1)).toBe('success: Created');
    expect(await unsettled()).toEqual([]);
  });

  it('leave their pending states out if the commit has many statuses, so that room is kept for outcomes', async () => {
    const { github, runs, start } = reporting;
    github.statuses.fill(FIRST, REDIS, 50);
    const trigger = { source: 'retry', actor: 'ada', deliveryId: null, retryOf: null } as const;
    await runs.put(aSync('run', { trigger }));
    await runs.tell('run', ...planned('platform/redis'));
    await runs.change('run', RUNNING);
    const { idle } = await start();
    await idle();
    expect(shown(REDIS)).toHaveLength(950);
    // The status of the run has its own room.
    expect(shown('IaC Runner / Sync')).toEqual(['pending: Syncing 1 service(s)...']);
    await runs.tell('run', begun('platform/redis'), ended('platform/redis', 'succeeded', 'Created'));
    await runs.change('run', SUCCEEDED);
    await idle();
    expect(shown(REDIS).at(-1)).toBe('success: Created');
  });

  it.each<[string, Partial<SyncRun['input']>, boolean]>([
    ['if the repository has not asked for them', {}, false],
    ['for a dry run', { dryRun: true }, true],
  ])('have no statuses %s, and the run is settled at once', async (_title, input, serviceStatuses) => {
    const { github, runs, start } = reporting;
    reporting.targetOf = () => aTarget(github, { serviceStatuses });
    await runs.put(aSync('run', {}, input));
    await runs.tell('run', ...planned('platform/redis'));
    await runs.change('run', RUNNING);
    await (await start()).idle();
    expect(shown(REDIS)).toEqual([]);
    expect(await unsettled()).toEqual([]);
  });
});

describe('The context of a service', () => {
  const input = aRun().input;
  const contextOf = (service: string) => SYNC.services?.context(input, service) ?? '';

  it.each(['sync', 'Preview', 'plan'])('is not that of a run, also for a service called %s', (service) => {
    expect(contextOf(service)).toBe(`IaC Runner / service ${service}`);
  });

  it('has at most 255 characters, and no two services share one', () => {
    const names = [200, 242, 243, 300].map((length) => 'x'.repeat(length));
    const contexts = [...names, `${'x'.repeat(300)}y`].map((name) => boundContext(contextOf(name)));
    expect(Math.max(...contexts.map(({ length }) => length))).toBe(255);
    expect(new Set(contexts).size).toBe(5);
    expect(contexts.slice(0, 2)).toEqual(names.slice(0, 2).map(contextOf));
    const inStaging = SYNC.services?.context({ ...input, environment: 'staging' }, 'x'.repeat(300)) ?? '';
    expect(boundContext(inStaging)).toMatch(/^IaC Runner \/ x+… [0-9a-f]{8}x+ \(staging\)$/);
  });

  it('has no characters that GitHub refuses, and no two services share one', () => {
    const contexts = ['apps/🐛', 'apps/🦋', 'apps/a\u202eb'].map((name) => boundContext(contextOf(name)));
    expect(contexts[0]).toMatch(/^IaC Runner \/ apps\/\ufffd [0-9a-f]{8}$/);
    expect(new Set(contexts).size).toBe(3);
  });
});
