/** Finds the names of a repository in its address. */

/** The form of the names on GitHub. */
export const OWNER_AND_NAME = /^[A-Za-z0-9-]+\/[A-Za-z0-9._-]+$/;

/** The `owner/name` of a repository on github.com or on the Enterprise Server of the API address, else null. */
export function githubName(url: string, apiUrl: string): string | null {
  const apiHost = new URL(apiUrl).hostname;
  const expectedHost = apiHost === 'api.github.com' ? 'github.com' : apiHost;
  const { host, path } = partsOf(url);
  const [hostname] = host.split(':');
  return hostname === expectedHost && OWNER_AND_NAME.test(path) ? path : null;
}

/** The name of a repository that has no other: the last part of its address. */
export function lastPart(url: string): string {
  const last = url.replace(/\/+$/, '').split(/[/:]/).at(-1);
  return last?.replace(/\.git$/, '') || 'repository';
}

/** Returns a text that is the same for all addresses of a repository, whatever the protocol and the credentials. */
export function repositoryKey(url: string, apiUrl: string): string {
  const { host, path } = partsOf(url);
  return githubName(url, apiUrl)?.toLowerCase() ?? `${host.toLowerCase()}/${path}`;
}

/** The path has no slashes at its ends, and no `.git`. A local path has an empty host. */
function partsOf(url: string): { host: string; path: string } {
  const scp = /^(?:[^@/]+@)?([^:/]+):(?!\/\/)\/?(.+)$/.exec(url);
  if (scp) return { host: scp[1] ?? '', path: trimmed(scp[2] ?? '') };
  if (!URL.canParse(url)) return { host: '', path: trimmed(url) };
  const { host, pathname } = new URL(url);
  return { host, path: trimmed(pathname) };
}

function trimmed(path: string): string {
  return path.replace(/^\/+|\/+$/g, '').replace(/\.git$/, '');
}
