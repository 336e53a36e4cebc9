import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { LedgerEntry } from '../../runs/run-store.ts';
import type { Standing } from '../../runs/sync/standing.ts';
import { readLedger, readOutsideHashes } from '../../stores/sql/ledger.ts';
import { saveLedger, savePin } from '../../stores/sql/save-branch-facts.ts';
import { saveOutsideHashes } from '../../stores/sql/writes/beside-runs.ts';
import { createTestAccess } from '../access/access.fixture.ts';
import { loadAssets } from '../frame/assets.ts';
import { createTestRuns } from '../runs.fixtures.ts';
import { createServiceRoutes, type ServiceRoutesOptions } from './service-pages.ts';

const NOW = Date.parse('2026-03-01T12:00:00.000Z');
const SHA = '1234567890abcdef1234567890abcdef12345678';
const SCOPE = 'sync:main';
/** The list does not show where services stand. */
const NOT_FETCHED: Standing = { head: null, services: [], remarks: [], problem: null };
const TOKEN = { Authorization: 'Bearer viewer-token' };

function entry(service: string, overrides: Partial<LedgerEntry> = {}): LedgerEntry {
  const at = NOW - 3_600_000;
  return {
    service,
    folder: `folders/${service}`,
    attemptedCommit: SHA,
    attemptedRunId: 'run-2',
    outcome: 'succeeded',
    attempts: 0,
    attemptedInputs: '',
    attemptedAt: at,
    synced: {
      commit: SHA,
      tree: 't',
      shared: 's',
      inputs: 'i',
      configHash: 'abcdef012345',
      runId: 'run-1',
      at,
    },
    ...overrides,
  };
}

function hash(service: string, overrides: Partial<OutsideHash> = {}): OutsideHash {
  const settled = { written: 'abcdef012345', found: 'abcdef012345', drifted: false, owed: false };
  return { service, ...settled, since: NOW, problem: null, heals: 0, healedAt: 0, ...overrides };
}

function createPages(
  entries: LedgerEntry[],
  more: { hashes?: OutsideHash[]; options?: Partial<ServiceRoutesOptions> },
) {
  const runs = createTestRuns();
  for (const one of entries) runs.write((transaction) => saveLedger(transaction, SCOPE, one));
  const pin = { scope: SCOPE, service: 'platform/pinned', commit: SHA, runId: 'run-1' };
  runs.write((transaction) => savePin(transaction, pin));
  runs.write((transaction) => saveOutsideHashes(transaction, SCOPE, more.hashes ?? []));
  const access = createTestAccess({
    tokens: [{ name: 'vera', role: 'viewer', token: 'viewer-token' }],
    store: runs,
    clock: () => NOW,
  });
  const routes = createServiceRoutes({
    store: {
      ...runs,
      scopes: async () => [],
      ledger: (scope) => runs.read((database) => readLedger(database, scope)),
      serviceHistory: async () => [],
      outsideHashes: (scope) => runs.read((database) => readOutsideHashes(database, scope)),
    },
    places: [
      {
        place: { repository: 'acme/platform', environment: null, branch: 'main' },
        scope: SCOPE,
        known: async () => ['platform/new'],
        standing: async () => NOT_FETCHED,
      },
    ],
    hasOutside: true,
    rollBack: () => Promise.reject(new Error('Nothing is taken back here.')),
    startSync: () => Promise.reject(new Error('Nothing is synced here.')),
    access,
    assets: loadAssets(),
    clock: () => NOW,
    commitUrl: (sha) => `https://github.com/acme/platform/commit/${sha}`,
    runUrl: (runId) => `https://runner.example/runs/${runId}`,
    publicUrl: null,
    ...more.options,
  });
  return new Hono().route('/', routes);
}

async function json(app: Hono): Promise<unknown> {
  const response = await app.request('/services', { headers: { ...TOKEN, Accept: 'application/json' } });
  expect(response.status).toBe(200);
  return response.json();
}

async function page(app: Hono): Promise<string> {
  return (await app.request('/services', { headers: { ...TOKEN, Accept: 'text/html' } })).text();
}

describe('The list of services', () => {
  it('needs somebody who is signed in', async () => {
    const response = await createPages([], {}).request('/services', {
      headers: { Accept: 'application/json' },
    });
    expect(response.status).toBe(401);
  });

  it('lists the services of the ledger and of the branch, sorted, as JSON', async () => {
    const failed = entry('platform/failed', { outcome: 'failed', attempts: 3, synced: null });
    const app = createPages([entry('platform/redis'), failed], {
      hashes: [hash('platform/redis', { found: null, drifted: true })],
    });
    expect(await json(app)).toMatchObject({
      services: [
        {
          service: 'platform/failed',
          outcome: 'failed',
          synced: null,
          attempts: 3,
          drifted: false,
          dokploy: null,
        },
        { service: 'platform/new', folder: null, outcome: 'never_synced', synced: null, attempted: null },
        {
          service: 'platform/redis',
          folder: 'folders/platform/redis',
          outcome: 'succeeded',
          synced: {
            commit: SHA,
            at: '2026-03-01T11:00:00.000Z',
            config_hash: 'abcdef012345',
            run_id: 'run-1',
            url: 'https://runner.example/runs/run-1',
          },
          attempted: { commit: SHA, run_id: 'run-2' },
          pinned_to: null,
          drifted: true,
          dokploy: { config_hash: null, to_be_written: false, problem: null },
        },
      ],
    });
  });

  it('shows on the page which services are pinned, tried several times, changed outside, or still to be written', async () => {
    const app = createPages(
      [
        entry('platform/failed', { outcome: 'failed', attempts: 3 }),
        entry('platform/owed'),
        entry('platform/pinned'),
        entry('platform/redis'),
      ],
      {
        hashes: [
          // A drift seen before the failure says nothing now.
          hash('platform/failed', { drifted: true }),
          hash('platform/owed', { owed: true, problem: 'It is down.' }),
          hash('platform/redis', { found: null, drifted: true }),
        ],
      },
    );
    const text = await page(app);
    expect(text).toContain('Changed outside: platform/redis</p>');
    expect(text).toContain('Dokploy has no config hash in place of abcdef012345.');
    expect(text).toContain('Last tried at 12345678, 3 times.');
    expect(text).toContain('Pinned to 12345678 by a rollback, until it is unpinned.');
    expect(text).toContain('Its config hash still has to be written to Dokploy.');
    expect(text).toContain('Dokploy: It is down.');
    expect(text).toContain('href="/runs/run-2"');
    expect(text).toContain('1 h ago');
  });

  it('does not mention Dokploy where it is not used', async () => {
    const hashes = [hash('platform/redis', { drifted: true })];
    const app = createPages([entry('platform/redis')], { hashes, options: { hasOutside: false } });
    expect(await json(app)).toMatchObject({ services: [{}, { drifted: false, dokploy: null }] });
    expect(await page(app)).not.toContain('Changed outside');
  });

  it('shows hostile names and problems as text only', async () => {
    const odd = 'platform/<img src=x>\u202e"';
    const app = createPages([entry(odd)], {
      hashes: [hash(odd, { drifted: true, problem: '<b>\u001b[31m' })],
    });
    const text = await page(app);
    expect(text).not.toContain('<img src=x>');
    expect(text).not.toContain('<b>');
    expect(text).not.toContain('\u001b');
  });
});
