/** The names of the repositories in a configuration file. */

import { githubName, lastPart, OWNER_AND_NAME } from '../repository-names.ts';
import type { RepositoryFields } from './config-fields.ts';

type Named = Pick<RepositoryFields, 'url' | 'name'>;

export function nameOf({ url, name }: Named, githubApiUrl: string): string {
  return name ?? githubName(url, githubApiUrl) ?? lastPart(url);
}

/**
 * The `owner/name` that deliveries must have. Only a repository that is alone may accept any, because a delivery has to
 * belong to one of several.
 */
export function fullNameOf(repository: Named, githubApiUrl: string, count: number): string | null {
  const name = nameOf(repository, githubApiUrl);
  if (OWNER_AND_NAME.test(name)) return name;
  return githubName(repository.url, githubApiUrl) ?? (count > 1 ? name : null);
}
