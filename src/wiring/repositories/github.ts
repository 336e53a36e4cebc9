/** Finds the repositories of the configuration that are on GitHub and have a token. */

import { readSecret } from '../../config/repositories.ts';
import type { Config } from '../../config.ts';
import { parseRemote } from '../../git/requested/remote.ts';
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
  /** The first environment of the repository. Pull requests are looked at from there. */
  first: OpenPlace;
}

export function githubRepositories(config: Config, places: readonly OpenPlace[]): GitHubRepository[] {
  const first = new Map(places.toReversed().map((open) => [open.repository, open]));
  return config.repositories.flatMap((repository) => {
    const open = first.get(repository);
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

export function githubRepository(
  all: readonly GitHubRepository[],
  fullName: string,
): GitHubRepository | undefined {
  return all.find((repository) => isSameRepository(repository.fullName, fullName));
}
