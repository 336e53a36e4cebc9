/** Signing in at the provider of OpenID Connect, and coming back. */

import { createHmac } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { z } from 'zod';
import type { OidcConfig } from '../../config.ts';
import { describeError, StoreUnavailableError } from '../../errors.ts';
import { parseJson } from '../../parse-json.ts';
import { MINUTE, SECOND } from '../../units.ts';
import { localPath } from '../doors/request-origin.ts';
import { messagePage } from '../frame/layout.ts';
import { pageHeaders } from '../frame/page-headers.ts';
import { isSameText, type RunPageEnv } from './access.ts';
import type { PageOptions } from './guards.ts';
import { createOidcClient, type OidcClient } from './oidc-client.ts';
import { boundOf, nameFor, roleFor } from './oidc-people.ts';
import { cookieOptions } from './sessions.ts';

export interface OidcRoutesOptions extends Pick<PageOptions, 'access' | 'assets' | 'clock'> {
  config: OidcConfig;
  /** Signs what the browser keeps meanwhile. */
  key: Buffer;
  https: boolean;
  log: { warn(fields: object, message: string): void };
}

const FLOW_COOKIE = 'iac_runner_sign_in';
const FLOW_MS = 10 * MINUTE;
const flowSchema = z.strictObject({
  ...{ state: z.string(), nonce: z.string(), verifier: z.string() },
  next: z.string(),
  endsAt: z.number(),
});
type Flow = z.output<typeof flowSchema>;

/** GET /login/oidc, GET /login/oidc/callback. */
export function createOidcRoutes(options: OidcRoutesOptions): Hono<RunPageEnv> {
  const client = createOidcClient(options.config);
  const routes = new Hono<RunPageEnv>();
  routes.use('/login/*', pageHeaders());

  routes.get('/login/oidc', async (c) => {
    const next = localPath(c.req.query('next'));
    try {
      const { url, flow } = await client.begin();
      keep(c, options, { ...flow, next, endsAt: options.clock() + FLOW_MS });
      return c.redirect(url.href, 303);
    } catch (error) {
      return failed(c, options, error);
    }
  });

  routes.get('/login/oidc/callback', (c) => comeBack(c, options, client));
  return routes;
}

type OidcContext = Context<RunPageEnv>;

async function comeBack(c: OidcContext, options: OidcRoutesOptions, client: OidcClient): Promise<Response> {
  const { config, access } = options;
  const flow = take(c, options);
  if (flow === null) {
    return refused(c, options, 'Nobody began to sign in here, or it is longer ago than ten minutes.');
  }
  let claims: Awaited<ReturnType<OidcClient['finish']>>;
  try {
    claims = await client.finish(new URL(c.req.url), flow);
  } catch (error) {
    return failed(c, options, error);
  }
  const name = nameFor(claims);
  const role = roleFor(config, claims);
  if (role === null) {
    return refused(
      c,
      options,
      `No rule of OIDC_ROLES gives ${name} a role. Ask whoever runs this server for one.`,
    );
  }
  if (access.isTokenName(name)) {
    return refused(c, options, `${name} is the name of an API token, so nobody else can act in it.`);
  }
  c.set('action', 'sign_in');
  c.set('target', '');
  const enter = async () => {
    await access.sessions.begin(c, { name, role, method: 'oidc', bound: boundOf(config) });
    return c.redirect(flow.next, 303);
  };
  return (await access.audited(c, { name, role }, enter)) ?? c.redirect(flow.next, 303);
}

/** The browser keeps the flow, so that any of several servers can end it. */
function keep(c: Context, { key, https }: OidcRoutesOptions, flow: Flow): void {
  const text = Buffer.from(JSON.stringify(flow)).toString('base64url');
  const maxAge = FLOW_MS / SECOND;
  setCookie(c, FLOW_COOKIE, `${text}.${macOf(key, text)}`, { ...cookieOptions(https), maxAge });
}

/** A flow is good once in a browser. The provider takes its code only once, too. */
function take(c: Context, { key, https, clock }: OidcRoutesOptions): Flow | null {
  const [text = '', mac = ''] = (getCookie(c, FLOW_COOKIE, https ? 'host' : undefined) ?? '').split('.');
  deleteCookie(c, FLOW_COOKIE, cookieOptions(https));
  if (!isSameText(mac, macOf(key, text))) return null;
  const flow = flowSchema.safeParse(parseJson(Buffer.from(text, 'base64url').toString()));
  return flow.success && flow.data.endsAt > clock() ? flow.data : null;
}

function macOf(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}

function refused(c: OidcContext, { assets }: OidcRoutesOptions, why: string): Response | Promise<Response> {
  return c.html(messagePage({ title: 'Sign in', identity: null, assets, signInTo: '/' }, why), 403);
}

/** What the provider said goes to the log, because only whoever runs the server can do something about it. */
function failed(c: OidcContext, options: OidcRoutesOptions, error: unknown): Response | Promise<Response> {
  if (error instanceof StoreUnavailableError) throw error;
  const { assets, config, log } = options;
  const { host } = new URL(config.issuer);
  log.warn({ issuer: config.issuer, problem: describeError(error) }, 'a sign-in by OpenID Connect failed');
  const why = `The sign-in at ${host} did not work. Try again, or sign in with an API token. The log of the server says why.`;
  return c.html(messagePage({ title: 'Sign in', identity: null, assets, signInTo: '/' }, why), 502);
}
