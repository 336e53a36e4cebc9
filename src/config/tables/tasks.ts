/** The tasks of a sync: what runs them, what they get, how many and how long. */

import { type Environment, given, pick, plumbingOf } from '../environment.ts';
import { count, environmentNames, positiveSeconds, words } from '../shapes.ts';
import { type ValuesOf, variable } from '../variable.ts';

const DEFAULT_TASK_ENV =
  'VAULT_ADDR,VAULT_APP_TOKEN,DOKPLOY_API_KEY,DOKPLOY_URL,INTERNAL_DOMAIN,ENV,PROJECT,DEPLOY_ENV';

/** Defaults of the earlier receiver for what tasks read. */
export const TASK_ENV_DEFAULTS: Record<string, string> = { ENV: 'production', PROJECT: 'platform' };

export const TASKS = {
  invokeCommand: variable('INVOKE_COMMAND', words, {
    default: 'invoke',
    example: 'uv run invoke',
    description: 'What runs a task; called with the one argument `<service>.sync`.',
  }),
  taskEnv: variable('TASK_ENV', environmentNames, {
    default: DEFAULT_TASK_ENV,
    example: `${DEFAULT_TASK_ENV},CLOUDFLARE_TOKEN`,
    description: 'The variables that tasks get, besides PATH, HOME and the like. They enter the config hash.',
    namesVariables: true,
  }),
  syncTimeoutMs: variable('SYNC_TIMEOUT', positiveSeconds, {
    default: '600',
    description: 'Seconds that one task may take before it is ended with everything it started.',
  }),
  syncConcurrency: variable('SYNC_CONCURRENCY', count, {
    default: '4',
    description: 'Tasks of one wave that run at the same time.',
  }),
} as const;

export function tasksConfig({ taskEnv, ...others }: ValuesOf<typeof TASKS>, environment: Environment) {
  return {
    ...others,
    /** What tasks get by TASK_ENV; part of the config hash. */
    taskEnvironment: pick({ ...TASK_ENV_DEFAULTS, ...given(environment) }, taskEnv),
    /** PATH, HOME and the like, for every child. */
    plumbing: plumbingOf(environment),
  };
}
