/** The routes of promotions: what one would change, as a page and as JSON, and the way to ask for it. */

import { type Context, Hono } from 'hono';
import { html } from 'hono/html';
import { RequestError } from '../../errors.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { Place } from '../../runs/sync/place.ts';
import type { Proposal } from '../../runs/sync/promotion.ts';
import { environmentName } from '../../triggers/place.ts';
import type { PromoteApi } from '../../triggers/promote/promote-api.ts';
import { hasRole, type RunPageEnv } from '../access/access.ts';
import { callerOf, createGuards, type PageOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { plainLine } from '../frame/ansi.ts';
import { type Html, page } from '../frame/layout.ts';
import { isBrowser, pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { limitedBody, readForm, readJson } from '../frame/read-body.ts';
import { commitLink, runPath } from '../runs/run-words.ts';
import { changesView } from './promotion-view.ts';

export interface PromotionRoutesOptions extends PageOptions {
  store: Pick<RunStore, 'run'>;
  promote: PromoteApi;
  /** The address of a run's page that opens without signing in. */
  signedUrl(runId: string): string;
}

type PromotionContext = Context<RunPageEnv>;

export function createPromotionRoutes(options: PromotionRoutesOptions): Hono<RunPageEnv> {
  const { signedIn, operator } = createGuards(options);
  const routes = new Hono<RunPageEnv>();
  routes.use('/promote', pageHeaders());
  routes.get('/promote', signedIn, (c) => preview(c, options));
  routes.post('/promote', operator, limitedBody(), (c) => start(c, options));
  return routes;
}

async function preview(c: PromotionContext, { promote, assets, commitUrl }: PromotionRoutesOptions) {
  const { environment, repository, revision } = c.req.query();
  const services = c.req.queries('service');
  c.header('Vary', 'Accept');
  try {
    const { place, proposal } = await promote.preview({ environment, repository, revision, services });
    if (prefersJson(c)) return c.json({ ...placeJson(place), ...proposalJson(proposal) });
    const frame = {
      identity: c.var.identity,
      assets,
      title: `Promote to ${plainLine(environmentName(place))}`,
    };
    const mayAsk = hasRole(c.var.identity, 'operator') && isPromotable(proposal);
    return c.html(page(frame, proposalView({ place, proposal, commitUrl, mayAsk, services })));
  } catch (error) {
    if (!isBrowser(c) || !(error instanceof RequestError) || error.status >= 500) throw error;
    return refuse(c, assets, refusedStatus(error), error.message);
  }
}

function refusedStatus({ status }: RequestError): 400 | 403 | 409 {
  return status === 403 || status === 409 ? status : 400;
}

function isPromotable({ unheld, newer, services }: Proposal): boolean {
  return unheld.length === 0 && newer === null && services.length > 0;
}

async function start(c: PromotionContext, { promote, assets, signedUrl }: PromotionRoutesOptions) {
  const identity = callerOf(c);
  const form = await readForm(c);
  const caller = { name: identity.name, isAdmin: hasRole(identity, 'admin') };
  const body = form ? fromForm(form) : await readJson(c);
  if (breaksGlass(body)) c.set('action', 'promote_break_glass');
  try {
    const { run, proposal } = await promote.start(body, caller);
    c.set('target', run.id);
    if (isBrowser(c)) return c.redirect(runPath(run.id), 303);
    const status = run.state === 'awaiting_approval' ? run.state : 'accepted';
    const environment = 'environment' in run.input ? run.input.environment : undefined;
    const services = proposal.services.map(({ service }) => service);
    const { revision } = proposal;
    return c.json({ status, run_id: run.id, url: signedUrl(run.id), environment, revision, services }, 202);
  } catch (error) {
    if (!form || !(error instanceof RequestError) || error.status >= 500) throw error;
    return refuse(c, assets, refusedStatus(error), error.message);
  }
}

/** True also for a request that is refused later, because it was tried. */
function breaksGlass(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'break_glass' in body && body.break_glass === true;
}

/** A form has texts only. Empty fields are left out. */
function fromForm(form: ReadonlyMap<string, string>): Record<string, unknown> {
  const given = [...form].filter(([, value]) => value !== '');
  return Object.fromEntries(
    given.map(([name, value]) => [name, name === 'services' ? value.split(/[\s,]+/) : value]),
  );
}

function placeJson(place: Place) {
  return { environment: environmentName(place), repository: place.repository };
}

function proposalJson({
  revision,
  subject,
  from,
  services,
  unheld,
  commits,
  hasMore,
  pinned,
  newer,
}: Proposal) {
  return {
    revision,
    subject,
    from,
    services,
    not_held: unheld,
    commits,
    more_commits: hasMore,
    pinned,
    newer,
  };
}

interface ProposalView {
  place: Place;
  proposal: Proposal;
  commitUrl: PageOptions['commitUrl'];
  mayAsk: boolean;
  services: string[] | undefined;
}

function proposalView({ place, proposal, commitUrl, mayAsk, services }: ProposalView): Html {
  const { revision, subject, from, unheld, pinned, newer } = proposal;
  const { repository } = place;
  const to = environmentName(place);
  return html`<h1>Promote to <bdi>${plainLine(to)}</bdi></h1>
<p>${commitLink(revision, commitUrl, repository)} <bdi>${plainLine(subject)}</bdi>, from <bdi>${plainLine(from)}</bdi>.</p>
${unheld.map((one) => html`<p class="problem"><bdi>${plainLine(from)}</bdi> does not hold ${plainLine(one.service)} at this commit: ${plainLine(one.because)}</p>`)}
${pinned.length > 0 && html`<p class="quiet">A rollback keeps these where they are: <bdi>${plainLine(pinned.join(', '))}</bdi></p>`}
${newer !== null && html`<p class="problem"><bdi>${plainLine(to)}</bdi> has a newer commit, ${commitLink(newer, commitUrl, repository)}. A rollback takes services back.</p>`}
<section aria-labelledby="changes-title"><h2 id="changes-title">What it would change</h2>
${changesView(proposal, { revision, repository, commitUrl })}
</section>
${
  mayAsk &&
  html`<form method="post" action="/promote">
<input type="hidden" name="environment" value="${to}">
<input type="hidden" name="repository" value="${repository}">
<input type="hidden" name="revision" value="${revision}">
${services && html`<input type="hidden" name="services" value="${services.join(' ')}">`}
<p><label>Reason <input type="text" name="reason" maxlength="500"></label></p>
<button class="primary" type="submit">Promote</button>
</form>`
}`;
}
