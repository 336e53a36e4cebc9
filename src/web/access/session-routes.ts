/** The list of sessions, and the way to end one. */

import { type Context, Hono } from 'hono';
import { html } from 'hono/html';
import type { Session } from '../../runs/people.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { refuse } from '../doors/refusals.ts';
import { plainLine } from '../frame/ansi.ts';
import { type Html, page } from '../frame/layout.ts';
import { isBrowser, pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { moment } from '../runs/run-words.ts';
import { hasRole, type Identity, type RunPageEnv } from './access.ts';
import { callerOf, createGuards, type GuardsOptions } from './guards.ts';

export interface SessionRoutesOptions extends GuardsOptions {
  store: Pick<RunStore, 'run' | 'session' | 'sessions' | 'endSession'>;
  /** Milliseconds since the epoch. */
  clock(): number;
}

type SessionContext = Context<RunPageEnv>;

/** GET /sessions, POST /sessions/:id/end. Everybody sees and ends their own, and admins those of all. */
export function createSessionRoutes(options: SessionRoutesOptions): Hono<RunPageEnv> {
  const { signedIn, viewer } = createGuards(options);
  const routes = new Hono<RunPageEnv>();
  routes.use('/sessions', pageHeaders());
  routes.get('/sessions', signedIn, (c) => showSessions(c, options));
  routes.post('/sessions/:id/end', viewer, (c) => endSession(c, options));
  return routes;
}

async function showSessions(c: SessionContext, options: SessionRoutesOptions): Promise<Response> {
  const { store, access, assets, clock } = options;
  const caller = callerOf(c);
  const sessions = (await store.sessions()).filter(
    (session) => session.endsAt > clock() && access.roleNow(session) !== null && mayEnd(caller, session),
  );
  const shown = sessions.map((session) => sessionJson(session, access.roleNow(session), caller));
  c.header('Vary', 'Accept');
  if (prefersJson(c)) return c.json({ sessions: shown });
  return c.html(
    page(
      { title: 'Sessions', identity: caller, assets },
      html`<h1>Sessions</h1>
<p class="quiet">Browsers that are signed in. A session ends by itself after twelve hours.</p>
${
  shown.length === 0
    ? html`<p class="empty">No browser is signed in.</p>`
    : html`<ol class="runs">${shown.map((session) => sessionRow(session, clock()))}</ol>`
}`,
    ),
  );
}

async function endSession(c: SessionContext, { store, assets }: SessionRoutesOptions): Promise<Response> {
  const caller = callerOf(c);
  const session = await store.session(c.req.param('id') ?? '');
  // Whether somebody else has this session is nobody's business.
  if (session === null || !mayEnd(caller, session)) return refuse(c, assets, 404, 'Session not found.');
  c.set('action', 'end_session');
  c.set('target', session.name);
  if (!(await store.endSession(session.id))) return refuse(c, assets, 404, 'Session not found.');
  return isBrowser(c) ? c.redirect('/sessions', 303) : c.json({ status: 'ended' });
}

function mayEnd(caller: Identity, session: Session): boolean {
  return session.name === caller.name || hasRole(caller, 'admin');
}

type SessionJson = ReturnType<typeof sessionJson>;

function sessionJson(
  { id, name, method, address, agent, createdAt, endsAt }: Session,
  role: string | null,
  caller: Identity,
) {
  return {
    ...{ id, name, role, method, address },
    user_agent: agent,
    created_at: new Date(createdAt).toISOString(),
    ends_at: new Date(endsAt).toISOString(),
    current: id === caller.sessionId,
  };
}

function sessionRow(session: SessionJson, now: number): Html {
  const { id, name, role, method, address, user_agent: agent, current } = session;
  const how = method === 'oidc' ? 'OpenID Connect' : 'API token';
  return html`<li class="run-row">
<span class="state" data-state="${current ? 'running' : 'succeeded'}">${current ? 'this one' : 'signed in'}</span>
<div class="run-what"><span class="run-title"><bdi>${plainLine(name)}</bdi> <span class="quiet">${role}</span></span>
<span class="run-message"><bdi>${plainLine(agent)}</bdi></span></div>
<div class="run-where"><span>${how}</span><span class="quiet">${address}</span></div>
<div class="run-when"><span>${moment(Date.parse(session.created_at), now)}</span>
<form method="post" action="/sessions/${id}/end"><button class="plain" type="submit" aria-label="End the session of ${plainLine(name)} from ${address}">End</button></form></div>
</li>`;
}
