/** Tests that a request that was answered "not stored" is never stored, however late its turn comes. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import type { Session } from '../../runs/people.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { pushRequest } from '../run-store-contract.ts';
import { createSqliteStore } from './sqlite-store.ts';

let directory: string;
let store: RunStore;
beforeEach(async () => {
  directory = mkdtempSync(path.join(tmpdir(), 'iac-store-'));
  store = await createSqliteStore({ directory, requestTimeoutMs: 500 });
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const SESSION: Session = {
  ...{ id: 'digest', name: 'ada', role: 'admin', method: 'token', bound: 'b', address: '::1', agent: '' },
  createdAt: 0,
  endsAt: Date.now() + 60_000,
};

it('F18: a request whose time is over while another program holds the store is never stored', async () => {
  const { run } = await store.enqueue(pushRequest({ coalesce: false }));
  const nonce = { value: 'of-a-request', expiresAt: Date.now() + 60_000 };
  const other = new DatabaseSync(path.join(directory, 'iac-runner.db'));
  other.exec('BEGIN IMMEDIATE');
  const requests = [
    store.enqueue(pushRequest({ coalesce: false }), { nonce }),
    store.recordDelivery({
      deliveryId: 'd1',
      event: 'push',
      decision: 'ignored',
      detail: '',
      runId: null,
      request: null,
    }),
    store.requestCancel(run.id, 'ada'),
    store.saveSession(SESSION),
  ];
  for (const { status, reason } of (await Promise.allSettled(requests)) as PromiseRejectedResult[]) {
    expect(status).toBe('rejected');
    expect(reason).toBeInstanceOf(StoreUnavailableError);
  }
  other.exec('ROLLBACK');
  other.close();
  // This write has no limit, and its turn comes after theirs.
  await store.saveBaseline('sync:main', 'c1');
  expect(await store.runs({ limit: 10 })).toMatchObject([{ id: run.id, state: 'queued' }]);
  expect(await store.deliveries({ limit: 10 })).toEqual([]);
  expect(await store.session(SESSION.id)).toBeNull();
  // The same request is accepted as if it were new.
  expect(await store.enqueue(pushRequest(), { nonce })).toMatchObject({ created: true });
});
