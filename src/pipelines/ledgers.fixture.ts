/** Ledgers as the real store keeps them: written by the events of a run, and read back. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import type { LedgerFact, RunEventBody } from '../runs/run-events.ts';
import type { Ledger, RunStore } from '../runs/run-store.ts';
import { pushRequest } from '../stores/run-store-contract.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';

/** A task of a service that was started, and how it ended; `started` is one that was cut off. */
export interface Attempt {
  fact: Omit<LedgerFact, 'scope' | 'configHash'>;
  outcome: 'started' | 'succeeded' | 'failed' | 'removed';
}

export interface Past {
  attempts?: readonly Attempt[];
  baseline?: string;
  pin?: { service: string; commit: string };
}

/** Call it outside of the tests. Each call of the returned function writes the past of a new branch. */
export function useLedgers(): (past: Past) => Promise<{ ledger: Ledger; runId: string }> {
  let directory: string;
  let store: RunStore;
  let branches = 0;
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'iac-ledgers-'));
    store = await createSqliteStore({ directory });
  });
  afterAll(async () => {
    await store.close();
    await rm(directory, { recursive: true });
  });
  return async (past) => {
    branches += 1;
    const scope = `sync:${branches}`;
    const { run } = await store.enqueue(pushRequest({ concurrencyGroup: scope }));
    const claim = await store.claim({ owner: 'one:1', leaseMs: 60_000 });
    if (claim?.run.id !== run.id) throw new Error('Another run was claimed.');
    await store.append(claim.lease, eventsOf(past, scope));
    return { ledger: await store.ledger(scope), runId: run.id };
  };
}

function eventsOf({ attempts = [], baseline, pin }: Past, scope: string): RunEventBody[] {
  const events = attempts.flatMap((attempt, index) => attemptEvents(attempt, `attempt-${index}`, scope));
  if (baseline !== undefined) events.push({ type: 'run.baseline', scope, commit: baseline });
  if (pin) events.push({ type: 'run.pinned', scope, services: [pin.service], commit: pin.commit });
  return events;
}

function attemptEvents({ fact, outcome }: Attempt, step: string, scope: string): RunEventBody[] {
  const ledger = { ...fact, scope, configHash: null };
  const events: RunEventBody[] = [{ type: 'step.planned', step, position: 0, wave: 0, message: '' }];
  if (outcome !== 'removed') events.push({ type: 'step.started', step, command: ['invoke'], ledger });
  if (outcome === 'started') return events;
  return [...events, { type: 'step.finished', step, state: outcome, message: '', exitCode: null, ledger }];
}
