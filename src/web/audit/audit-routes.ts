/** The audit log for admins: a page, JSON, and the whole of it as lines of JSON. */

import { type Context, Hono } from 'hono';
import { html } from 'hono/html';
import { stream } from 'hono/streaming';
import type { AuditEntry } from '../../runs/audit.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { RunPageEnv } from '../access/access.ts';
import { createGuards, type GuardsOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { plainLine } from '../frame/ansi.ts';
import { rfc3339 } from '../frame/format.ts';
import { page } from '../frame/layout.ts';
import { pager, pathWith } from '../frame/list-parts.ts';
import { pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { moment } from '../runs/run-words.ts';

export interface AuditRoutesOptions extends GuardsOptions {
  store: Pick<RunStore, 'run' | 'actions'>;
  /** Milliseconds since the epoch. */
  clock(): number;
}

type AuditContext = Context<RunPageEnv>;

const PER_PAGE = 100;
const PER_READ = 500;
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
  if (before !== undefined && !ENTRY_ID.test(before)) {
    return refuse(c, assets, 400, 'Before must be the id of an entry.');
  }
  if (format === 'jsonl') return exportAll(c, store);
  if (format !== undefined) return refuse(c, assets, 400, 'Format must be jsonl, or be left out.');
  const found = await store.actions({ before, limit: PER_PAGE + 1 });
  const entries = found.slice(0, PER_PAGE);
  const older = found.length > PER_PAGE ? pathWith('/audit', { before: entries.at(-1)?.id }) : null;
  c.header('Vary', 'Accept');
  if (prefersJson(c)) return c.json({ entries: entries.map(entryJson), next: older });
  const { identity } = c.var;
  return c.html(
    page(
      { title: 'Audit', identity, assets, watches: true },
      html`<h1>Audit</h1>
<p class="quiet">What people did by these pages and by the API. <a href="/audit?format=jsonl">All of it as lines of JSON</a></p>
${
  entries.length === 0
    ? html`<p class="empty">Nobody has done anything yet.</p>`
    : html`<ol class="runs" reversed>${entries.map((entry) => entryRow(entry, clock()))}</ol>`
}
${pager(before === undefined ? null : '/audit', older)}`,
    ),
  );
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

function entryJson({ at, actor, role, action, target, address, result }: AuditEntry) {
  return { at: rfc3339(at), actor, role, action, target, address, result };
}

/** The log may be long, so it is read in parts. */
function exportAll(c: AuditContext, store: AuditRoutesOptions['store']): Response {
  c.header('Content-Type', 'application/x-ndjson');
  c.header('Content-Disposition', 'attachment; filename="audit.jsonl"');
  return stream(c, async (out) => {
    let before: string | undefined;
    while (!out.aborted) {
      const entries = await store.actions({ before, limit: PER_READ });
      for (const entry of entries) await out.write(`${JSON.stringify(entryJson(entry))}\n`);
      before = entries.at(-1)?.id;
      if (entries.length < PER_READ) return;
    }
  });
}
