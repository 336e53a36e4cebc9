/** The whole audit log to keep elsewhere: as lines of JSON, or as CSV. */

import type { Context } from 'hono';
import { accepts } from 'hono/accepts';
import { stream } from 'hono/streaming';
import type { AuditEntry, AuditFilter } from '../../runs/people.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { rfc3339 } from '../frame/format.ts';

type ExportForm = 'jsonl' | 'csv';

const PER_READ = 500;
const COLUMNS = ['at', 'actor', 'role', 'action', 'target', 'address', 'result'] as const;
const TYPES: Readonly<Record<ExportForm, string>> = {
  jsonl: 'application/x-ndjson',
  csv: 'text/csv; charset=utf-8',
};

export function entryJson({ at, actor, role, action, target, address, result }: AuditEntry) {
  return { at: rfc3339(at), actor, role, action, target, address, result };
}

/** The form that `?format=` or, without it, Accept asks for. Null for a page or one answer of JSON. */
export function exportForm(c: Context): ExportForm | null {
  const { format } = c.req.query();
  if (format !== undefined) return format === 'jsonl' || format === 'csv' ? format : null;
  const supports = ['text/html', 'application/json', 'application/x-ndjson', 'text/csv'];
  const type = accepts(c, { header: 'Accept', supports, default: 'text/html' });
  if (type === 'application/x-ndjson') return 'jsonl';
  return type === 'text/csv' ? 'csv' : null;
}

/** The log may be long, so it is read in parts. */
export function exportAll(
  c: Context,
  store: Pick<RunStore, 'actions'>,
  { form, filter }: { form: ExportForm; filter: AuditFilter },
): Response {
  c.header('Content-Type', TYPES[form]);
  c.header('Content-Disposition', `attachment; filename="audit.${form}"`);
  c.header('Vary', 'Accept');
  return stream(c, async (out) => {
    if (form === 'csv') await out.write(csvLine(COLUMNS));
    let { before } = filter;
    while (!out.aborted) {
      const entries = await store.actions({ ...filter, before, limit: PER_READ });
      for (const entry of entries) await out.write(form === 'csv' ? csvEntry(entry) : jsonLine(entry));
      before = entries.at(-1)?.id;
      if (entries.length < PER_READ) return;
    }
  });
}

function jsonLine(entry: AuditEntry): string {
  return `${JSON.stringify(entryJson(entry))}\n`;
}

function csvEntry(entry: AuditEntry): string {
  const values = entryJson(entry);
  return csvLine(COLUMNS.map((column) => values[column] ?? ''));
}

/** A line by RFC 4180. */
function csvLine(cells: readonly string[]): string {
  return `${cells.map(csvCell).join(',')}\r\n`;
}

/** A spreadsheet would compute a text that begins like a formula, so an apostrophe stands before it. */
function csvCell(text: string): string {
  const shown = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return `"${shown.replaceAll('"', '""')}"`;
}
