/** Builds what each place is synced with: git, mirror, workspace, lock and pipeline. */

import path from 'node:path';
import type { Logger } from 'pino';
import type { EnvironmentConfig, PromotionSource, RepositoryConfig } from '../../config/repositories.ts';
import type { Config } from '../../config.ts';
import { ConfigError } from '../../errors.ts';
import type { Git } from '../../git/git.ts';
import { createMirror, type Followed, type Mirror } from '../../git/own/mirror.ts';
import { createBranchRules } from '../../pipelines/rules/branch-rules.ts';
import { createKnownServices } from '../../pipelines/selection/known-services.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type Place, scopeOf } from '../../runs/sync/place.ts';
import { buildGit, GIT_TIMEOUT_MS, requireSpace } from './git.ts';

/** Pushes that arrive within this time are answered by the same head of the branch. */
const HEAD_MS = 20;

/** A place as the configuration describes it. */
export interface ConfiguredPlace {
  place: Place;
  scope: string;
  repository: RepositoryConfig;
  environment: EnvironmentConfig;
  /** What the repository is followed by. A place that promotes has that of the place which it promotes from. */
  follows: Followed;
  /** Null: the place follows by itself. */
  promotion: PromotionSource | null;
  /** Where its tasks run. */
  checkout: string;
  lockPath: string;
}

/** A place with what reads its repository. */
export interface OpenPlace extends ConfiguredPlace, ReturnType<typeof createKnownServices> {
  git: Git;
  mirror: Mirror;
  namedBy: ReturnType<typeof createBranchRules>['namedBy'];
}

/** Returns every place, in the order of the configuration. */
export function listPlaces(config: Pick<Config, 'repositories' | 'workspaceDir'>): ConfiguredPlace[] {
  const places = placesOf(config);
  const folders = new Set(places.map(({ checkout }) => checkout));
  if (folders.size === places.length) return places;
  throw new ConfigError('Two repositories would have the same folders.', {
    nextAction: 'Give one of them another `name` in CONFIG_FILE.',
  });
}

function placesOf(config: Pick<Config, 'repositories' | 'workspaceDir'>): ConfiguredPlace[] {
  const { repositories, workspaceDir } = config;
  return repositories.flatMap((repository) =>
    repository.environments.map((environment) => {
      const follows = followedBy(environment, repository.environments);
      const branch = 'branch' in follows ? follows.branch : `tags ${follows.tags}`;
      const place: Place = { repository: repository.name, environment: environment.name, branch };
      const folder = folderOf(repository, repositories);
      const own = environment.name === null ? folder : `${folder}@${environment.name}`;
      return {
        place,
        scope: scopeOf(place),
        repository,
        environment,
        follows,
        promotion: 'promote' in environment.source ? environment.source : null,
        checkout: path.join(workspaceDir, own),
        lockPath: path.join(workspaceDir, environment.name === null ? '.sync.lock' : `.sync.${own}.lock`),
      };
    }),
  );
}

/** The configuration has no circle of promotions. */
function followedBy({ source }: EnvironmentConfig, all: readonly EnvironmentConfig[]): Followed {
  if (!('promote' in source)) return source;
  const from = all.find(({ name }) => name === source.promote);
  if (!from) throw new Error(`There is no environment ${source.promote}.`);
  return followedBy(from, all);
}

/** Returns the name of the repository's folders: the last part of its address, if no other repository has the same. */
function folderOf({ url, name }: RepositoryConfig, all: readonly RepositoryConfig[]): string {
  const own = repositoryName(url);
  const isShared = all.filter((other) => repositoryName(other.url) === own).length > 1;
  return isShared ? folderName(name.replaceAll('/', '__')) : own;
}

/** Returns the last part of the repository's address as a folder name. */
function repositoryName(url: string): string {
  return folderName(
    url
      .replace(/\/+$/, '')
      .split(/[/:]/)
      .at(-1)
      ?.replace(/\.git$/, '') ?? '',
  );
}

function folderName(name: string): string {
  return name.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^\.+/, '') || 'repository';
}

/** Opens every place. Those that follow the same share a mirror. */
export function openPlaces(config: Config, store: RunStore, log: Logger): OpenPlace[] {
  const mirrors = new Map<string, { git: Git; mirror: Mirror }>();
  return listPlaces(config).map((configured) => {
    const directory = mirrorDirectory(config, configured);
    const opened = mirrors.get(directory) ?? openMirror(config, configured, directory, log);
    mirrors.set(directory, opened);
    const { mirror } = opened;
    const { scope, place } = configured;
    const lastGoodRules = async () => (await store.ledger(scope)).rules;
    const branch = { mirror, lastGoodRules, environment: place.environment };
    const { namedBy } = createBranchRules({ ...branch, rememberMs: HEAD_MS });
    return { ...configured, ...opened, ...createKnownServices(branch), namedBy };
  });
}

function mirrorDirectory({ dataDir }: Config, { checkout, environment, place }: ConfiguredPlace): string {
  const [folder = ''] = path.basename(checkout).split('@');
  // The names of branches may have slashes.
  const followed = environment.name === null ? '' : `@${encodeURIComponent(place.branch)}`;
  return path.join(dataDir, 'mirrors', `${folder}${followed}.git`);
}

function openMirror(
  config: Config,
  { repository, follows }: ConfiguredPlace,
  directory: string,
  log: Logger,
): { git: Git; mirror: Mirror } {
  const git = buildGit(config, repository, GIT_TIMEOUT_MS);
  const mirror = createMirror({
    git,
    directory,
    followed: follows,
    signers: config.commitSigners,
    log,
    requireSpace: () => requireSpace(config),
  });
  return { git, mirror };
}

/** The variables of tasks that are part of the config hash. */
export function taskEnvironment(
  { taskEnvironment: usual }: Config,
  { environment }: Pick<OpenPlace, 'environment'>,
): Readonly<Record<string, string>> {
  const own = { ...usual, ...environment.variables };
  // The task gets the secret in place of this value.
  const { secrets } = environment;
  return Object.fromEntries(Object.entries(own).filter(([name]) => !Object.hasOwn(secrets, name)));
}
