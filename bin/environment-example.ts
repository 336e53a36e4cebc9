/** The text of .env.example, made from the variables that the program really reads. */

import { TASK_ENV_DEFAULTS, TASKS } from '../src/config/tables/tasks.ts';
import type { Variable } from '../src/config/variable.ts';
import { SUBJECTS, VARIABLES } from '../src/config.ts';
import { isValue } from './configuration-document.ts';

const BEFORE = `# Settings of iac-runner. Copy to .env (chmod 600 .env) and fill in; docs/configuration.md says all about them.
# Plain NAME=value lines without quotes or dollar signs, so that Compose, \`docker run --env-file\` and systemd read them alike.
# Written by \`npm run docs\` from the variables in src/config/. Change the text there.
`;

const TITLES: Record<keyof typeof SUBJECTS, string> = {
  access: 'Who may ask for what',
  oidc: 'Sign-in by OpenID Connect, besides API tokens',
  git: 'The platform repository',
  server: 'The server; compose.yaml sets HOST, WEBHOOK_PORT and TRUSTED_PROXIES itself',
  log: 'Its log',
  folders: 'Its folders; compose.yaml sets them itself',
  tasks: 'Tasks: the names in TASK_ENV are passed on, so set their values here too',
  sync: 'Syncs',
  limits: 'Limits',
  executor: 'Steps behind a wall; see docs/executor.md',
  wall: 'Without a wall, only if these people may have all secrets of this server',
  plans: 'Pull requests; see docs/plans.md',
  pubsub: 'Requests for plans by Google Pub/Sub; see docs/plans.md',
  deployments: 'Deployments; see docs/deployments.md',
  remotes: 'Addresses that requests for deployments and jobs may name',
  keys: 'Keys that seal the credentials of requests',
  events: 'Events of deployments',
  drift: 'Drift checks',
  dokploy: 'Config hashes in Dokploy; see docs/dokploy.md',
  store: 'Several machines: keep everything in a PostgreSQL that they share; see docs/postgres.md',
  labels: 'The deployments that this machine takes',
  jobs: 'Jobs from jobs:stream, for `iac-runner worker`; see docs/jobs.md',
  client: 'Commands that ask a running server',
};

/** The whole file, ready to be written. */
export function exampleOfEnvironment(): string {
  const isFirst = (one: Variable<unknown>) =>
    one.recommended === true || (one.default === undefined && one.unset === undefined);
  const first = Object.values(VARIABLES).filter(isFirst);
  const groups = Object.entries(TITLES).map(([subject, title]) => {
    const table: Readonly<Record<string, Variable<unknown>>> = SUBJECTS[subject as keyof typeof SUBJECTS];
    const lines = Object.values(table)
      .filter((one) => !isFirst(one))
      .map((one) => entry(one, '# '));
    return heading(title) + lines.join('') + (subject === 'tasks' ? valuesOfTasks() : '');
  });
  return `${BEFORE}${heading('Settings that every server needs')}${first.map((one) => entry(one, '')).join('')}${groups.join('')}`;
}

function heading(title: string): string {
  return `\n# ---- ${title} ----\n`;
}

function entry({ name, description, example }: Variable<unknown>, prefix: string): string {
  const advice = isValue(example) ? description : `${description} Use ${example}.`;
  // Programs that read such files treat quotes differently, and people who set a folder want another one than in /tmp.
  const value = isValue(example) && !/"|^\/tmp\//.test(example) ? example : '';
  return `${comment(advice)}${prefix}${name}=${value}\n`;
}

/** The variables that tasks get by default, besides our own. */
function valuesOfTasks(): string {
  const names = (TASKS.taskEnv.default ?? '').split(',').filter((name) => VARIABLES[name] === undefined);
  return names.map((name) => `# ${name}=${TASK_ENV_DEFAULTS[name] ?? ''}\n`).join('');
}

/** In lines of at most 120 characters. */
function comment(text: string): string {
  return text.replace(/(?=.)(.{1,118})(?: |$)/g, '# $1\n');
}
