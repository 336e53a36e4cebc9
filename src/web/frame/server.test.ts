/** The listening socket: after which errors it goes on, and which errors end the process. */

import type { Server } from 'node:http';
import { Hono } from 'hono';
import { expect, it, onTestFinished } from 'vitest';
import { startServer } from './server.ts';

/** Google's load balancers. */
const LONGEST_IDLE_PROXY_S = 600;

async function listen() {
  const seen = { failures: [] as unknown[], warnings: [] as string[] };
  const time = { now: 0 };
  const servers: Server[] = [];
  const running = await startServer(
    new Hono().get('/', (context) => context.text('here')),
    {
      host: '127.0.0.1',
      port: 0,
      gate: { watch: (server) => void servers.push(server as Server) },
      log: { warn: (_fields, message) => void seen.warnings.push(message) },
      onFailure: (error) => void seen.failures.push(error),
      clock: () => time.now,
    },
  );
  onTestFinished(running.close);
  return {
    seen,
    time,
    url: `http://127.0.0.1:${running.port}/`,
    /** Emits an error as Node does when the kernel refuses the next connection. */
    refuse: (code: string): void =>
      void servers[0]?.emit('error', Object.assign(new Error(`accept ${code}`), { code })),
    visit: async () =>
      (await fetch(`http://127.0.0.1:${running.port}/`, { headers: { connection: 'close' } })).text(),
  };
}

it('A server that cannot accept connections any more ends the process', async () => {
  const { seen, refuse } = await listen();
  refuse('EBADF');
  expect(seen.failures).toEqual([expect.objectContaining({ code: 'EBADF' })]);
});

it('A connection that cannot be accepted does not end the process, however often that happens', async () => {
  const { seen, time, refuse, visit } = await listen();
  for (let minute = 0; minute < 10; minute += 1) {
    refuse('ECONNABORTED');
    refuse('EMFILE');
    time.now += 60_000;
    expect(await visit()).toBe('here');
  }
  expect(seen.failures).toEqual([]);
  expect(new Set(seen.warnings)).toEqual(new Set(['connections cannot be accepted at the moment']));
  expect(seen.warnings).toHaveLength(10);
});

it('A server that could accept nothing for a minute, because it may open no more files, ends the process', async () => {
  const { seen, time, refuse } = await listen();
  for (let since = 0; since < 60_000; since += 20_000) {
    refuse('EMFILE');
    time.now += 20_000;
    expect(seen.failures).toEqual([]);
  }
  refuse('EMFILE');
  expect(seen.failures).toEqual([expect.objectContaining({ code: 'EMFILE' })]);
});

it('A quiet hour between two errors does not count as an hour of failure', async () => {
  const { seen, time, refuse } = await listen();
  refuse('EMFILE');
  time.now += 3_600_000;
  refuse('EMFILE');
  expect(seen.failures).toEqual([]);
});

it('An idle connection stays open for longer than a proxy keeps it, so that no delivery arrives while it is closed', async () => {
  const { url } = await listen();
  const answer = await fetch(url);
  await answer.text();
  const seconds = Number(/^timeout=(\d+)$/.exec(answer.headers.get('keep-alive') ?? '')?.[1]);
  expect(seconds).toBeGreaterThan(LONGEST_IDLE_PROXY_S);
});
