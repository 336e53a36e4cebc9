/** How a repository's folders become services: rules as data, and the pure functions that apply them. */

import type { Tool } from '../../runs/deployments/deployment.ts';
import type { PlanRoot } from '../../runs/plan-comment.ts';
import type { SyncWindow } from '../sync/sync-windows.ts';
import { createPathTree, type PathTree } from './path-tree.ts';

export interface ServiceRule {
  /** Path of the file that makes a folder a service, with `{nn}` for its wave and `{service}` for its name. */
  match: string;
  id: string;
  /** The invoke task that syncs it; null for folders that are known and never run. */
  task: string | null;
}

/** A file or folder that services depend on; the longest path that holds a file is the one that counts. */
export interface SharedPath {
  path: string;
  /** Ids of those that depend on it; null: every service. */
  services: readonly string[] | null;
}

/** Everything that a repository may say about its services. */
export interface Rules {
  services: readonly ServiceRule[];
  shared: readonly SharedPath[];
  /** Ids of services that are known and never run. */
  exclude: readonly string[];
  /** Service id → ids that must have been synced before it. */
  needs: Readonly<Record<string, readonly string[]>>;
  /** Service id → time limit of its task. */
  timeoutsMs: Readonly<Record<string, number>>;
  /** When syncs may run; empty: always. */
  windows: readonly SyncWindow[];
  /** Refuse commits without a signature by one of the operator's keys. */
  requireSignature: boolean;
  /** Left out when the file says nothing of Terraform. */
  terraform?: TerraformRules;
}

export interface TerraformRules {
  /** Of roots that do not say otherwise. */
  tool: Tool;
  toolVersion: string | null;
  /** Null: found by their files. */
  roots: readonly PlanRoot[] | null;
}

/** What the rules say of one service; a service may be called `constructor`. */
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
  // The task entry files are what invoke loads before it knows any service.
  shared: ['libs', 'tasks.py', 'tasks', 'invoke.yaml', 'invoke.yml', 'invoke.json', 'invoke.py'].map(
    (path) => ({ path, services: null }),
  ),
  exclude: [],
  needs: {},
  timeoutsMs: {},
  windows: [],
  requireSignature: false,
};

/** Where a repository keeps rules of its own. */
export const RULES_FILE = '.iac-runner.yaml';

export interface Service {
  /** Unique in the repository, e.g. `platform/postgres`. */
  id: string;
  /** Repository path without a trailing slash. */
  folder: string;
  /** Services of a lower wave are synced before those of a higher one. */
  wave: number;
  task: string | null;
}

/** What `{service}` stands for. */
export const SERVICE_NAME = /^[a-z0-9][a-z0-9._-]*$/;

/** `{nn}.{service}`, the name of every folder of a service. */
const FOLDER_NAME = /^(\d{1,9})\.([a-z0-9][a-z0-9._-]*)$/;

export interface PlacedRule extends ServiceRule {
  /** Its place in the list: the first rule that matches a folder counts. */
  position: number;
  /** The folder in which the folders of its services are. */
  root: string;
  /** The file that makes a folder a service. */
  file: string;
}

interface RootRules {
  first: PlacedRule;
  byFile: Map<string, PlacedRule>;
}

/** Rules in the form in which they are applied. */
export interface RuleBook {
  roots: ReadonlyMap<string, RootRules>;
  rootsAlong: PathTree<RootRules>;
  sharedAlong: PathTree<SharedPath>;
  excluded: ReadonlySet<string>;
  rules: readonly PlacedRule[];
}

/** Made once for each set of rules, because every push asks. */
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

/** The glob patterns under which the files of the rules are found in a working folder. */
export function globPatterns(rules: Rules): string[] {
  return rules.services.map(({ match }) => match.replace('{nn}.{service}', '*'));
}

/** The folders in which the folders of services are, each ending with a slash. */
export function serviceRoots(rules: Rules): string[] {
  return [...bookOf(rules).roots.keys()].map((root) => `${root}/`);
}

/** The names of the files that make a folder a service. */
export function markerFiles(rules: Rules): string[] {
  return [...new Set(bookOf(rules).rules.map(({ file }) => file))];
}

/** Whether a folder is named as a rule asks; what is in it is not looked at. */
export function isServiceFolder(rules: Rules, folder: string): boolean {
  const slash = folder.lastIndexOf('/');
  return bookOf(rules).roots.has(folder.slice(0, slash)) && FOLDER_NAME.test(folder.slice(slash + 1));
}

/** The service that the rule makes of a folder of this name in its root, or null for another name. */
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

/** The shared path that counts for a file: the longest one that is it or holds it. */
export function sharedPathOf(rules: Rules, file: string): SharedPath | null {
  return bookOf(rules).sharedAlong(file).at(-1)?.value ?? null;
}
