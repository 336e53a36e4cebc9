/** The environment as it was given, and which of it goes on to children. */

export type Environment = Readonly<Record<string, string | undefined>>;

/** What is ours never reaches a task, even when TASK_ENV names it. */
export const NEVER_FOR_TASKS = [
  'WEBHOOK_SECRET',
  'WEBHOOK_SECRET_PREVIOUS',
  'GITHUB_TOKEN',
  'API_TOKENS',
  'IAC_RUNNER_TOKEN',
  'ENCRYPTION_KEY',
  'EVENT_WEBHOOK_SECRET',
  'GIT_REPO_URL',
  'DATA_DIR',
  'REDIS_URL',
  'STORE_URL',
];

/** Variables that children get from the server's own environment when they are set: plumbing, never secrets. */
const PLUMBING = [
  'PATH',
  'HOME',
  'USER',
  'LANG',
  'LC_ALL',
  'TZ',
  'TMPDIR',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'SSH_AUTH_SOCK',
  'DOCKER_HOST',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'NO_PROXY',
];

export function given(environment: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

/** What every child gets, when it is set. */
export function plumbingOf(environment: Environment): Record<string, string> {
  return pick(given(environment), PLUMBING);
}

/** All that is set, except what is ours. */
export function notOurs(environment: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(given(environment)).filter(([name]) => !NEVER_FOR_TASKS.includes(name)),
  );
}

/** Those of a list that are set and not empty. */
export function pick(environment: Record<string, string>, list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.flatMap((name) => {
      const value = environment[name];
      return value === undefined || value === '' ? [] : [[name, value]];
    }),
  );
}
