/** A kept plan is large: how it is read where the line to Redis is slow. */

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { deployRequest } from '../run-store-contract.ts';
import { hasRedisServer, startRedisServer } from './redis-server.fixture.ts';
import { createRedisStore } from './redis-store.ts';

const missing = !hasRedisServer();

/** Lets `bytesPerSecond` through towards the client. Gives its port. */
async function slowLine(port: number, bytesPerSecond: number): Promise<number> {
  const sockets = new Set<Socket>();
  const line = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => [client, server].map((one) => one.destroy()));
    }
    client.pipe(server);
    void (async () => {
      for await (const chunk of server) {
        client.write(chunk);
        await sleep((chunk.length / bytesPerSecond) * 1_000);
      }
    })().catch(() => undefined);
  }).listen(0, '127.0.0.1');
  await once(line, 'listening');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    line.close();
  });
  const address = line.address();
  if (address === null || typeof address === 'string') throw new Error('No port.');
  return address.port;
}

it.skipIf(missing)(
  `A kept plan is read over a slow line, which takes longer than a request may${missing ? ' (skipped: redis-server is not installed)' : ''}`,
  async () => {
    const server = await startRedisServer();
    onTestFinished(() => server.remove());
    const open = async (port: number, requestTimeoutMs = 4_000) => {
      const store = await createRedisStore({ url: `redis://127.0.0.1:${port}`, requestTimeoutMs });
      onTestFinished(() => store.close());
      return store;
    };
    const store = await open(server.port);
    const plan = `v1.${'kept'.repeat(2_500_000)}`;
    const { run } = await store.enqueue(deployRequest(), { sealed: 'v1.secrets' });
    const claim = await store.claim({ owner: 'machine-1:17', leaseMs: 60_000 });
    if (!claim) throw new Error('Nothing to claim.');
    const notice = { type: 'run.notice', level: 'info', message: 'Planned' } as const;
    await store.append(claim.lease, [notice], undefined, plan);

    const far = await open(await slowLine(server.port, 1_500_000), 4_000);
    const [kept, renewed] = await Promise.all([
      far.keptPlan(run.id),
      // What else there is to say is heard in between.
      sleep(500).then(() => far.renew(claim.lease, 60_000)),
    ]);
    expect(kept === plan).toBe(true);
    expect(renewed).toBeUndefined();
    expect(await far.sealed(run.id)).toBe('v1.secrets');
  },
);
