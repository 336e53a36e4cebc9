/** The tasks of a sync: their program, their variables, their number and their time limit. */

import { type Environment, given, pick, plumbingOf } from '../environment.ts';
import { count, environmentNames, positiveSeconds, words } from '../shapes.ts';
import { type ValuesOf, variable } from '../variable.ts';

const DEFAULT_TASK_ENV =
  'VAULT_ADDR,VAULT_APP_TOKEN,DOKPLOY_API_KEY,DOKPLOY_URL,INTERNAL_DOMAIN,ENV,PROJECT,DEPLOY_ENV';

/** Tasks get these values by default, as from the earlier receiver. */
export const TASK_ENV_DEFAULTS: Record<string, string> = { ENV: 'production', PROJECT: 'platform' };

export const TASKS = {
  invokeCommand: variable('INVOKE_COMMAND', words, {
    default: 'invoke',
    example: 'uv run invoke',
    description: 'The command that runs a task; its one argument is `<service>.sync`.',
  }),
  taskEnv: variable('TASK_ENV', environmentNames, {
    default: DEFAULT_TASK_ENV,
    example: `${DEFAULT_TASK_ENV},CLOUDFLARE_TOKEN`,
    description:
      'The variables that tasks get, besides PATH, HOME and the like. They are part of the config hash.',
    namesVariables: true,
  }),
  syncTimeoutMs: variable('SYNC_TIMEOUT', positiveSeconds, {
    default: '600',
    description: 'Seconds that one task may take before it is ended with everything it started.',
  }),
  syncConcurrency: variable('SYNC_CONCURRENCY', count, {
    default: '4',
    description: 'How many tasks of one wave run at the same time.',
  }),
} as const;

/** Tasks do not get the variables of `never`, not even if TASK_ENV has them by default. */
export function tasksConfig(
  { taskEnv, ...others }: ValuesOf<typeof TASKS>,
  environment: Environment,
  never: readonly string[],
) {
  const names = taskEnv.filter((name) => !never.includes(name));
  return {
    ...others,
    /** The variables that tasks get by TASK_ENV; they are part of the config hash. */
    taskEnvironment: pick({ ...TASK_ENV_DEFAULTS, ...given(environment) }, names),
    /** PATH, HOME and the like, for every child. */
    plumbing: plumbingOf(environment),
  };
}
