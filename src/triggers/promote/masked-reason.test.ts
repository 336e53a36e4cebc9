import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { Proposal } from '../../runs/sync/promotion.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { createPromoteApi } from './promote-api.ts';
import type { PromotePlace } from './promote-place.ts';

const REVISION = 'a'.repeat(40);
const PROPOSAL: Proposal = {
  revision: REVISION,
  subject: 'Fix redis',
  from: 'staging',
  services: [{ service: 'platform/redis', from: null }],
  unheld: [],
  commits: [{ id: REVISION, subject: 'Fix redis' }],
  hasMore: false,
  pinned: [],
  newer: null,
};

const PRODUCTION: PromotePlace = {
  place: { repository: 'acme/platform', environment: 'production', branch: 'main' },
  services: async () => ({ runnable: ['platform/redis'], excluded: [], ambiguous: new Map() }),
  isOnBranch: async () => true,
  commitsBeginningWith: async () => [],
  promoting: {
    approval: 'none',
    approvers: null,
    from: 'staging',
    propose: async () => PROPOSAL,
    proposeNewest: async () => PROPOSAL,
    approvalTimeoutMs: 60_000,
    taken: () => Promise.reject(new Error('The ledger is not read.')),
    ageOf: async () => 'other',
    unproven: async () => [],
  },
};

it('The reason of a promotion is stored and logged without the secrets that the server knows', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'iac-promote-'));
  const store = await createSqliteStore({ directory });
  onTestFinished(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });
  const mask = (text: string) => text.replaceAll('canary', '****');
  const logged: unknown[] = [];
  const log = { warn: (...line: unknown[]) => void logged.push(line) };
  const promote = createPromoteApi({ store, places: [PRODUCTION], now: Date.now, log, mask });
  const body = {
    environment: 'production',
    revision: REVISION,
    reason: 'The password canary leaked',
    break_glass: true,
  };
  const { run } = await promote.start(body, { name: 'ada', isAdmin: true });
  expect(await store.run(run.id)).toMatchObject({ input: { note: 'The password **** leaked' } });
  expect(JSON.stringify(logged)).toContain('The password **** leaked');
  expect(JSON.stringify(logged)).not.toContain('canary');
  const { run: silent } = await promote.start(
    { environment: 'production', revision: REVISION },
    { name: 'ada', isAdmin: true },
  );
  expect(silent.input).not.toHaveProperty('note');
});
