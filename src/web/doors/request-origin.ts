/** Finds out whether a request came from our own pages, as every change of state by cookie must. */

import type { Context } from 'hono';

/**
 * `same` when the browser says that one of our pages sent the request, `cross` when it names another site, `unknown`
 * when it says nothing (then it is no browser). `publicUrl` counts as our own address, for proxies that change the Host
 * header.
 * https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
 */
export function requestOrigin(c: Context, publicUrl: string | null): 'same' | 'cross' | 'unknown' {
  const site = c.req.header('Sec-Fetch-Site');
  if (site !== undefined) return site === 'same-origin' ? 'same' : 'cross';
  const origin = c.req.header('Origin');
  if (origin === undefined) return 'unknown';
  if (publicUrl !== null && origin === new URL(publicUrl).origin) return 'same';
  const host = c.req.header('Host') ?? new URL(c.req.url).host;
  return origin === `http://${host}` || origin === `https://${host}` ? 'same' : 'cross';
}

/** `next` if it is a path on this host, else the overview. So signing in never leads to another site. */
export function localPath(next: string | undefined): string {
  if (next === undefined || !next.startsWith('/')) return '/';
  const base = 'http://local.invalid';
  // The parser treats `//host`, `/\host`, tabs and line breaks as browsers do.
  const url = URL.canParse(next, base) ? new URL(next, base) : null;
  // The parser reads `/.//host` as a path and returns `//host`, which the browser would read as another host.
  const isLocal = url?.origin === base && !url.pathname.startsWith('//');
  return isLocal ? url.pathname + url.search : '/';
}
