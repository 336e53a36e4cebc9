/** The security headers of every page, and the choice between HTML and JSON. */

import type { Context, MiddlewareHandler } from 'hono';
import { accepts } from 'hono/accepts';
import { createMiddleware } from 'hono/factory';
import { secureHeaders } from 'hono/secure-headers';

/** Pages run no inline script or style, are never framed, never cached, and tell no other site their address. */
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
    // Whoever ends TLS for us decides on HSTS for the host.
    strictTransportSecurity: false,
    // Browsers heed these on https only and complain about them elsewhere.
    crossOriginOpenerPolicy: false,
    originAgentCluster: false,
  });
  return createMiddleware(async (c, next) => {
    await secure(c, next);
    c.res.headers.set('Cache-Control', 'no-store');
  });
}

/** True when the caller would rather have JSON than HTML. Without a preference a page is what is asked for. */
export function prefersJson(c: Context): boolean {
  const supports = ['text/html', 'application/json'];
  return accepts(c, { header: 'Accept', supports, default: 'text/html' }) === 'application/json';
}

/** True for a browser: it names HTML, so it can be sent to a page to sign in. */
export function isBrowser(c: Context): boolean {
  return (c.req.header('Accept') ?? '').toLowerCase().includes('text/html') && !prefersJson(c);
}
