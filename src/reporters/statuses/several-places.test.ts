/** Statuses of several environments and of several repositories, which never influence each other. */

import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { MISBEHAVIOURS } from '../../../e2e/support/github-misbehaviour.ts';
import { expectNoViolations, type LocalGithub, startLocalGithub } from '../../../e2e/support/local-github.ts';
import { SecretMissingError } from '../../errors.ts';
import type { Run, SyncRun } from '../../runs/run.ts';
import { aTarget, createLocalReporting, FIRST, type LocalReporting } from '../local-reporting.fixture.ts';
import { RUNNING, SUCCEEDED } from '../reporting.fixture.ts';
import { aPreview, aRun } from '../stored-runs.fixture.ts';

const FAILED = { state: 'failed', message: '1/1 service(s) failed to sync' } as const;
const [STAGING, PRODUCTION] = ['IaC Runner / Sync (staging)', 'IaC Runner / Sync (production)'] as const;
const SECOND = '2'.repeat(40);

let reporting: LocalReporting;

beforeEach(async () => {
  reporting = await createLocalReporting();
});

afterEach(async () => {
  await reporting.close();
  expectNoViolations(reporting.github);
});

function inPlace(
  changes: Partial<SyncRun> & { id: string },
  environment: string,
  repository = 'acme/platform',
): SyncRun {
  const input = { revision: FIRST, repository, environment };
  return aRun({ concurrencyGroup: changes.id, revision: FIRST, ...changes }, input);
}

function statesOf(context: string, github: LocalGithub = reporting.github): string[] {
  return github.statuses.history(FIRST, context).map(({ state }) => state);
}

describe('Two environments of one commit', () => {
  it('have a context each, and the success of one never hides or settles the failure of the other', async () => {
    const { runs, start } = reporting;
    await runs.put(inPlace({ id: 'production', ...RUNNING }, 'production'));
    await runs.put(inPlace({ id: 'staging', ...RUNNING }, 'staging'));
    const { idle } = await start();
    await idle();
    await runs.change('production', FAILED);
    await runs.change('staging', SUCCEEDED);
    await idle();
    expect(statesOf(PRODUCTION)).toEqual(['pending', 'failure']);
    expect(statesOf(STAGING)).toEqual(['pending', 'success']);
    expect(await runs.store.unreported('commit-status', 10)).toEqual([]);
    expect(runs.savedReports.filter(({ settled }) => settled).map(({ sent }) => sent)).toEqual([
      'failure: 1/1 service(s) failed to sync',
      'success: 1 service(s) synced successfully',
    ]);
  });

  it('do not wait for each other if GitHub takes the statuses of only one', async () => {
    const { github, runs, start } = reporting;
    github.statuses.fill(FIRST, PRODUCTION, 0);
    await runs.put(inPlace({ id: 'production', ...FAILED }, 'production'));
    await runs.put(inPlace({ id: 'staging', ...SUCCEEDED }, 'staging'));
    await (await start()).idle();
    expect(statesOf(STAGING)).toEqual(['success']);
    expect(await runs.reports('production')).toMatchObject([
      { settled: true, problem: expect.stringContaining('maximum number of statuses') },
    ]);
    expect(await runs.reports('staging')).toMatchObject([{ settled: true, problem: null }]);
  });

  it('that the store has from an earlier version stay under the first context', async () => {
    const { runs, start } = reporting;
    await runs.put(aRun({ id: 'old', ...SUCCEEDED, revision: FIRST }, { revision: FIRST }));
    await runs.put(inPlace({ id: 'staging', ...FAILED }, 'staging'));
    await (await start()).idle();
    expect(statesOf('IaC Runner / Sync')).toEqual(['success']);
    expect(statesOf(STAGING)).toEqual(['failure']);
  });

  it('keep room for their own last statuses, and are not short of it because of the other', async () => {
    const { github, runs, start } = reporting;
    github.statuses.fill(FIRST, PRODUCTION, 2);
    const trigger = { source: 'retry', actor: 'ada', deliveryId: null, retryOf: null } as const;
    await runs.put(inPlace({ id: 'production', trigger, ...RUNNING }, 'production'));
    await runs.put(inPlace({ id: 'staging', trigger, ...RUNNING }, 'staging'));
    const { idle } = await start();
    await idle();
    await runs.change('production', FAILED);
    await runs.change('staging', SUCCEEDED);
    await idle();
    expect(statesOf(PRODUCTION).slice(998)).toEqual(['failure']);
    expect(statesOf(STAGING)).toEqual(['pending', 'success']);
  });
});

describe('Two repositories', () => {
  let site: LocalGithub;
  /** The repository of each request, in order. */
  let asked: string[];

  beforeEach(async () => {
    site = await startLocalGithub({ fullName: 'acme/site', token: 'ghp_site' });
    asked = [];
    reporting.targetOf = ({ input }: Run) => {
      if (!('repository' in input)) return null;
      const github = input.repository === 'acme/site' ? site : reporting.github;
      return aTarget(github, {
        token() {
          asked.push(github.fullName);
          return github.token;
        },
      });
    };
  });

  afterEach(async () => {
    await site.close();
    expectNoViolations(site);
  });

  it('show the statuses of their own runs, also on commits of the same name', async () => {
    const { github, runs, start } = reporting;
    await runs.put(inPlace({ id: 'one', ...FAILED }, 'staging'));
    await runs.put(inPlace({ id: 'two', ...SUCCEEDED }, 'staging', 'acme/site'));
    await (await start()).idle();
    expect(statesOf(STAGING, github)).toEqual(['failure']);
    expect(statesOf(STAGING, site)).toEqual(['success']);
  });

  it('F44: do not wait for each other if one refuses the token', async () => {
    const { github, runs, start } = reporting;
    const isAllowed = site.misbehave({ how: MISBEHAVIOURS.badCredentials, times: 'forever' });
    for (let n = 0; n < 5; n += 1) {
      const refused = { id: `refused-${n}`, ...FAILED, revision: SECOND };
      await runs.put(inPlace(refused, `stage-${n}`, 'acme/site'));
    }
    await runs.put(inPlace({ id: 'one', ...SUCCEEDED }, 'staging'));
    const { idle } = await start();
    await expect.poll(() => statesOf(STAGING, github), { interval: 1 }).toEqual(['success']);
    // The first refusal stopped all that would have come before.
    expect(asked.slice(0, 2)).toEqual(['acme/site', 'acme/platform']);
    isAllowed();
    await idle();
    for (const sha of [FIRST, SECOND]) expect(site.statuses.history(sha)).toHaveLength(5);
    expect(await runs.store.unreported('commit-status', 10)).toEqual([]);
  });

  it('F44: do not wait for each other if the token of one cannot be read, which the log explains', async () => {
    const { github, logged, runs, start } = reporting;
    let token: string | null = null;
    reporting.targetOf = ({ input }) => {
      const isSite = 'repository' in input && input.repository === 'acme/site';
      if (!isSite) return aTarget(github);
      return aTarget(site, {
        token() {
          if (token === null) throw new SecretMissingError('The secret in /run/site-token cannot be read.');
          return token;
        },
      });
    };
    await runs.put(inPlace({ id: 'two', ...FAILED }, 'staging', 'acme/site'));
    await runs.put(inPlace({ id: 'one', ...SUCCEEDED }, 'staging'));
    const { idle } = await start();
    await expect.poll(() => statesOf(STAGING, github)).toEqual(['success']);
    await expect
      .poll(() => runs.reports('two'))
      .toMatchObject([
        { sent: null, settled: false, problem: 'The secret in /run/site-token cannot be read.' },
      ]);
    expect(site.requests).toEqual([]);
    expect(logged).toContain('commit status not sent yet');
    // A file that is being replaced may have the old token for a moment.
    token = 'ghp_old';
    await expect.poll(() => site.requests.length).toBeGreaterThan(0);
    token = 'ghp_site';
    await idle();
    expect(statesOf(STAGING, site)).toEqual(['failure']);
  });

  it('F44: do not wait for each other if one refuses the token for more than a thousand runs', async () => {
    const { github, runs, start } = reporting;
    site.misbehave({ how: MISBEHAVIOURS.badCredentials, times: 'forever' });
    const refused = inPlace({ id: 'refused', labels: ['nobody'] }, 'staging', 'acme/site');
    for (let n = 0; n < 1_100; n += 1) await runs.store.enqueue(refused);
    const { idle } = await start();
    await expect.poll(() => site.requests.length).toBeGreaterThan(0);
    await runs.put(inPlace({ id: 'one', ...SUCCEEDED }, 'staging'));
    await expect.poll(() => statesOf(STAGING, github).at(-1)).toBe('success');
    reporting.targetOf = ({ input }) =>
      'repository' in input && input.repository === 'acme/site' ? null : aTarget(github);
    // A thousand runs are read at once.
    await idle();
    await idle();
    expect(await runs.store.unreported('commit-status', 10)).toEqual([]);
  });

  it('have comments of their own on pull requests of the same number', async () => {
    const { github, runs, start } = reporting;
    const done = { ...SUCCEEDED, message: 'Merging this will sync nothing' };
    const place = { environment: 'staging', pullRequest: 7 };
    await runs.put(aPreview({ id: 'p', ...done }, { ...place, repository: 'acme/platform' }));
    await runs.put(aPreview({ id: 's', ...done }, { ...place, repository: 'acme/site' }));
    await (await start()).idle();
    const shown = [github, site].map((one) => one.comments.of(7).map(({ body }) => body));
    expect(shown).toEqual([
      [expect.stringContaining(runs.idOf('p'))],
      [expect.stringContaining(runs.idOf('s'))],
    ]);
  });
});

it('A run without a repository on GitHub is settled without a status', async () => {
  const { runs, start } = reporting;
  reporting.targetOf = () => null;
  onTestFinished(() => expect(reporting.github.requests).toEqual([]));
  await runs.put(inPlace({ id: 'one', ...SUCCEEDED }, 'staging', 'else/where'));
  await runs.put(inPlace({ id: 'two', ...RUNNING }, 'staging', 'else/where'));
  await (await start()).idle();
  expect(await runs.store.unreported('commit-status', 10)).toEqual([]);
});
