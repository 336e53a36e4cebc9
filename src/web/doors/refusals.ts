/** Answers that refuse: JSON for programs; for browsers a page, or the way to sign in. */

import type { Context } from 'hono';
import type { Access, RunPageEnv } from '../access/access.ts';
import type { Assets } from '../frame/assets.ts';
import { jsonError } from '../frame/error-answer.ts';
import { messagePage } from '../frame/layout.ts';
import { isBrowser } from '../frame/page-headers.ts';

const TITLES = {
  400: 'The request is not valid',
  403: 'Not allowed',
  404: 'Not found',
  409: 'Not possible now',
} as const;

export function refuse(c: Context<RunPageEnv>, assets: Assets, status: keyof typeof TITLES, error: string) {
  if (!isBrowser(c)) return jsonError(c, status, error);
  const { identity } = c.var;
  return c.html(messagePage({ title: TITLES[status], identity, assets }, error), status);
}

/** Answers 401, or leads to the login page, which leads back. Called before the run is looked up. */
export function askForCredentials(c: Context) {
  if (isBrowser(c)) {
    return c.redirect(`/login?next=${encodeURIComponent(addressAfterSignIn(c))}`, 303);
  }
  c.header('WWW-Authenticate', 'Bearer');
  return jsonError(c, 401, 'Authentication required: send an API token as Authorization: Bearer.');
}

/** The address of a form cannot be opened later, so its run is shown. The key of a link is not needed any more. */
export function addressAfterSignIn(c: Context): string {
  if (c.req.method === 'POST') return c.req.path.replace(/\/[^/]*$/, '');
  const query = new URL(c.req.url).searchParams;
  query.delete('key');
  return query.size === 0 ? c.req.path : `${c.req.path}?${query}`;
}

/** Answers an address at which there is nothing. Whoever is signed in keeps the navigation. */
export function createNotFound({ access, assets }: { access: Pick<Access, 'identify'>; assets: Assets }) {
  return async (c: Context): Promise<Response> => {
    const error = `There is nothing at ${c.req.path.slice(0, 200)}`;
    if (!isBrowser(c)) return jsonError(c, 404, error);
    c.header('Cache-Control', 'no-store');
    const identity = await access.identify(c);
    return c.html(messagePage({ title: TITLES[404], identity, assets }, error), 404);
  };
}
