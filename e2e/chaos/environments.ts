/** The two environments of a chaos run, and the people who promote from the first to the second. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Journal, openJournal } from '../support/journal.ts';
import { API_TOKENS } from '../support/runner-environment.ts';
import type { Stage } from '../support/stage.ts';

/** Staging follows the branch. Production takes what staging holds, after somebody else than the asker approved it. */
export const ENVIRONMENTS = ['staging', 'production'] as const;
export type EnvironmentName = (typeof ENVIRONMENTS)[number];

/** The names of the API tokens. An admin may ask for a promotion, and decide about those of others. */
export const TOKENS = { ...API_TOKENS, deputy: 'e2e-deputy-token-49fa' } as const;
export type Person = keyof typeof TOKENS;
export const ASKERS = ['operator', 'admin', 'deputy'] as const satisfies Person[];
export const DECIDERS = ['admin', 'deputy'] as const satisfies Person[];

/** Writes the configuration file. Returns the variables of a server that uses it. */
export async function configureEnvironments({
  folder,
  repository,
  github,
}: Stage): Promise<Record<string, string | undefined>> {
  const file = join(folder, 'iac-runner.yaml');
  await writeFile(
    file,
    `repositories:
  - url: ${repository.path}
    name: ${github.fullName}
    environments:
      - { name: staging, follow: main }
      - { name: production, promote: staging, approval: other }
`,
  );
  const roles = { viewer: 'viewer', operator: 'operator', admin: 'admin', deputy: 'admin' } as const;
  return {
    CONFIG_FILE: file,
    GIT_REPO_URL: undefined,
    GIT_BRANCH: undefined,
    GITHUB_REPOSITORY: undefined,
    API_TOKENS: Object.entries(TOKENS)
      .map(([name, token]) => `${name}:${roles[name as Person]}:${token}`)
      .join(','),
  };
}

/** The tasks of each environment write a journal of their own. */
export function openJournals({ journal }: Stage): Record<EnvironmentName, Journal> {
  const open = (environment: EnvironmentName) => openJournal(`${journal.path}.${environment}`);
  return { staging: open('staging'), production: open('production') };
}

/** The context of an environment's commit statuses. */
export function statusContext(environment: EnvironmentName): string {
  return `IaC Runner / Sync (${environment})`;
}
