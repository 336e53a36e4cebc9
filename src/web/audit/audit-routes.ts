/** The audit log for admins: a page, JSON, and the whole of it to keep elsewhere. */

import { type Context, Hono } from 'hono';
import { html } from 'hono/html';
import type { AuditEntry, AuditFilter } from '../../runs/people.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { RunPageEnv } from '../access/access.ts';
import { createGuards, type GuardsOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { plainLine } from '../frame/ansi.ts';
import { page } from '../frame/layout.ts';
import { filterBar, filterText, pager, pathWith } from '../frame/list-parts.ts';
import { pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { moment } from '../runs/run-words.ts';
import { entryJson, exportAll, exportForm } from './audit-export.ts';

export interface AuditRoutesOptions extends GuardsOptions {
  store: Pick<RunStore, 'run' | 'actions'>;
  /** Milliseconds since the epoch. */
  clock(): number;
}

type AuditContext = Context<RunPageEnv>;

const PER_PAGE = 100;
const ENTRY_ID = /^[0-9a-f-]{36}$/;

export function createAuditRoutes(options: AuditRoutesOptions): Hono<RunPageEnv> {
  const { admin } = createGuards(options);
  const routes = new Hono<RunPageEnv>();
  routes.use('/audit', pageHeaders());
  routes.get('/audit', admin, (c) => showAudit(c, options));
  return routes;
}

async function showAudit(c: AuditContext, options: AuditRoutesOptions): Promise<Response> {
  const { store, assets, clock } = options;
  const { before, format } = c.req.query();
  const filter = readFilter(c.req.query());
  if (filter === null) {
    return refuse(c, assets, 400, 'Actor, action and target must be lines of at most 200 characters.');
  }
  if (before !== undefined && !ENTRY_ID.test(before)) {
    return refuse(c, assets, 400, 'Before must be the id of an entry.');
  }
  const form = exportForm(c);
  if (form !== null) return exportAll(c, store, { form, filter: { ...filter, before } });
  if (format !== undefined) return refuse(c, assets, 400, 'Format must be jsonl or csv, or be left out.');
  const found = await store.actions({ ...filter, before, limit: PER_PAGE + 1 });
  const entries = found.slice(0, PER_PAGE);
  const older =
    found.length > PER_PAGE ? pathWith('/audit', { ...filter, before: entries.at(-1)?.id }) : null;
  c.header('Vary', 'Accept');
  if (prefersJson(c)) return c.json({ entries: entries.map(entryJson), next: older });
  const { identity } = c.var;
  return c.html(
    page(
      { title: 'Audit', identity, assets, watches: true },
      html`<h1>Audit</h1>
<p class="quiet">What people did by these pages and by the API. All of it: <a href="${pathWith('/audit', { ...filter, format: 'csv' })}">as CSV</a>, <a href="${pathWith('/audit', { ...filter, format: 'jsonl' })}">as lines of JSON</a>.</p>
${bar(filter)}
${
  entries.length === 0
    ? html`<p class="empty">${Object.keys(filter).length === 0 ? 'Nobody has done anything yet.' : 'Nobody has done such a thing.'}</p>`
    : html`<ol class="runs" reversed>${entries.map((entry) => entryRow(entry, clock()))}</ol>`
}
${pager(before === undefined ? null : pathWith('/audit', filter), older)}`,
    ),
  );
}

/** Null if a parameter is wrong. */
function readFilter(query: Readonly<Record<string, string>>): AuditFilter | null {
  const [actor, action, target] = [query.actor, query.action, query.target].map(filterText);
  if (actor === undefined || action === undefined || target === undefined) return null;
  return {
    ...(actor !== null && { actor }),
    ...(action !== null && { action }),
    ...(target !== null && { target }),
  };
}

function bar({ actor, action, target }: AuditFilter) {
  return filterBar('/audit', [
    { name: 'actor', label: 'Person', value: actor ?? null, isSearch: true },
    { name: 'action', label: 'Action', value: action ?? null },
    { name: 'target', label: 'On', value: target ?? null },
  ]);
}

function entryRow({ at, actor, role, action, target, address, result }: AuditEntry, now: number) {
  return html`<li class="run-row">
<span class="state" data-state="${result === 'done' ? 'succeeded' : 'cancelled'}">${result ?? 'not noted'}</span>
<div class="run-what">
<span class="run-title">${action.replaceAll('_', ' ')}</span>
<span class="run-message"><bdi>${plainLine(target)}</bdi></span>
</div>
<div class="run-where"><span><bdi>${plainLine(actor)}</bdi> <span class="quiet">${role}</span></span><span class="quiet">${address}</span></div>
<div class="run-when"><span>${moment(at, now)}</span></div>
</li>`;
}
