/**
 * Starts bare Hono servers that accept signed pushes. They do `all` of the work around it and store nothing, or the
 * `hmac` alone, or all of the work and store each push in one `table`, durably and several with each commit.
 */

import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { servicesNamedBy } from '../../src/pipelines/selection/touched-paths.ts';
import { parsePush, revisionOf } from '../../src/triggers/github/push-payload.ts';
import { isSigned } from '../../src/triggers/signature.ts';
import { readSignedJson } from '../../src/triggers/signed-body.ts';
import { signRunLink } from '../../src/web/access/access.ts';
import { createGate } from '../../src/web/doors/gate.ts';

const [kind, secret = ''] = process.argv.slice(2);
const linkKey = randomBytes(32);
const app = new Hono();

if (kind === 'all' || kind === 'table') {
  const store = kind === 'table' ? openTable() : null;
  const gate = createGate({ trustedProxies: [], clock: Date.now, log: { warn() {} } });
  const door = { secrets: [secret], gate, maxBytes: 25 * 1024 * 1024 };
  app.post('/webhook', async (c) => {
    const push = parsePush(await readSignedJson(c, door));
    if (!push) return c.json({ error: 'The body is not a push payload' }, 400);
    const runId = randomUUID();
    await store?.(runId, JSON.stringify(push));
    return c.json({
      status: 'accepted',
      services: servicesNamedBy(push.paths),
      commit: (revisionOf(push) ?? push.after).slice(0, 8),
      run_id: runId,
      url: `http://localhost/runs/${runId}?key=${signRunLink(linkKey, runId)}`,
    });
  });
} else {
  app.post('/webhook', async (c) => {
    const body = Buffer.from(await c.req.arrayBuffer());
    if (!isSigned([secret], body, c.req.header('x-hub-signature-256'))) return c.json({}, 401);
    return c.json({ status: 'accepted' });
  });
}

/** Returns what stores a push in a table and resolves after the fsync. Pushes that arrive together share a commit. */
function openTable(): (id: string, push: string) => Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'iac-runner-bench-table-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const database = new DatabaseSync(join(folder, 'table.db'));
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  database.exec('CREATE TABLE pushes (id TEXT PRIMARY KEY, push TEXT NOT NULL) STRICT');
  const insert = database.prepare('INSERT INTO pushes VALUES (?, ?)');
  let waiting: { values: [string, string]; done: () => void }[] = [];
  const commit = (): void => {
    const together = waiting;
    waiting = [];
    database.exec('BEGIN IMMEDIATE');
    for (const { values } of together) insert.run(...values);
    database.exec('COMMIT');
    for (const { done } of together) done();
  };
  return (...values) =>
    new Promise((done) => {
      if (waiting.length === 0) setImmediate(commit);
      waiting.push({ values, done });
    });
}

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => {
  process.send?.({ port });
});
// The peer exits when its parent ends, because nobody asks it to stop.
process.on('disconnect', () => process.exit(0));
