/** The settings of the runner in the demo: two environments, and two people who may approve a promotion. */

import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { API_TOKENS } from '../../e2e/support/runner-environment.ts';
import type { Stage } from '../../e2e/support/stage.ts';

export type Settings = Record<string, string | undefined>;

/** The API tokens of two admins. */
export const PEOPLE = { ada: 'demo-token-of-ada-51c2', grace: 'demo-token-of-grace-8d0e' } as const;
export type Person = keyof typeof PEOPLE;

export async function runnerSettings(stage: Stage): Promise<Settings> {
  const port = await freePort();
  const file = join(stage.folder, 'iac-runner.yaml');
  await writeFile(file, configuration(stage));
  return {
    WEBHOOK_PORT: `${port}`,
    PUBLIC_URL: `http://127.0.0.1:${port}`,
    // Long enough to see the lines come one after the other.
    IAC_EXAMPLE_SLEEP_MS: '300-600',
    LOG_LEVEL: 'info',
    CONFIG_FILE: file,
    GIT_REPO_URL: undefined,
    GIT_BRANCH: undefined,
    GITHUB_REPOSITORY: undefined,
    API_TOKENS: [
      ...Object.entries(API_TOKENS).map(([role, token]) => `${role}:${role}:${token}`),
      ...Object.entries(PEOPLE).map(([name, token]) => `${name}:admin:${token}`),
    ].join(','),
  };
}

function configuration({ repository, github }: Stage): string {
  return `repositories:
  - url: ${repository.path}
    name: ${github.fullName}
    environments:
      - name: staging
        follow: main
        variables: { DEPLOY_ENV: staging }
      - name: production
        promote: staging
        approval: other
        variables: { DEPLOY_ENV: production }
`;
}

/** The links hold the port, so it has to be known before the runner listens. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('There is no free port.');
  return address.port;
}
