/** Answers that refuse: JSON for programs, a page or the way to sign in for browsers. */

import type { Context } from 'hono';
import type { Identity } from './access.ts';
import type { Assets } from './assets.ts';
import { jsonError } from './error-answer.ts';
import { messagePage } from './layout.ts';
import { isBrowser } from './page-headers.ts';

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
    // A form's own address cannot be opened afterwards; its run can.
    const next = c.req.method === 'POST' ? c.req.path.replace(/\/[^/]*$/, '') : c.req.path;
    return c.redirect(`/login?next=${encodeURIComponent(next)}`, 303);
  }
  c.header('WWW-Authenticate', 'Bearer');
  return jsonError(c, 401, 'Authentication required: send an API token as Authorization: Bearer.');
}
