/** The pages on which people sign in with an API token, and sign out. */

import { Hono } from 'hono';
import { html } from 'hono/html';
import { RequestError } from '../../errors.ts';
import { KIBIBYTE } from '../../units.ts';
import type { Gate } from '../doors/gate.ts';
import { localPath, requestOrigin } from '../doors/request-origin.ts';
import type { Assets } from '../frame/assets.ts';
import { jsonError } from '../frame/error-answer.ts';
import { type Html, page } from '../frame/layout.ts';
import { pageHeaders } from '../frame/page-headers.ts';
import type { RunPageEnv } from './access.ts';
import type { PageOptions } from './guards.ts';

export interface LoginRoutesOptions extends Pick<PageOptions, 'access' | 'assets' | 'publicUrl'> {
  gate: Pick<Gate, 'readBody'>;
  /** The host of the provider of OpenID Connect, or null. */
  providerHost?: string | null;
}

const MAX_FORM_BYTES = 8 * KIBIBYTE;

/** GET /login, POST /login (form fields `token` and `next`), POST /logout. */
export function createLoginRoutes({
  access,
  gate,
  assets,
  publicUrl,
  providerHost = null,
}: LoginRoutesOptions): Hono<RunPageEnv> {
  const view = { assets, hasTokens: access.hasTokens, providerHost };
  const routes = new Hono<RunPageEnv>();
  routes.use('/login', pageHeaders());
  routes.use('/logout', pageHeaders());

  routes.get('/login', async (c) => {
    const next = localPath(c.req.query('next'));
    return (await access.identify(c)) ? c.redirect(next, 303) : c.html(loginPage(view, next, null));
  });

  routes.post('/login', async (c) => {
    if (requestOrigin(c, publicUrl) === 'cross') return jsonError(c, 403, 'Sign in from the login page.');
    const form = new URLSearchParams(String(await gate.readBody(c, MAX_FORM_BYTES)));
    const next = localPath(form.get('next') ?? undefined);
    try {
      const found = access.checkToken(c, (form.get('token') ?? '').trim());
      const enter = async () => {
        if (found) await access.sessions.begin(c, found);
        return c.redirect(next, 303);
      };
      if (found) return (await access.audited(c, found, enter)) ?? c.redirect(next, 303);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      const headers = { 'Retry-After': String(error.retryAfterSeconds ?? 60) };
      return c.html(loginPage(view, next, `${error.message}.`), error.status, headers);
    }
    return c.html(loginPage(view, next, 'The server does not know this token.'), 401);
  });

  routes.post('/logout', async (c) => {
    if (requestOrigin(c, publicUrl) !== 'same')
      return jsonError(c, 403, 'Sign out on a page of this server.');
    const leave = async () => {
      await access.sessions.end(c);
      return c.redirect('/login', 303);
    };
    const identity = await access.identify(c);
    return (identity && (await access.audited(c, identity, leave))) ?? leave();
  });
  return routes;
}

interface LoginView {
  assets: Assets;
  /** False if nobody can sign in with a token. */
  hasTokens: boolean;
  providerHost: string | null;
}

function loginPage(view: LoginView, next: string, problem: string | null): Html {
  const { assets, hasTokens, providerHost } = view;
  return page(
    { title: 'Sign in', identity: null, assets, hasForm: true },
    html`<section class="login">
<h1>Sign in</h1>
${providerHost !== null && html`<p><a class="button primary" href="/login/oidc?next=${encodeURIComponent(next)}">Sign in at ${providerHost}</a></p>`}
${hasTokens ? tokenForm(next, problem) : providerHost === null && NOBODY}
</section>`,
  );
}

const NOBODY = html`<p>Nobody can sign in yet: the server has no API_TOKENS. Set it, for example to <code>ada:admin:</code> and a long random text, and start the server again.</p>`;

function tokenForm(next: string, problem: string | null): Html {
  return html`<form method="post" action="/login">
<input type="hidden" name="next" value="${next}">
<label for="token">API token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus
 aria-describedby="token-help"${problem && html` aria-invalid="true"`}>
${problem && html`<p class="problem" role="alert">${problem}</p>`}
<p id="token-help" class="quiet">Use one of the tokens that the server has in API_TOKENS.</p>
<button class="primary" type="submit">Sign in</button>
</form>`;
}
