/** The rules by which the folders of a repository become services, and the built-in ones. */

import type { Tool } from '../../runs/deployments/deployment.ts';
import type { PlanRoot } from '../../runs/plan-comment.ts';
import type { SyncWindow } from '../../sync-window.ts';
import type { Places } from './patterns/placeholders.ts';

/** One entry of `services` in a rules file. */
export interface ServiceRule {
  /** A glob for the file that makes its folder a service, with `{service}` for its name. */
  match: string;
  /** Left out, the id is the path of the folder without leading numbers. */
  id?: string | undefined;
  /** The task of INVOKE_COMMAND that syncs it. Null for folders that are listed, but never run. */
  task?: string | null | undefined;
  /** The program and arguments that sync it, in place of `task`. */
  run?: readonly string[] | undefined;
  /** The folder in which `run` or `task` and `verify` run. Left out, it is the root of the repository. */
  cwd?: string | undefined;
  /** Left out, it is `{nn}`, or 0 without `{nn}`. */
  wave?: number | '{nn}' | undefined;
  /** Globs for the files that the service depends on. Left out, these are all files in its folder. */
  inputs?: readonly string[] | undefined;
  /** The files that the config hash covers. Left out, it is the compose file. */
  config?: readonly string[] | undefined;
  /** The environments that have the service. Left out, all have it. */
  environments?: readonly string[] | undefined;
  /** The only secrets that it gets. Left out, it gets all. */
  secrets?: readonly string[] | undefined;
  /** The program and arguments that check the service after each success. */
  verify?: readonly string[] | undefined;
  timeoutMs?: number | undefined;
}

/** Files that services depend on. Of several that match a file, the one with the longest plain beginning counts. */
export interface SharedPath {
  /** A glob, or the path of a file or folder. */
  path: string;
  /** The ids of the services that depend on it. Null means every service. */
  services: readonly string[] | null;
}

/** All rules that a repository may have. */
export interface Rules {
  services: readonly ServiceRule[];
  shared: readonly SharedPath[];
  /** Globs for files that no service depends on, whatever the other rules say. */
  ignore: readonly string[];
  /** The ids of services that are listed, but never run. */
  exclude: readonly string[];
  /** Service id → ids of the services that must be synced before it. */
  needs: Readonly<Record<string, readonly string[]>>;
  /** Service id → the time limit of its task. */
  timeoutsMs: Readonly<Record<string, number>>;
  /** The times when syncs may run. Empty means always. */
  windows: readonly SyncWindow[];
  /** Refuses commits without a signature by one of the operator's keys. */
  requireSignature: boolean;
  /** The environment that they are for. Empty for the unnamed one, which has every service. */
  environment: string;
  /** Left out if the file does not mention Terraform. */
  terraform?: TerraformRules;
}

export interface TerraformRules {
  /** For roots that name no tool of their own. */
  tool: Tool;
  toolVersion: string | null;
  /** Null means that roots are found by their files. */
  roots: readonly PlanRoot[] | null;
}

/** The value for one service. Looks at own properties only, because a service may be called `constructor`. */
export function ofService<T>(values: Readonly<Record<string, T>>, service: string): T | undefined {
  return Object.hasOwn(values, service) ? values[service] : undefined;
}

/** True if services of this rule are in the environment. */
export function isInEnvironment({ environments }: ServiceRule, environment: string): boolean {
  return environment === '' || (environments?.includes(environment) ?? true);
}

export const DEFAULT_RULES: Rules = {
  services: [
    { match: 'platform/{nn}.{service}/deploy.py', id: 'platform/{service}', task: '{service}.sync' },
    {
      match: 'finance_report/finance_report/{nn}.{service}/deploy.py',
      id: 'finance_report/{service}',
      task: 'fr-{service}.sync',
    },
    { match: 'bootstrap/{nn}.{service}/deploy.py', id: 'bootstrap/{service}', task: null },
  ],
  // invoke loads `tasks` and the files of its settings for every service.
  shared: ['libs', 'tasks.py', 'tasks', 'invoke.yaml', 'invoke.yml', 'invoke.json', 'invoke.py'].map(
    (path) => ({ path, services: null }),
  ),
  ignore: [],
  exclude: [],
  needs: {},
  timeoutsMs: {},
  windows: [],
  requireSignature: false,
  environment: '',
};

/** The file with a repository's own rules. */
export const RULES_FILE = '.iac-runner.yaml';

export interface Service {
  /** Unique in the repository, e.g. `platform/postgres`. */
  id: string;
  /** Repository path without a trailing slash. The root is `.`. */
  folder: string;
  /** Services of a lower wave are synced first. */
  wave: number;
  /** False for folders that are listed, but never run. */
  runs: boolean;
  /** The rule that makes it. */
  rule: ServiceRule;
  /** The texts of the placeholders in `match`. */
  captures: Places;
  /** The environment that it is synced to. Empty for the unnamed one. */
  environment: string;
  /** Digest of the texts of the rule that decide what a sync does. */
  texts: string;
}
