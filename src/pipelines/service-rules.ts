/** How a repository's folders become services: rules as data, and the pure functions that apply them. */

import type { Tool } from '../runs/deployment.ts';
import type { PlanRoot } from '../runs/plan-comment.ts';
import type { SyncWindow } from './sync-windows.ts';

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

/** Two folders that claim one id; neither is run. */
export interface DuplicateService {
  id: string;
  folders: string[];
}

interface CompiledRule extends ServiceRule {
  folder: RegExp;
  file: string;
}

const PLACEHOLDERS: Record<string, string> = {
  '{nn}': String.raw`(?<nn>\d{1,9})`,
  '{service}': '(?<service>[a-z0-9][a-z0-9._-]*)',
};

function compile(rule: ServiceRule): CompiledRule {
  const slash = rule.match.lastIndexOf('/');
  const source = rule.match
    .slice(0, slash)
    .split(/(\{nn\}|\{service\})/)
    .map((part) => PLACEHOLDERS[part] ?? part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('');
  return { ...rule, folder: new RegExp(`^${source}$`), file: rule.match.slice(slash + 1) };
}

/** The glob patterns under which the files of the rules are found in a working folder. */
export function globPatterns(rules: Rules): string[] {
  return rules.services.map(({ match }) => match.replace('{nn}.{service}', '*'));
}

/** The folders in which the folders of services are, each ending with a slash. */
export function serviceRoots(rules: Rules): string[] {
  return [...new Set(rules.services.map(({ match }) => match.slice(0, match.indexOf('{'))))];
}

/** The names of the files that make a folder a service. */
export function markerFiles(rules: Rules): string[] {
  return [...new Set(compiledOf(rules).map(({ file }) => file))];
}

/** Whether a folder is named as a rule asks; what is in it is not looked at. */
export function isServiceFolder(rules: Rules, folder: string): boolean {
  return compiledOf(rules).some((rule) => rule.folder.test(folder));
}

/** Rules as they are applied; made once for each rule book, as every push asks. */
const compiledRules = new WeakMap<Rules, readonly CompiledRule[]>();

function compiledOf(rules: Rules): readonly CompiledRule[] {
  const compiled = compiledRules.get(rules) ?? rules.services.map(compile);
  compiledRules.set(rules, compiled);
  return compiled;
}

function serviceOf(rules: readonly CompiledRule[], folder: string, file: string | null): Service | null {
  for (const rule of rules) {
    if (file !== null && rule.file !== file) continue;
    const { nn, service } = rule.folder.exec(folder)?.groups ?? {};
    if (nn === undefined || service === undefined) continue;
    return {
      id: rule.id.replace('{service}', service),
      folder,
      wave: Number(nn),
      task: rule.task?.replace('{service}', service) ?? null,
    };
  }
  return null;
}

/**
 * The services among these paths of files, sorted by wave and id. Pure: the paths may come from a checkout or
 * from a commit's tree alike.
 */
export function discoverServices(
  paths: Iterable<string>,
  rules: Rules = DEFAULT_RULES,
): { services: Service[]; duplicates: DuplicateService[] } {
  const compiled = compiledOf(rules);
  const byId = new Map<string, Service[]>();
  for (const path of paths) {
    const slash = path.lastIndexOf('/');
    const service = serviceOf(compiled, path.slice(0, slash), path.slice(slash + 1));
    if (service && rules.exclude.includes(service.id)) service.task = null;
    if (service) byId.set(service.id, [...(byId.get(service.id) ?? []), service]);
  }
  const services: Service[] = [];
  const duplicates: DuplicateService[] = [];
  for (const [id, found] of byId) {
    const [only, ...others] = found;
    if (only && others.length === 0) services.push(only);
    else duplicates.push({ id, folders: found.map(({ folder }) => folder).sort() });
  }
  services.sort((a, b) => a.wave - b.wave || (a.id < b.id ? -1 : 1));
  return { services, duplicates };
}

/** The shared path that counts for a file: the longest one that is it or holds it. */
export function sharedPathOf(rules: Rules, file: string): SharedPath | null {
  let longest: SharedPath | null = null;
  for (const shared of rules.shared) {
    const { length } = shared.path;
    const holds = file.startsWith(shared.path) && (file.length === length || file[length] === '/');
    if (holds && length > (longest?.path.length ?? -1)) longest = shared;
  }
  return longest;
}

/** What a changed path touches: one service, every service, or none. */
export type Touched =
  | { kind: 'service'; service: Service }
  /** `services` null: every service. */
  | { kind: 'shared'; services: readonly string[] | null }
  | { kind: 'none' };

/** A function from a path to what it touches by its name alone; whether the service exists is not asked. */
export function createPathMatcher(rules: Rules = DEFAULT_RULES): (path: string) => Touched {
  const compiled = compiledOf(rules);
  return (path) => {
    const shared = sharedPathOf(rules, path);
    if (shared) return { kind: 'shared', services: shared.services };
    // The folder of a rule may be nested, so each of the path's folders is tried, longest last.
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
      const service = serviceOf(compiled, path.slice(0, slash), null);
      if (service && rules.exclude.includes(service.id)) return { kind: 'none' };
      if (service) return service.task === null ? { kind: 'none' } : { kind: 'service', service };
    }
    return { kind: 'none' };
  };
}

/** The rule by which a path counts, as it stands in a rules file; null when it counts for nothing. */
export function ruleOf(rules: Rules, path: string): string | null {
  const shared = sharedPathOf(rules, path);
  if (shared) return shared.path;
  const compiled = compiledOf(rules);
  for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
    const rule = compiled.find(({ folder }) => folder.test(path.slice(0, slash)));
    if (rule) return rule.match;
  }
  return null;
}

/** Stands for every service in answers that are given before the repository was looked at. */
export const ALL_SERVICES = '__all__';

/** The services that a push payload names, sorted, with `__all__` when a shared path changed. */
export function servicesNamedBy(paths: Iterable<string>, rules: Rules = DEFAULT_RULES): string[] {
  const match = createPathMatcher(rules);
  const named = new Set<string>();
  for (const path of paths) {
    const touched = match(path);
    if (touched.kind === 'shared') for (const id of touched.services ?? [ALL_SERVICES]) named.add(id);
    if (touched.kind === 'service') named.add(touched.service.id);
  }
  return [...named].sort();
}
