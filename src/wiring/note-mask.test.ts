import { expect, it } from 'vitest';
import type { EnvironmentConfig, RepositoryConfig } from '../config/repositories.ts';
import { loadConfig } from '../config.ts';
import { createNoteMask } from './note-mask.ts';

const REPOSITORY: RepositoryConfig = {
  name: 'acme/platform',
  fullName: null,
  url: 'https://github.com/acme/platform.git',
  token: { value: 'canary-token-of-the-repository' },
  deployments: false,
  serviceStatuses: false,
  environments: [],
};

function environment(secrets: EnvironmentConfig['secrets']): EnvironmentConfig {
  const source = { branch: 'main' };
  return { name: null, source, url: null, variables: { COLOUR: 'greenish' }, secrets, windows: [] };
}

it('Notes are masked for the secrets of the server, of its repositories and of its environments', () => {
  const config = loadConfig({
    GIT_REPO_URL: REPOSITORY.url,
    WEBHOOK_SECRET: 'canary-webhook-secret',
  });
  const mask = createNoteMask(config, [
    {
      repository: REPOSITORY,
      environment: environment({
        LOST: { file: '/nowhere/of/this/machine' },
        PASSWORD: { value: 'canary-password' },
      }),
    },
    { repository: { ...REPOSITORY, token: null }, environment: environment({}) },
  ]);
  const written =
    'canary-webhook-secret, canary-token-of-the-repository and canary-password, but greenish stays';
  expect(mask(written)).toBe('****, **** and ****, but greenish stays');
});
