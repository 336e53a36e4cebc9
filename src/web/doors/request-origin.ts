/** Whether a browser sent a request from our own pages; the guard of every state change by cookie. */

import type { Context } from 'hono';

/**
 * `same` when the browser says that one of our pages sent the request, `cross` when it says otherwise, `unknown`
 * when it says nothing (not a browser). `publicUrl` counts as ours too, for proxies that change the Host header.
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

/** `next` when it is a path on this host, else the list of runs. Keeps sign-in from redirecting elsewhere. */
export function localPath(next: string | undefined): string {
  if (next === undefined || !next.startsWith('/')) return '/runs';
  const base = 'http://local.invalid';
  // The parser knows what browsers do with `//host`, `/\host`, tabs and line breaks.
  const url = URL.canParse(next, base) ? new URL(next, base) : null;
  // `/.//host` is ours to the parser, but what remains of it would not be to the next one.
  const isLocal = url?.origin === base && !url.pathname.startsWith('//');
  return isLocal ? url.pathname + url.search : '/runs';
}
