/** The environment of the tested program. */

import { join } from 'node:path';

export interface RunnerOptions {
  /** An existing folder in which `workspace`, `data`, `home`, `tmp` and `state` are created. */
  folder: string;
  /** The bare repository. */
  repositoryPath: string;
  /** The argv of invoke. */
  invoke: readonly string[];
  /** Without it, the server sends no commit statuses. */
  github?: { url: string; fullName: string; token: string };
  journalPath?: string;
  /** Added to the usual variables, or in place of them. Undefined removes a variable. */
  environment?: Record<string, string | undefined>;
}

/** Half of the processor time of a start is compilation, and servers that are killed write nothing to the cache. */
export const COMPILE_CACHE = { NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE };

export const WEBHOOK_SECRET = 'e2e-webhook-secret-5d1f0c';

/** One token per role. */
export const API_TOKENS = {
  viewer: 'e2e-viewer-token-19ab',
  operator: 'e2e-operator-token-27cd',
  admin: 'e2e-admin-token-38ef',
} as const;

const TASK_ENV = [
  ...['VAULT_ADDR', 'VAULT_APP_TOKEN', 'DOKPLOY_API_KEY', 'DOKPLOY_URL'],
  ...['INTERNAL_DOMAIN', 'ENV', 'PROJECT', 'DEPLOY_ENV'],
  ...['IAC_JOURNAL', 'IAC_EXAMPLE_STATE', 'IAC_EXAMPLE_SLEEP_MS'],
].join(',');

/** The complete environment. Only PATH is inherited. */
export function runnerEnvironment(options: RunnerOptions): Record<string, string> {
  const { folder, invoke, github, journalPath } = options;
  if (invoke.some((word) => /\s/.test(word))) {
    throw new Error(`INVOKE_COMMAND cannot hold a path with spaces: ${invoke.join(' ')}`);
  }
  const { PATH } = process.env;
  const environment: Record<string, string | undefined> = {
    PATH,
    LANG: 'C.UTF-8',
    HOME: join(folder, 'home'),
    TMPDIR: join(folder, 'tmp'),
    WEBHOOK_SECRET,
    WEBHOOK_PORT: '0',
    HOST: '127.0.0.1',
    // With it, a test can speak from many addresses.
    TRUSTED_PROXIES: '127.0.0.1',
    GIT_REPO_URL: options.repositoryPath,
    GIT_BRANCH: 'main',
    // A look at the branch in the middle of a test would find pushes before their deliveries arrive.
    RECONCILE_INTERVAL: '86400',
    WORKSPACE_DIR: join(folder, 'workspace'),
    DATA_DIR: join(folder, 'data'),
    GITHUB_API_URL: github?.url,
    GITHUB_REPOSITORY: github?.fullName,
    GITHUB_TOKEN: github?.token,
    INVOKE_COMMAND: invoke.join(' '),
    API_TOKENS: Object.entries(API_TOKENS)
      .map(([role, token]) => `${role}:${role}:${token}`)
      .join(','),
    TASK_ENV,
    INTERNAL_DOMAIN: 'example.com',
    PUBLIC_URL: 'http://localhost',
    IAC_EXAMPLE_STATE: join(folder, 'state'),
    IAC_JOURNAL: journalPath,
    LOG_LEVEL: 'debug',
    ...COMPILE_CACHE,
    ...options.environment,
  };
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
