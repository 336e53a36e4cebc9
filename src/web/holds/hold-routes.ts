/** The routes of holds: the list as a page and as JSON, and the ways to set and to release one. */

import { type Context, Hono } from 'hono';
import { html } from 'hono/html';
import { RequestError } from '../../errors.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { HoldApi } from '../../triggers/holds/hold-api.ts';
import type { RunPageEnv } from '../access/access.ts';
import { callerOf, createGuards, type PageOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { page } from '../frame/layout.ts';
import { isBrowser, pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { limitedBody, readForm, readJson } from '../frame/read-body.ts';
import { holdForm, holdJson, holdList } from './hold-list.ts';

export interface HoldRoutesOptions extends Omit<PageOptions, 'commitUrl' | 'runUrl'> {
  store: Pick<RunStore, 'run'>;
  holds: HoldApi;
}

type HoldContext = Context<RunPageEnv>;

const NOT_FOUND = 'Hold not found.';

export function createHoldRoutes(options: HoldRoutesOptions): Hono<RunPageEnv> {
  const { signedIn, operator } = createGuards(options);
  const routes = new Hono<RunPageEnv>();
  routes.use('/holds/*', pageHeaders());
  routes.get('/holds', signedIn, (c) => listHolds(c, options));
  routes.post('/holds', operator, limitedBody(), (c) => setHold(c, options));
  routes.get('/holds/:id', signedIn, (c) => showHold(c, options));
  routes.delete('/holds/:id', operator, (c) => release(c, options));
  // A form of a page cannot send DELETE.
  routes.post('/holds/:id/release', operator, (c) => release(c, options));
  return routes;
}

async function listHolds(c: HoldContext, { holds, assets, clock }: HoldRoutesOptions) {
  const found = await holds.list();
  c.header('Vary', 'Accept');
  if (prefersJson(c)) return c.json({ holds: found.map(holdJson) });
  const { identity } = c.var;
  return c.html(
    page(
      { title: 'Holds', identity, assets, watches: true },
      html`<h1>Holds</h1>
${holdList({ holds: found, identity, now: clock() })}
${holdForm(identity, c.req.query('service'))}`,
    ),
  );
}

/** A hold has no page of its own, so browsers are led to the list. */
async function showHold(c: HoldContext, { holds, assets }: HoldRoutesOptions) {
  if (isBrowser(c)) return c.redirect('/holds', 303);
  const hold = (await holds.list()).find(({ id }) => id === c.req.param('id'));
  return hold ? c.json(holdJson(hold)) : refuse(c, assets, 404, NOT_FOUND);
}

async function setHold(c: HoldContext, { holds, assets }: HoldRoutesOptions) {
  const form = await readForm(c);
  const by = callerOf(c).name;
  try {
    const hold = await holds.set(form ? fromForm(form) : await readJson(c), by);
    c.set('target', hold.id);
    return isBrowser(c) ? c.redirect('/holds', 303) : c.json(holdJson(hold), 201);
  } catch (error) {
    // People get a page that says what is wrong with the form.
    if (!(error instanceof RequestError && error.status === 400)) throw error;
    return refuse(c, assets, 400, error.message);
  }
}

/** The form has texts only: names separated by spaces or commas, and a time without a zone, which is in UTC. */
function fromForm(form: ReadonlyMap<string, string>): Record<string, unknown> {
  const { services, until, ...rest } = Object.fromEntries(form) as Partial<Record<string, string>>;
  return {
    ...rest,
    ...(services !== undefined && { services: services.split(/[\s,]+/).filter((name) => name !== '') }),
    ...(until !== undefined && { until: /^[\d-]+T\d\d:\d\d$/.test(until) ? `${until}:00Z` : until }),
  };
}

async function release(c: HoldContext, { holds, assets }: HoldRoutesOptions) {
  const isEnded = await holds.release(c.req.param('id') ?? '', callerOf(c).name);
  if (!isEnded) return refuse(c, assets, 404, NOT_FOUND);
  return isBrowser(c) ? c.redirect('/holds', 303) : c.body(null, 204);
}
