/** The security headers of every page, and the choice between HTML and JSON. */

import type { Context, MiddlewareHandler } from 'hono';
import { accepts } from 'hono/accepts';
import { createMiddleware } from 'hono/factory';
import { secureHeaders } from 'hono/secure-headers';

/** Pages run no inline script or style, are never framed or cached, and keep their address from other sites. */
export function pageHeaders(): MiddlewareHandler {
  const secure = secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      styleSrc: ["'self'"],
      scriptSrc: ["'self'"],
      connectSrc: ["'self'"],
      imgSrc: ["'self'", 'data:'],
      formAction: ["'self'"],
      frameAncestors: ["'none'"],
      baseUri: ["'none'"],
    },
    referrerPolicy: 'no-referrer',
    xFrameOptions: 'DENY',
    // The proxy that ends TLS decides on HSTS for the host.
    strictTransportSecurity: false,
    // Browsers obey these on https only and complain about them elsewhere.
    crossOriginOpenerPolicy: false,
    originAgentCluster: false,
  });
  return createMiddleware(async (c, next) => {
    await secure(c, next);
    c.res.headers.set('Cache-Control', 'no-store');
  });
}

/** True when the caller prefers JSON to HTML. A caller without a preference gets HTML. */
export function prefersJson(c: Context): boolean {
  const supports = ['text/html', 'application/json'];
  return accepts(c, { header: 'Accept', supports, default: 'text/html' }) === 'application/json';
}

/** True for a browser: it names HTML, so it can be sent to a page to sign in. */
export function isBrowser(c: Context): boolean {
  return (c.req.header('Accept') ?? '').toLowerCase().includes('text/html') && !prefersJson(c);
}
