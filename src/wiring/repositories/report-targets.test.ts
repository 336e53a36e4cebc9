/** Where runs are reported to, by a configuration of several repositories. */

import { rmSync } from 'node:fs';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { configFolder } from '../../config/file/config-file.fixture.ts';
import type { GitHubTarget, TargetOf } from '../../reporters/github-target.ts';
import {
  aPlan,
  aPreview,
  aRun,
  createStoredRuns,
  type StoredRuns,
} from '../../reporters/stored-runs.fixture.ts';
import { githubRepositories, reportTargets } from './github.ts';
import { openPlaces } from './places.ts';

const { load, write } = configFolder();
let runs: StoredRuns;

beforeEach(async () => {
  runs = await createStoredRuns();
});

afterEach(() => runs.close());

function targets(text: string, environment: Record<string, string> = {}): TargetOf {
  const config = load(text, environment);
  const places = openPlaces(config, runs.store, pino({ level: 'silent' }));
  return reportTargets(githubRepositories(config, places));
}

/** The target without its functions. */
function shown(target: GitHubTarget | null): object | null {
  if (target === null) return null;
  const { token: _token, ...rest } = target;
  return rest;
}

it('Each run is reported to its own repository, with the address of its environment', () => {
  const targetOf = targets(
    `repositories:
  - url: https://github.com/acme/platform.git
    deployments: true
    environments:
      - { name: staging, follow: main, url: "https://staging.example.com" }
      - { name: production, promote: staging }
  - url: https://github.com/acme/site.git
    service_statuses: true
    environments:
      - { name: site, follow: main }
  - url: https://git.example.com/acme/tools.git
    environments:
      - { name: tools, follow: main }
`,
    { GITHUB_TOKEN: 'ghp_shared' },
  );
  const apiUrl = 'https://api.github.com';
  const platform = { owner: 'acme', repo: 'platform', apiUrl, deployments: true, serviceStatuses: false };
  const site = { owner: 'acme', repo: 'site', apiUrl, deployments: false, serviceStatuses: true };
  const of = (repository: string, environment: string) =>
    shown(targetOf(aRun({}, { repository, environment })));
  const staging = { ...platform, environmentUrl: 'https://staging.example.com' };
  expect(of('acme/platform', 'staging')).toEqual(staging);
  expect(of('acme/platform', 'production')).toEqual({ ...platform, environmentUrl: null });
  expect(of('acme/site', 'site')).toEqual({ ...site, environmentUrl: null });
  expect(of('tools', 'tools')).toBeNull();
  expect(of('acme/gone', 'staging')).toBeNull();
  const preview = aPreview({}, { repository: 'acme/platform', environment: 'staging' });
  expect(shown(targetOf(preview))).toEqual(staging);
  expect(shown(targetOf(aPlan({}, { repository: 'Acme/Site' })))).toMatchObject(site);
  // A run that was stored before there were several repositories.
  expect(shown(targetOf(aRun()))).toMatchObject(platform);
});

it('The token of a file is read for each request, and a file that is gone is an error that names it', () => {
  const file = write('token', 'ghp_first\n');
  const targetOf = targets(`repositories:
  - url: https://github.com/acme/platform.git
    token: { file: ${file} }
    environments:
      - { name: staging, follow: main }
`);
  const target = targetOf(aRun({}, { repository: 'acme/platform', environment: 'staging' }));
  expect(target?.token()).toBe('ghp_first');
  write('token', 'ghp_second\n');
  expect(target?.token()).toBe('ghp_second');
  rmSync(file);
  expect(() => target?.token()).toThrow(file);
});
