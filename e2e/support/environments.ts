/** A stage with a server that has two environments, and requests in the names of people. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { z } from 'zod';
import { acceptedRun } from './run-actions.ts';
import type { Runner } from './runner.ts';
import { API_TOKENS } from './runner-environment.ts';
import type { Stage } from './stage.ts';
import { setTestStage } from './test-stage.ts';
import { parseBody } from './webhook-sender.ts';

/** Each person has a token, which begins with the name. */
const PEOPLE = { ada: 'admin', bob: 'admin', olga: 'operator', vera: 'viewer' } as const;
export type Person = keyof typeof PEOPLE;

const tokenOf = (person: string): string => `${person}-token-of-a-test`;

export const STAGING_SECRET = 'staging-secret-77ab01';
export const PRODUCTION_SECRET = 'production-secret-88cd02';

const RULES = `services:
  - match: apps/{service}/deploy.sh
    run: [sh, "{folder}/deploy.sh", "{environment}"]
`;

/** Notes what the task got, prints its secret, waits and fails as long as the files of these names are there. */
const DEPLOY = `echo "$IAC_ENVIRONMENT $1 $DEPLOY_ENV $IAC_SERVICE $IAC_COMMIT" >> "$IAC_EXAMPLE_STATE/seen"
echo "The token is $VAULT_APP_TOKEN."
while [ -e "$IAC_EXAMPLE_STATE/$IAC_ENVIRONMENT-waits" ]; do sleep 0.1; done
[ ! -e "$IAC_EXAMPLE_STATE/$IAC_ENVIRONMENT-fails" ]
`;

export interface Environments {
  stage: Stage;
  runner: Runner;
  /** Where the tasks write, and where tests make them fail. */
  state: string;
  secretFile: string;
  /** Changes an app, pushes the commit and delivers the webhook. */
  push(app: string, content: string): Promise<{ commit: string; answer: unknown; runId: string }>;
  ask(person: Person, path: string, body?: object): Promise<{ status: number; body: unknown }>;
  /** Starts the server again with other environments beside staging and production. */
  restart(more: string): Promise<Runner>;
  /** What the tasks noted, one line for each. */
  seen(): Promise<string[]>;
}

/** `production` are more lines about that environment, for example `approval: other`. */
export async function beginEnvironments(
  name: string,
  { production = [], more = '', environment = {} }: EnvironmentsOptions = {},
): Promise<Environments> {
  const stage = await setTestStage(name);
  const state = join(stage.folder, 'state');
  await mkdir(state, { recursive: true });
  const secretFile = join(stage.folder, 'vault-staging');
  await writeFile(secretFile, `${STAGING_SECRET}\n`);
  const file = join(stage.folder, 'iac-runner.yaml');
  await writeFile(file, configFile(stage, { secretFile, production, more }));
  const variables = {
    GIT_REPO_URL: undefined,
    GIT_BRANCH: undefined,
    GITHUB_REPOSITORY: undefined,
    CONFIG_FILE: file,
    VAULT_PRODUCTION: PRODUCTION_SECRET,
    API_TOKENS: [
      `viewer:viewer:${API_TOKENS.viewer}`,
      ...Object.entries(PEOPLE).map(([person, role]) => `${person}:${role}:${tokenOf(person)}`),
    ].join(','),
    ...environment,
  };
  const runner = await stage.start({ environment: variables });
  await stage.repository.write('.iac-runner.yaml', RULES);
  return {
    stage,
    runner,
    state,
    secretFile,
    async push(app, content) {
      await stage.repository.write(`apps/${app}/deploy.sh`, `${DEPLOY}# ${content}\n`);
      const commit = await stage.repository.commit(`${app}: ${content}`);
      const delivery = await stage.push(runner);
      return { commit, answer: delivery.body, runId: acceptedRun(delivery) };
    },
    ask: (person, path, body) => askAs(runner, person, path, body),
    async restart(others) {
      await writeFile(file, configFile(stage, { secretFile, production, more: others }));
      return stage.start({ environment: variables });
    },
    seen: async () => (await readFile(join(state, 'seen'), 'utf8')).trim().split('\n'),
  };
}

interface EnvironmentsOptions {
  production?: readonly string[];
  /** More environments, as YAML with six spaces before each line. */
  more?: string;
  environment?: Record<string, string>;
}

function configFile(
  { repository, github: { fullName } }: Stage,
  { secretFile, production, more }: { secretFile: string; production: readonly string[]; more: string },
): string {
  return `repositories:
  - url: ${repository.path}
    name: ${fullName}
    environments:
      - name: staging
        follow: main
        url: https://staging.example.com
        variables: { DEPLOY_ENV: staging }
        secrets: { VAULT_APP_TOKEN: { file: ${secretFile} } }
      - name: production
        promote: staging
${production.map((line) => `        ${line}\n`).join('')}        variables: { DEPLOY_ENV: production }
        secrets: { VAULT_APP_TOKEN: { env: VAULT_PRODUCTION } }
${more}`;
}

export async function askAs(
  runner: Pick<Runner, 'url'>,
  person: Person,
  path: string,
  body?: object,
): Promise<{ status: number; body: unknown }> {
  const response = await fetch(runner.url + path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { accept: 'application/json', authorization: `Bearer ${tokenOf(person)}` },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    redirect: 'manual',
    signal: AbortSignal.timeout(60_000),
  });
  return { status: response.status, body: parseBody(await response.text()) };
}

const promotionSchema = z.object({ status: z.string(), run_id: z.string() });

/** Asks for a promotion, which must be taken. Resolves to its run. */
export async function promote(
  { ask }: Environments,
  person: Person,
  body: object = {},
  status: 'accepted' | 'awaiting_approval' = 'accepted',
): Promise<string> {
  const answer = await ask(person, '/promote', { environment: 'production', ...body });
  expect(answer).toMatchObject({ status: 202, body: { status, environment: 'production' } });
  return promotionSchema.parse(answer.body).run_id;
}
