import { describe, expect, it } from 'vitest';
import type { TreeEntry } from '../git/mirror.ts';
import type { LedgerEntry } from '../runs/run-store.ts';
import { type SelectionInput, selectServices } from './select-services.ts';
import { DEFAULT_RULES } from './service-rules.ts';
import { digest, type Snapshot, snapshotOf } from './snapshot.ts';

/** A commit whose folders have these tree ids; `libs` is a shared one. */
function commit(id: string, folders: Record<string, string>): Snapshot {
  const entries = Object.entries(folders).flatMap(([path, tree]): TreeEntry[] => [
    { mode: '040000', type: 'tree', id: tree, path },
    { mode: '100644', type: 'blob', id: `${tree}-deploy`, path: `${path}/deploy.py` },
  ]);
  return snapshotOf(id, entries, DEFAULT_RULES);
}

const POSTGRES = 'platform/01.postgres';
const REDIS = 'platform/02.redis';

function synced(at: Snapshot, service: string, overrides: Partial<LedgerEntry> = {}): LedgerEntry {
  const found = at.services.find(({ id }) => id === service);
  if (!found) throw new Error(`No ${service} at ${at.commit}.`);
  return {
    service,
    folder: found.folder,
    attemptedCommit: at.commit,
    attemptedRunId: 'run-0',
    outcome: 'succeeded',
    attempts: 0,
    attemptedInputs: '',
    attemptedAt: 0,
    synced: {
      commit: at.commit,
      tree: found.tree,
      shared: found.shared,
      inputs: digest([found.folder, found.tree, found.shared, 'env']),
      configHash: null,
      runId: 'run-0',
      at: 0,
    },
    ...overrides,
  };
}

function select(target: Snapshot, entries: LedgerEntry[], overrides: Partial<SelectionInput> = {}) {
  const input: SelectionInput = {
    runId: 'run-1',
    target,
    ledger: {
      entries: new Map(entries.map((entry) => [entry.service, entry])),
      baseline: null,
      examined: null,
      pins: new Map(),
      rules: null,
    },
    baselines: [],
    selection: { mode: 'changed' },
    force: false,
    newer: new Set(),
    postponed: new Set(),
    rollback: false,
    unpin: false,
    environmentDigest: 'env',
    ...overrides,
  };
  return Object.fromEntries(selectServices(input).map(({ service, decision }) => [service, decision]));
}

describe('selectServices of what changed', () => {
  const first = commit('c1', { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l1' });
  const ledger = [synced(first, 'platform/postgres'), synced(first, 'platform/redis')];

  it.each<[string, Record<string, string>, Record<string, string>]>([
    ['nothing', { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l1' }, {}],
    ['one service', { [POSTGRES]: 'p2', [REDIS]: 'r1', libs: 'l1' }, { 'platform/postgres': 'run' }],
    [
      'shared files',
      { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l2' },
      { 'platform/postgres': 'run', 'platform/redis': 'run' },
    ],
    ['the folder of no service', { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l1', docs: 'd2' }, {}],
    ['a removal', { [POSTGRES]: 'p1', libs: 'l1' }, { 'platform/redis': 'removed' }],
    [
      'a new service',
      { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l1', 'platform/03.new': 'n1' },
      { 'platform/new': 'run' },
    ],
    [
      'a service moved to another wave',
      { [POSTGRES]: 'p1', 'platform/09.redis': 'r1', libs: 'l1' },
      { 'platform/redis': 'run' },
    ],
    [
      'a rename into another service',
      { [POSTGRES]: 'p1', 'platform/02.valkey': 'r1', libs: 'l1' },
      { 'platform/redis': 'removed', 'platform/valkey': 'run' },
    ],
    [
      'a file moved from one service to another',
      { [POSTGRES]: 'p2', [REDIS]: 'r2', libs: 'l1' },
      { 'platform/postgres': 'run', 'platform/redis': 'run' },
    ],
    [
      'a second folder with the same id',
      { [POSTGRES]: 'p1', [REDIS]: 'r1', 'platform/05.redis': 'r1', libs: 'l1' },
      { 'platform/redis': 'invalid' },
    ],
  ])('with %s changed', (_name, folders, expected) => {
    const untouched = { 'platform/postgres': 'not_chosen', 'platform/redis': 'not_chosen' };
    expect(select(commit('c2', folders), ledger)).toEqual({ ...untouched, ...expected });
  });

  it('runs again what failed or was cut off, though nothing changed', () => {
    const entries = [
      synced(first, 'platform/postgres', { outcome: 'failed' }),
      synced(first, 'platform/redis', { outcome: 'started' }),
    ];
    expect(select(first, entries)).toEqual({ 'platform/postgres': 'run', 'platform/redis': 'run' });
  });

  it('runs a service that was removed and is back, also when it is as it was', () => {
    const entries = [
      synced(first, 'platform/postgres'),
      synced(first, 'platform/redis', { outcome: 'removed' }),
    ];
    expect(select(first, entries)).toMatchObject({ 'platform/redis': 'run' });
  });

  it('reports a removal once', () => {
    const target = commit('c2', { [POSTGRES]: 'p1', libs: 'l1' });
    const entries = [
      synced(first, 'platform/postgres'),
      synced(first, 'platform/redis', { outcome: 'removed' }),
    ];
    expect(select(target, entries)).toEqual({ 'platform/postgres': 'not_chosen' });
  });

  it('F7: leaves alone what was synced, or only attempted, at a newer commit, and does not call it removed', () => {
    const older = commit('c0', { [POSTGRES]: 'p0', libs: 'l1' });
    const entries = [
      synced(first, 'platform/postgres', { outcome: 'failed', synced: null }),
      synced(first, 'platform/redis'),
    ];
    expect(select(older, entries, { newer: new Set(['c1']) })).toEqual({
      'platform/postgres': 'newer_synced',
    });
  });

  it('ignores a changed environment, which only matters to what is asked for by name', () => {
    expect(select(first, ledger, { environmentDigest: 'other' })).toMatchObject({
      'platform/redis': 'not_chosen',
    });
  });
});

describe('selectServices of what was never synced', () => {
  const before = commit('c1', { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l1' });
  const after = commit('c2', { [POSTGRES]: 'p1', [REDIS]: 'r2', libs: 'l1' });

  it('compares with the commit before the push', () => {
    expect(select(after, [], { baselines: [before] })).toEqual({
      'platform/postgres': 'not_chosen',
      'platform/redis': 'run',
    });
  });

  it('F39: widens to all when that commit is unknown or there is none', () => {
    const all = { 'platform/postgres': 'run', 'platform/redis': 'run' };
    expect(select(after, [], { baselines: [null] })).toEqual(all);
    expect(select(after, [], { baselines: [] })).toEqual(all);
    expect(select(after, [], { baselines: [after, null] })).toEqual(all);
  });

  it('also finds what a lost push changed since the first commit ever seen', () => {
    expect(select(after, [], { baselines: [before, after] })).toMatchObject({ 'platform/redis': 'run' });
  });

  it('reports what the commit before had and this one has not', () => {
    const target = commit('c2', { [POSTGRES]: 'p1', libs: 'l1' });
    expect(select(target, [], { baselines: [before] })).toMatchObject({ 'platform/redis': 'removed' });
  });
});

describe('selectServices by name', () => {
  const at = commit('c1', { [POSTGRES]: 'p1', [REDIS]: 'r1', 'bootstrap/01.vault': 'v1' });
  const ledger = [synced(at, 'platform/postgres')];

  it('chooses what is named and skips it when nothing it depends on changed', () => {
    const selection = { mode: 'services', services: ['platform/postgres', 'platform/redis'] } as const;
    expect(select(at, ledger, { selection: { ...selection, services: [...selection.services] } })).toEqual({
      'platform/postgres': 'skipped',
      'platform/redis': 'run',
      'bootstrap/vault': 'excluded',
    });
  });

  it('runs it all the same by force, and when the environment changed', () => {
    const selection = { mode: 'all' } as const;
    expect(select(at, ledger, { selection, force: true })).toMatchObject({ 'platform/postgres': 'run' });
    expect(select(at, ledger, { selection, environmentDigest: 'other' })).toMatchObject({
      'platform/postgres': 'run',
    });
  });

  it('never runs excluded ones, not even by force', () => {
    const selection = { mode: 'services' as const, services: ['bootstrap/vault'] };
    expect(select(at, [], { selection, force: true })).toMatchObject({ 'bootstrap/vault': 'excluded' });
  });

  it('says of a name that is gone that there is no such service', () => {
    const selection = { mode: 'services' as const, services: ['platform/gone'] };
    expect(select(at, [], { selection })).toMatchObject({ 'platform/gone': 'invalid' });
  });

  it('does not repeat what an earlier attempt of the same run has done', () => {
    expect(select(at, ledger, { selection: { mode: 'all' }, force: true, runId: 'run-0' })).toMatchObject({
      'platform/postgres': 'done',
    });
  });
});

describe('selectServices of pinned services', () => {
  const old = commit('old', { [POSTGRES]: 'p1', [REDIS]: 'r1' });
  const head = commit('head', { [POSTGRES]: 'p2', [REDIS]: 'r2' });
  const entries = [
    synced(old, 'platform/postgres', { attemptedCommit: 'old', outcome: 'failed' }),
    synced(old, 'platform/redis'),
  ];
  const ledger = {
    entries: new Map(entries.map((entry) => [entry.service, entry])),
    baseline: null,
    examined: null,
    pins: new Map([['platform/postgres', 'old']]),
    rules: null,
  };
  const pinned = { 'platform/postgres': 'pinned', 'platform/redis': 'run' };

  it('leaves them alone whatever is asked, until a rollback or an unpin', () => {
    expect(select(head, [], { ledger })).toEqual(pinned);
    expect(select(head, [], { ledger, selection: { mode: 'all' } })).toEqual(pinned);
    expect(select(head, [], { ledger, selection: { mode: 'all' }, force: true })).toEqual(pinned);
    const asked = { ledger, selection: { mode: 'all' as const } };
    expect(select(head, [], { ...asked, unpin: true })).toMatchObject({ 'platform/postgres': 'run' });
    expect(select(head, [], { ...asked, rollback: true })).toMatchObject({ 'platform/postgres': 'run' });
  });

  it('lets them go where they are pinned, also although newer commits were tried since', () => {
    const selection = { mode: 'services' as const, services: ['platform/postgres'] };
    const tried = synced(head, 'platform/postgres', { outcome: 'failed' });
    const failed = { ...ledger, entries: new Map([['platform/postgres', tried]]) };
    const newer = new Set(['head']);
    expect(select(old, [], { ledger: failed, selection, newer })).toMatchObject({
      'platform/postgres': 'run',
    });
    const elsewhere = commit('older', { [POSTGRES]: 'p0', [REDIS]: 'r0' });
    expect(select(elsewhere, [], { ledger: failed, selection, newer })).toMatchObject({
      'platform/postgres': 'pinned',
    });
    expect(select(old, [], { ledger: { ...failed, pins: new Map() }, selection, newer })).toMatchObject({
      'platform/postgres': 'newer_synced',
    });
  });
});

describe('snapshotOf', () => {
  it('F38: does not take a linked deploy.py for a service', () => {
    const entries: TreeEntry[] = [
      { mode: '040000', type: 'tree', id: 't', path: POSTGRES },
      { mode: '120000', type: 'blob', id: 'b', path: `${POSTGRES}/deploy.py` },
    ];
    expect(snapshotOf('c', entries, DEFAULT_RULES).services).toEqual([]);
  });

  it('notices what shadows the module platform', () => {
    const entries: TreeEntry[] = [{ mode: '100644', type: 'blob', id: 'b', path: 'platform/__init__.py' }];
    expect(snapshotOf('c', entries, DEFAULT_RULES).shadowsPlatform).toBe(true);
  });
});

describe('selectServices of what was changed outside', () => {
  const first = commit('c1', { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l1' });
  const entries = [synced(first, 'platform/postgres'), synced(first, 'platform/redis')];
  const drifted = (heal: boolean) => {
    const drift = { service: 'platform/redis', because: 'Changed outside.', heal, isNew: true };
    return { drifted: new Map([['platform/redis', drift]]) };
  };
  const asked = { selection: { mode: 'all' } } as const;

  it.each<[string, LedgerEntry[], Partial<SelectionInput>, Record<string, string>]>([
    ['runs what is to be healed', entries, drifted(true), { 'platform/redis': 'run' }],
    ['leaves alone what is only reported', entries, drifted(false), { 'platform/redis': 'not_chosen' }],
    [
      'runs it for whoever asks, healing or not',
      entries,
      { ...asked, ...drifted(false) },
      { 'platform/redis': 'run', 'platform/postgres': 'skipped' },
    ],
    [
      'leaves a pinned service where it is',
      entries,
      {
        ...drifted(true),
        ledger: {
          entries: new Map(entries.map((entry) => [entry.service, entry])),
          baseline: null,
          examined: null,
          pins: new Map([['platform/redis', 'c0']]),
          rules: null,
        },
      },
      { 'platform/redis': 'pinned' },
    ],
    [
      'moves nothing backwards for it',
      [synced(first, 'platform/redis', { attemptedCommit: 'c2' })],
      { ...drifted(true), newer: new Set(['c2']) },
      { 'platform/redis': 'newer_synced' },
    ],
  ])('%s', (_what, ledger, overrides, expected) => {
    expect(select(first, ledger, overrides)).toMatchObject(expected);
  });
});
