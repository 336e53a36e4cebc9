/** Where a user's token may be sent: to the host of its provider, and to what the operator has listed. */

import type { GitProvider } from '../../runs/job.ts';

const PUBLIC_HOSTS: Record<GitProvider['type'], string> = { github: 'github.com', gitlab: 'gitlab.com' };

/** Base of the provider's web pages, e.g. https://github.com; null when its address is none. */
export function providerOrigin({ type, url }: GitProvider): string | null {
  const parsed = URL.parse(url ?? `https://${PUBLIC_HOSTS[type]}`);
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) return null;
  return parsed.host === 'api.github.com' ? 'https://github.com' : parsed.origin;
}

/** `host` as `remote-url.ts` gives it; `isListed`: the operator has named it. */
export function mayHaveToken(
  provider: GitProvider,
  { host, isListed }: { host: string; isListed: boolean },
): boolean {
  const origin = providerOrigin(provider);
  return isListed || (origin !== null && new URL(origin).hostname === host);
}
