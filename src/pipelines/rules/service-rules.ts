/** The rules by which the folders of a repository become services, and the pure functions that apply them. */

import type { Tool } from '../../runs/deployments/deployment.ts';
import type { PlanRoot } from '../../runs/plan-comment.ts';
import type { SyncWindow } from '../sync/sync-windows.ts';
import { createPathTree, type PathTree } from './path-tree.ts';

export interface ServiceRule {
  /** The path of the file that makes a folder a service, with `{nn}` for its wave and `{service}` for its name. */
  match: string;
  id: string;
  /** The invoke task that syncs it. Null for folders that are listed, but never run. */
  task: string | null;
}

/** A file or folder that services depend on. If several contain a file, the longest path counts. */
interface SharedPath {
  path: string;
  /** The ids of the services that depend on it. Null means every service. */
  services: readonly string[] | null;
}

/** All rules that a repository may have. */
export interface Rules {
  services: readonly ServiceRule[];
  shared: readonly SharedPath[];
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
  exclude: [],
  needs: {},
  timeoutsMs: {},
  windows: [],
  requireSignature: false,
};

/** The file with a repository's own rules. */
export const RULES_FILE = '.iac-runner.yaml';

export interface Service {
  /** Unique in the repository, e.g. `platform/postgres`. */
  id: string;
  /** Repository path without a trailing slash. */
  folder: string;
  /** Services of a lower wave are synced first. */
  wave: number;
  task: string | null;
}

/** The names that `{service}` stands for. */
export const SERVICE_NAME = /^[a-z0-9][a-z0-9._-]*$/;

/** `{nn}.{service}`, the name of the folder of every service. */
const FOLDER_NAME = /^(\d{1,9})\.([a-z0-9][a-z0-9._-]*)$/;

export interface PlacedRule extends ServiceRule {
  /** Its place in the list. The first rule that matches a folder counts. */
  position: number;
  /** The folder that contains the folders of its services. */
  root: string;
  /** The file that makes a folder a service. */
  file: string;
}

interface RootRules {
  first: PlacedRule;
  byFile: Map<string, PlacedRule>;
}

/** The rules in the form in which they are applied. */
export interface RuleBook {
  roots: ReadonlyMap<string, RootRules>;
  rootsAlong: PathTree<RootRules>;
  sharedAlong: PathTree<SharedPath>;
  excluded: ReadonlySet<string>;
  rules: readonly PlacedRule[];
}

/** The result is kept for each set of rules, because every push needs it. */
const ruleBooks = new WeakMap<Rules, RuleBook>();

export function bookOf(rules: Rules): RuleBook {
  const book = ruleBooks.get(rules) ?? makeBook(rules);
  ruleBooks.set(rules, book);
  return book;
}

function makeBook(rules: Rules): RuleBook {
  const placed = rules.services.map((rule, position): PlacedRule => {
    const root = rule.match.slice(0, rule.match.indexOf('/{nn}'));
    return { ...rule, position, root, file: rule.match.slice(rule.match.lastIndexOf('/') + 1) };
  });
  const roots = new Map<string, RootRules>();
  for (const rule of placed) {
    const { byFile } = roots.get(rule.root) ?? { byFile: new Map() };
    if (!roots.has(rule.root)) roots.set(rule.root, { first: rule, byFile });
    if (!byFile.has(rule.file)) byFile.set(rule.file, rule);
  }
  return {
    roots,
    rootsAlong: createPathTree(roots),
    sharedAlong: createPathTree(rules.shared.map((shared) => [shared.path, shared])),
    excluded: new Set(rules.exclude),
    rules: placed,
  };
}

/** The glob patterns that find the files of the rules in a checkout. */
export function globPatterns(rules: Rules): string[] {
  return rules.services.map(({ match }) => match.replace('{nn}.{service}', '*'));
}

/** The folders that contain the folders of services. Each one ends with a slash. */
export function serviceRoots(rules: Rules): string[] {
  return [...bookOf(rules).roots.keys()].map((root) => `${root}/`);
}

/** The names of the files that make a folder a service. */
export function markerFiles(rules: Rules): string[] {
  return [...new Set(bookOf(rules).rules.map(({ file }) => file))];
}

/** True if the name of the folder matches a rule. The files in the folder are not checked. */
export function isServiceFolder(rules: Rules, folder: string): boolean {
  const slash = folder.lastIndexOf('/');
  return bookOf(rules).roots.has(folder.slice(0, slash)) && FOLDER_NAME.test(folder.slice(slash + 1));
}

/** The service that the rule makes of a folder of this name in its root, or null if the name does not match. */
export function serviceOf({ excluded }: RuleBook, rule: PlacedRule, folderName: string): Service | null {
  const [, nn, service] = FOLDER_NAME.exec(folderName) ?? [];
  if (nn === undefined || service === undefined) return null;
  const id = rule.id.replace('{service}', service);
  return {
    id,
    folder: `${rule.root}/${folderName}`,
    wave: Number(nn),
    task: excluded.has(id) ? null : (rule.task?.replace('{service}', service) ?? null),
  };
}

/** The longest shared path that is this file or contains it. */
export function sharedPathOf(rules: Rules, file: string): SharedPath | null {
  return bookOf(rules).sharedAlong(file).at(-1)?.value ?? null;
}
