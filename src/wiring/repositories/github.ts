/** Finds the repositories of the configuration that are on GitHub and have a token. */

import { readSecret } from '../../config/repositories.ts';
import type { Config } from '../../config.ts';
import { parseRemote } from '../../git/requested/remote.ts';
import type { TargetOf } from '../../reporters/github-target.ts';
import { isSameRepository } from '../../runs/sync/place.ts';
import { VERSION } from '../../version.ts';
import type { OpenPlace } from './places.ts';

/** A repository that the program may ask and write to on GitHub. */
export interface GitHubRepository {
  owner: string;
  repo: string;
  /** `owner/name`. */
  fullName: string;
  /** Free of credentials. */
  cloneUrl: string;
  /** The token is read anew for each request, because its file may be replaced. */
  access: { apiUrl: string; readonly token: string; version: string };
  /** The first environment of the repository that follows a branch. Pull requests are looked at from there. */
  first: OpenPlace;
}

export function githubRepositories(config: Config, places: readonly OpenPlace[]): GitHubRepository[] {
  return config.repositories.flatMap((repository) => {
    const own = places.filter((open) => open.repository === repository);
    // Pull requests are for branches.
    const open = own.find(({ follows }) => 'branch' in follows) ?? own[0];
    const { fullName, token, url } = repository;
    const [owner, repo] = fullName?.split('/') ?? [];
    if (!open || fullName === null || !owner || !repo || token === null) return [];
    const access = {
      apiUrl: config.githubApiUrl,
      get token() {
        return readSecret(token);
      },
      version: VERSION,
    };
    return [{ owner, repo, fullName, cloneUrl: parseRemote({ url, token: null }).url, access, first: open }];
  });
}

/** Returns a function that finds where a run is reported to. Runs of earlier versions name no repository: they had one. */
export function reportTargets(all: readonly GitHubRepository[]): TargetOf {
  return ({ input }) => {
    const name = 'repository' in input ? input.repository : undefined;
    const found = name === undefined ? all[0] : all.find((one) => isNamed(one, name));
    if (!found) return null;
    const { owner, repo, access, first } = found;
    const { deployments, serviceStatuses, environments } = first.repository;
    const environment = 'environment' in input ? input.environment : undefined;
    return {
      owner,
      repo,
      apiUrl: access.apiUrl,
      token: () => access.token,
      deployments,
      serviceStatuses,
      environmentUrl: environments.find((one) => (one.name ?? undefined) === environment)?.url ?? null,
    };
  };
}

/** Syncs name the repository as the configuration does, and plans as GitHub does. */
function isNamed({ fullName, first }: GitHubRepository, name: string): boolean {
  return first.repository.name === name || isSameRepository(fullName, name);
}

export function githubRepository(
  all: readonly GitHubRepository[],
  fullName: string,
): GitHubRepository | undefined {
  return all.find((repository) => isSameRepository(repository.fullName, fullName));
}
