/**
 * Starts bare Hono servers that accept signed pushes and store nothing. They do `all` of the work around it, or the
 * `hmac` alone.
 */

import { randomBytes, randomUUID } from 'node:crypto';
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

if (kind === 'all') {
  const gate = createGate({ trustedProxies: [], clock: Date.now, log: { warn() {} } });
  const door = { secrets: [secret], gate, maxBytes: 25 * 1024 * 1024 };
  app.post('/webhook', async (c) => {
    const push = parsePush(await readSignedJson(c, door));
    if (!push) return c.json({ error: 'The body is not a push payload' }, 400);
    const runId = randomUUID();
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

serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => {
  process.send?.({ port });
});
// The peer exits when its parent ends, because nobody asks it to stop.
process.on('disconnect', () => process.exit(0));
