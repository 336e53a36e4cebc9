/** Names a place that a repository is synced to. */

/** An environment of a repository. It has its own ledger, queue, pins, windows, holds, workspace and lock. */
export interface Place {
  /** `owner/name`, or the name of the repository's folder. */
  repository: string;
  /** Null: the one environment of a server without CONFIG_FILE. */
  environment: string | null;
  /** The branch, or for example `tags v*`. A place that promotes has that of the place which it promotes from. */
  branch: string;
}

/** The part of a run's input that names its place. */
export interface PlaceInput {
  branch: string;
  /** Left out, with `environment`, for the unnamed environment. */
  repository?: string;
  environment?: string;
}

export function placeInput({ repository, environment, branch }: Place): PlaceInput {
  return environment === null ? { branch } : { branch, repository, environment };
}

/** The group that serialises all syncs of a place, and the scope of its ledger. */
export function scopeOf({ repository, environment, branch }: Place): string {
  return scopeOfInput(placeInput({ repository, environment, branch }));
}

/** No branch has a colon in its name, so no two places have one scope. */
export function scopeOfInput({ branch, repository, environment }: PlaceInput): string {
  return environment === undefined ? `sync:${branch}` : `sync:${repository}:${environment}`;
}

/** GitHub's names of repositories do not differ in case alone. */
export function isSameRepository(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/** True if the name of a tag matches a pattern with at most one `*`, which stands for any text without a slash. */
export function isLike(tag: string, pattern: string): boolean {
  const [first = '', last] = pattern.split('*');
  if (last === undefined) return tag === first;
  const star = tag.slice(first.length, tag.length - last.length);
  return tag === `${first}${star}${last}` && !star.includes('/');
}

/** Says for people what a scope is of: a branch, or an environment of a repository. */
export function describeScope(scope: string): string {
  const [, first = '', ...rest] = scope.split(':');
  const environment = rest.pop();
  return environment === undefined
    ? `the branch ${first}`
    : `${environment} of ${[first, ...rest].join(':')}`;
}
