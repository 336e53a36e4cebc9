/** Answers that refuse: JSON for programs, a page or the way to sign in for browsers. */

import type { Context } from 'hono';
import type { Identity } from '../access/access.ts';
import type { Assets } from '../frame/assets.ts';
import { jsonError } from '../frame/error-answer.ts';
import { messagePage } from '../frame/layout.ts';
import { isBrowser } from '../frame/page-headers.ts';

export interface Refusal {
  status: 400 | 403 | 404 | 409 | 503;
  error: string;
}

const TITLES: Record<Refusal['status'], string> = {
  400: 'That request makes no sense',
  403: 'Not allowed',
  404: 'Not found',
  409: 'Not possible now',
  503: 'Not now',
};

export function refuse(
  c: Context,
  { assets, identity }: { assets: Assets; identity: Identity | null },
  { status, error }: Refusal,
) {
  if (!isBrowser(c)) return jsonError(c, status, error);
  return c.html(messagePage({ title: TITLES[status], identity, assets }, error), status);
}

/** 401, or the login page, which leads back. The same for everything, whether it exists or not. */
export function askForCredentials(c: Context) {
  if (isBrowser(c)) {
    return c.redirect(`/login?next=${encodeURIComponent(addressAfterSignIn(c))}`, 303);
  }
  c.header('WWW-Authenticate', 'Bearer');
  return jsonError(c, 401, 'Authentication required: send an API token as Authorization: Bearer.');
}

/** A form's own address cannot be opened afterwards; its run can. The key of a link is not needed any more. */
export function addressAfterSignIn(c: Context): string {
  if (c.req.method === 'POST') return c.req.path.replace(/\/[^/]*$/, '');
  const query = new URL(c.req.url).searchParams;
  query.delete('key');
  return query.size === 0 ? c.req.path : `${c.req.path}?${query}`;
}
