/** Releases holds over HTTP from a real store, while other people release them, too. */

import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { expect, it, onTestFinished } from 'vitest';
import { captureProcess } from '../../process/capture.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { createHoldApi } from '../../triggers/holds/hold-api.ts';
import { createTestAccess, createTestGate } from '../../web/access/access.fixture.ts';
import { loadAssets } from '../../web/frame/assets.ts';
import { createHoldRoutes } from '../../web/holds/hold-routes.ts';

const TOKEN = 'operator-token-of-the-test';
const FREEZE = { repository: null, environment: null, services: null, by: 'ada', until: null };

async function openStore(): Promise<RunStore> {
  const directory = mkdtempSync(path.join(tmpdir(), 'iac-release-'));
  const store = await createSqliteStore({ directory });
  onTestFinished(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });
  return store;
}

/** Serves the holds. `afterList` happens when a list was read, before its reader gets it. */
async function serveHolds(store: RunStore, afterList: () => Promise<unknown>): Promise<string> {
  const log = { info: () => undefined };
  const tokens = [{ name: 'oscar', role: 'operator', token: TOKEN }] as const;
  const app = new Hono();
  app.use('/holds', async (_c, next) => {
    await next();
    await afterList();
  });
  app.route(
    '/',
    createHoldRoutes({
      store,
      access: createTestAccess({ tokens, store, gate: createTestGate() }),
      assets: loadAssets(),
      publicUrl: null,
      clock: Date.now,
      holds: createHoldApi({ store, places: [], now: Date.now, log, mask: (text) => text }),
    }),
  );
  const server = createAdaptorServer({ fetch: app.fetch });
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function release(url: string, ...args: string[]) {
  const cli = path.join(import.meta.dirname, '..', '..', 'cli.ts');
  const argv = [process.execPath, cli, 'release', ...args] as const;
  const env = { IAC_RUNNER_TOKEN: TOKEN, IAC_RUNNER_URL: url };
  const result = await captureProcess({ argv, cwd: '/', env, timeoutMs: 30_000 });
  if (result.kind !== 'exited') throw new Error(`It ended as ${result.kind}.`);
  return { exitCode: result.exitCode, stdout: result.stdout.toString(), stderr: result.stderr };
}

async function setHolds(store: RunStore): Promise<string[]> {
  const ids: string[] = [];
  for (const reason of ['one', 'two', 'three']) {
    ids.push((await store.saveHold({ ...FREEZE, reason }))?.id ?? '');
  }
  return ids;
}

it('iac-runner release --all goes on after a hold that somebody else released meanwhile, and says so', async () => {
  const store = await openStore();
  const [one = '', two = '', three = ''] = await setHolds(store);
  const url = await serveHolds(store, () => store.endHold(two));
  expect(await release(url, '--all')).toEqual({
    exitCode: 0,
    stdout: `Released ${one}\nReleased ${three}\nSomebody else has released ${two}\n`,
    stderr: '',
  });
  expect(await store.holds()).toEqual([]);
});

it('iac-runner release --all --json tells them apart', async () => {
  const store = await openStore();
  const [one = '', two = '', three = ''] = await setHolds(store);
  const url = await serveHolds(store, () => store.endHold(two));
  const { stdout } = await release(url, '--all', '--json');
  expect(JSON.parse(stdout)).toEqual({ released: [one, three], released_by_others: [two] });
});

it('iac-runner release of one hold fails if that is not there', async () => {
  const store = await openStore();
  const url = await serveHolds(store, async () => undefined);
  const { exitCode, stdout, stderr } = await release(url, 'unknown');
  expect([exitCode, stdout, stderr]).toEqual([4, '', expect.stringContaining('404: Hold not found.')]);
});
