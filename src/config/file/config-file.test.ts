/** The file of CONFIG_FILE becomes repositories and environments, and stands in place of some variables. */

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig, loadUnknownVariables } from '../../config.ts';
import { configFolder } from './config-file.fixture.ts';

const { write, load, problems } = configFolder();

const ONE = `
repositories:
  - url: https://github.com/acme/platform.git
    environments: [{ name: staging, follow: main }]
`;
const REST = { WEBHOOK_SECRET: 'a-secret-of-the-webhook' };

describe('Without CONFIG_FILE', () => {
  it('there is one repository with one unnamed environment', () => {
    const { repositories } = loadConfig({
      ...REST,
      GIT_REPO_URL: 'git@github.com:acme/platform.git',
      GIT_BRANCH: 'stable',
      GITHUB_TOKEN: 'a-token-of-github',
      CONFIG_FILE: ' ',
    });
    const environment = { name: null, source: { branch: 'stable' }, url: null };
    expect(repositories).toEqual([
      {
        name: 'acme/platform',
        fullName: 'acme/platform',
        url: 'git@github.com:acme/platform.git',
        token: { value: 'a-token-of-github' },
        deployments: false,
        serviceStatuses: false,
        environments: [{ ...environment, variables: {}, secrets: {}, windows: [] }],
      },
    ]);
  });

  it('a repository that is not on GitHub has the last part of its address as its name', () => {
    const nameFor = (url: string) => loadConfig({ ...REST, GIT_REPO_URL: url }).repositories[0];
    for (const url of [
      '/srv/git/shop.git/',
      'https://git.example.com/teams/a/shop',
      'git@example.com:shop',
    ]) {
      expect(nameFor(url)).toMatchObject({ name: 'shop', fullName: null, token: null });
    }
  });

  it('GIT_REPO_URL is required', () => {
    expect(() => loadConfig(REST)).toThrow(/^GIT_REPO_URL is missing: expected the URL/);
  });
});

describe('CONFIG_FILE', () => {
  it('has every repository and environment', () => {
    const text = `
repositories:
  - url: https://github.com/acme/platform.git
    name: acme/core
    token: { env: CORE_TOKEN }
    deployments: true
    service_statuses: true
    environments:
      - name: staging
        follow: main
        url: https://staging.example.com/start
        variables: { DEPLOY_ENV: staging, ENV_SUFFIX: -staging, EMPTY: "" }
        secrets: { VAULT_APP_TOKEN: { env: VAULT_STAGING } }
      - name: production
        promote: staging
        approval: other
        approvers: [ada, grace]
        automatic: true
        windows:
          - { days: [mon, fri], from: "22:30", to: "06:00", timezone: Europe/Berlin }
  - url: /srv/git/tools.git
    environments:
      - { name: tools, follow: { tags: "v*" } }
      - { name: more, promote: tools }
`;
    const { repositories } = load(text, {
      CORE_TOKEN: ' core-token\n',
      VAULT_STAGING: 'vault\n',
      GITHUB_TOKEN: 'other',
    });
    const none = { url: null, variables: {}, secrets: {}, windows: [] };
    expect(repositories).toEqual([
      {
        name: 'acme/core',
        fullName: 'acme/core',
        url: 'https://github.com/acme/platform.git',
        token: { value: 'core-token' },
        deployments: true,
        serviceStatuses: true,
        environments: [
          {
            name: 'staging',
            source: { branch: 'main' },
            url: 'https://staging.example.com/start',
            variables: { DEPLOY_ENV: 'staging', ENV_SUFFIX: '-staging', EMPTY: '' },
            secrets: { VAULT_APP_TOKEN: { value: 'vault\n' } },
            windows: [],
          },
          {
            ...none,
            name: 'production',
            source: { promote: 'staging', approval: 'other', approvers: ['ada', 'grace'], automatic: true },
            windows: [{ days: ['mon', 'fri'], fromMinute: 1_350, toMinute: 360, timeZone: 'Europe/Berlin' }],
          },
        ],
      },
      {
        name: 'tools',
        fullName: 'tools',
        url: '/srv/git/tools.git',
        token: { value: 'other' },
        deployments: false,
        serviceStatuses: false,
        environments: [
          { ...none, name: 'tools', source: { tags: 'v*' } },
          {
            ...none,
            name: 'more',
            source: { promote: 'tools', approval: 'none', approvers: null, automatic: false },
          },
        ],
      },
    ]);
  });

  it.each([
    ['https://github.com/acme/platform.git', '', 'acme/platform', 'acme/platform'],
    ['https://github.com/acme/platform.git', 'name: core', 'core', 'acme/platform'],
    ['/srv/git/platform.git', '', 'platform', null],
    ['/srv/git/platform.git', 'name: acme/platform', 'acme/platform', 'acme/platform'],
  ])('calls the repository %s with "%s" %s', (url, field, name, fullName) => {
    const text = `repositories:\n  - url: ${url}\n    environments: [{ name: a, follow: main }]\n    ${field}\n`;
    expect(load(text).repositories[0]).toMatchObject({ name, fullName });
  });

  it.each(['GIT_REPO_URL', 'GIT_BRANCH', 'GITHUB_REPOSITORY'])('stands in place of %s', (name) => {
    const lines = problems(ONE, { [name]: 'acme/platform' });
    expect(lines).toEqual([`CONFIG_FILE and ${name} are both set. Remove one of them.`]);
    expect(problems(ONE, { [name]: ' ' })).toEqual([]);
  });

  it('stands in place of GIT_REPO_URL_FILE, too', () => {
    const path = write('url', 'https://github.com/acme/platform.git\n');
    expect(problems(ONE, { GIT_REPO_URL_FILE: path })).toEqual([
      'CONFIG_FILE and GIT_REPO_URL are both set. Remove one of them.',
    ]);
  });

  it('is an absolute path', () => {
    expect(() => loadConfig({ ...REST, CONFIG_FILE: 'config.yaml' })).toThrow(
      /^CONFIG_FILE is wrong: expected an absolute path[^\n]*$/,
    );
  });

  it('is known, and is not the file of a secret CONFIG', () => {
    const path = write('known.yaml', ONE);
    expect(loadUnknownVariables({ ...REST, CONFIG_FILE: path, CONFIG_DIR: '/etc', CONFIG: 'x' })).toEqual([]);
    expect(loadUnknownVariables({ CONFIG_FIL: path })).toEqual([
      'CONFIG_FIL is not a variable of iac-runner; did you mean CONFIG_FILE?',
    ]);
  });

  it('makes the variables known that it names', () => {
    const text = ONE.replace('environments', 'token: { env: GITHUB_TOKEN2 }\n    environments');
    const path = write('named.yaml', text);
    expect(loadUnknownVariables({ CONFIG_FILE: path, GITHUB_TOKEN2: 'x' })).toEqual([]);
    expect(loadUnknownVariables({ GITHUB_TOKEN2: 'x' })).toHaveLength(1);
  });

  it.each([
    [
      join('/', 'nowhere', 'config.yaml'),
      'it cannot be read (ENOENT). Create it, and let the user of iac-runner read it.',
    ],
    ['/dev/zero', 'that is not a file. Give the path of a file.'],
    ['/tmp', 'that is not a file. Give the path of a file.'],
  ])('stops the start if it cannot be read: %s', (path, problem) => {
    expect(() => loadConfig({ ...REST, CONFIG_FILE: path })).toThrow(
      `CONFIG_FILE names the file ${path}, but ${problem}`,
    );
  });

  it('is reported with wrong variables at once', () => {
    expect(problems('repositories: []\n', { LOG_LEVEL: 'verbose' })).toEqual([
      expect.stringMatching(/^LOG_LEVEL is wrong: /),
      expect.stringMatching(/^CONFIG_FILE line 1, repositories: .*expected array/),
    ]);
  });

  it('has one environment if config hashes are in Dokploy, too', () => {
    const dokploy = {
      CONFIG_HASH_STORE: 'dokploy',
      DOKPLOY_URL: 'https://cloud.example.com/api',
      DOKPLOY_API_KEY: 'a-key',
    };
    expect(problems(ONE, dokploy)).toEqual([]);
    const two = ONE.replace('}]', '}, { name: production, promote: staging }]');
    expect(problems(two, dokploy)).toEqual([
      expect.stringMatching(
        /^CONFIG_HASH_STORE=dokploy is for one environment, but the file of CONFIG_FILE has 2\./,
      ),
    ]);
  });
});
