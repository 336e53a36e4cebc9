/** The tasks of a sync: what runs them, what they get, how many and how long. */

import { type Environment, given, pick, plumbingOf } from './environment.ts';
import { count, environmentNames, positiveSeconds, words } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

const DEFAULT_TASK_ENV =
  'VAULT_ADDR,VAULT_APP_TOKEN,DOKPLOY_API_KEY,DOKPLOY_URL,INTERNAL_DOMAIN,ENV,PROJECT,DEPLOY_ENV';

/** Defaults of the earlier receiver for what tasks read. */
const TASK_ENV_DEFAULTS: Record<string, string> = { ENV: 'production', PROJECT: 'platform' };

export const TASK_VARIABLES = {
  INVOKE_COMMAND: variable({
    schema: words,
    expected: 'a program and its arguments, without quotes or other shell syntax',
    example: 'uv run invoke',
    description: 'What runs a task; called with the one argument `<service>.sync`.',
    default: 'invoke',
  }),
  TASK_ENV: variable({
    schema: environmentNames,
    namesVariables: true,
    expected: 'names of variables, comma-separated, none of those that tasks never get (docs/tasks.md)',
    example: `${DEFAULT_TASK_ENV},CLOUDFLARE_TOKEN`,
    description: 'The variables that tasks get, besides PATH, HOME and the like. They enter the config hash.',
    default: DEFAULT_TASK_ENV,
  }),
  SYNC_TIMEOUT: variable({
    schema: positiveSeconds,
    expected: 'a number of seconds above 0',
    example: '600',
    description: 'Seconds that one task may take before it is ended with everything it started.',
    default: '600',
  }),
  SYNC_CONCURRENCY: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '4',
    description: 'Tasks of one wave that run at the same time.',
    default: '4',
  }),
} as const;

export interface TasksConfig {
  invokeCommand: readonly [string, ...string[]];
  /** What tasks get by TASK_ENV; part of the config hash. */
  taskEnvironment: Readonly<Record<string, string>>;
  /** PATH, HOME and the like, for every child. */
  plumbing: Readonly<Record<string, string>>;
  syncTimeoutMs: number;
  syncConcurrency: number;
}

export function tasksConfig(values: ValuesOf<typeof TASK_VARIABLES>, environment: Environment): TasksConfig {
  return {
    invokeCommand: values.INVOKE_COMMAND,
    taskEnvironment: pick({ ...TASK_ENV_DEFAULTS, ...given(environment) }, values.TASK_ENV),
    plumbing: plumbingOf(environment),
    syncTimeoutMs: values.SYNC_TIMEOUT,
    syncConcurrency: values.SYNC_CONCURRENCY,
  };
}
