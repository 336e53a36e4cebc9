/** Deployments on GitHub and statuses of services, by a server with two environments. */

import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { beginEnvironments, type Environments, promote } from './support/environments.ts';
import { MISBEHAVIOURS } from './support/github-misbehaviour.ts';
import { expectNoViolations } from './support/local-github.ts';
import { until } from './support/until.ts';

const REPORTED = '    deployments: true\n    service_statuses: true\n';
const CREATION = /\/deployments$/;

function deployments({ stage }: Environments): [environment: string, commit: string, states: string[]][] {
  return stage.github.deployments.all.map(({ environment, sha, statuses }) => [
    environment,
    sha,
    statuses.map(({ state }) => state),
  ]);
}

function untilDeployed(world: Environments, expected: ReturnType<typeof deployments>): Promise<true> {
  const isShown = () => JSON.stringify(deployments(world)) === JSON.stringify(expected);
  return until('the deployments', () => (isShown() ? true : null), { seen: () => deployments(world) });
}

describe('A repository that asks for deployments and statuses of services', () => {
  it('shows what each environment has, with links, and the services of each', async () => {
    const world = await beginEnvironments('deployments', { more: REPORTED });
    const { runner, stage } = world;
    await writeFile(join(world.state, 'staging-waits'), '');
    const { commit, runId } = await world.push('web', '1');
    await untilDeployed(world, [['staging', commit, ['in_progress']]]);
    await stage.github.statuses.waitFor({
      sha: commit,
      state: 'pending',
      context: 'IaC Runner / apps/web (staging)',
    });
    await rm(join(world.state, 'staging-waits'));
    await untilDeployed(world, [['staging', commit, ['in_progress', 'success']]]);
    const [deployment] = stage.github.deployments.all;
    expect(deployment).toMatchObject({ payload: { run_id: runId, services: ['apps/web'] } });
    const page = deployment?.statuses.at(-1)?.logUrl ?? '';
    expect(page).toMatch(new RegExp(`^http://localhost/runs/${runId}\\?key=`));
    expect((await fetch(page.replace('http://localhost', runner.url))).status).toBe(200);
    expect(deployment?.statuses.at(-1)).toMatchObject({ environmentUrl: 'https://staging.example.com' });
    await writeFile(join(world.state, 'production-fails'), '');
    const promoted = await promote(world, 'olga');
    await runner.waitForRun(promoted, 'failed');
    await untilDeployed(world, [
      ['staging', commit, ['in_progress', 'success']],
      ['production', commit, ['in_progress', 'failure']],
    ]);
    for (const [context, state] of [
      ['IaC Runner / Sync (staging)', 'success'],
      ['IaC Runner / apps/web (staging)', 'success'],
      ['IaC Runner / Sync (production)', 'failure'],
      ['IaC Runner / apps/web (production)', 'failure'],
    ] as const) {
      await stage.github.statuses.waitFor({ sha: commit, state, context });
    }
    const link = stage.github.statuses.latest(commit, 'IaC Runner / apps/web (staging)')?.targetUrl;
    expect(link).toMatch(/#step-0$/);
    expectNoViolations(stage.github);
  });

  it('F44: has one deployment of a run, although the server was killed before it had the answer', async () => {
    const world = await beginEnvironments('deployments-killed', { more: REPORTED });
    const { stage } = world;
    const { github } = stage;
    github.misbehave({
      how: MISBEHAVIOURS.hang,
      method: 'POST',
      path: CREATION,
      times: 1,
      takesEffect: true,
    });
    const { commit } = await world.push('web', '1');
    await until('the creation', () => (github.deployments.all.length > 0 ? true : null));
    await world.runner.kill();
    await world.restart(REPORTED);
    await until('the outcome', () =>
      github.deployments.all.some(({ statuses }) => statuses.at(-1)?.state === 'success') ? true : null,
    );
    expect(deployments(world).map(([environment, sha]) => [environment, sha])).toEqual([['staging', commit]]);
    expectNoViolations(github);
  });
});
