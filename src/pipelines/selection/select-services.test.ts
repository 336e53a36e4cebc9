import { describe, expect, it } from 'vitest';
import type { TreeEntry } from '../../git/own/mirror.ts';
import { type Attempt, type Past, useLedgers } from '../ledgers.fixture.ts';
import { DEFAULT_RULES, type Rules, type ServiceRule } from '../rules/service-rules.ts';
import { digest, type Snapshot, snapshotOf } from '../rules/snapshot.ts';
import { type SelectionInput, selectServices } from './select-services.ts';
import { inputsOf } from './service-inputs.ts';

/** A commit whose folders have these tree ids; `libs` is a shared one. */
function commit(
  id: string,
  folders: Record<string, string>,
  rules: Rules = DEFAULT_RULES,
  more: readonly TreeEntry[] = [],
): Snapshot {
  const entries = Object.entries(folders).flatMap(([path, tree]): TreeEntry[] => [
    { mode: '040000', type: 'tree', id: tree, path },
    { mode: '100644', type: 'blob', id: `${tree}-deploy`, path: `${path}/deploy.py` },
  ]);
  return snapshotOf(id, [...entries, ...more], rules);
}

const POSTGRES = 'platform/01.postgres';
const REDIS = 'platform/02.redis';

function rulesWith(rule: Partial<ServiceRule>): Rules {
  const usual = {
    match: 'platform/{nn}.{service}/deploy.py',
    id: 'platform/{service}',
    task: '{service}.sync',
  };
  return { ...DEFAULT_RULES, services: [{ ...usual, ...rule }] };
}

function asked(...services: string[]): Partial<SelectionInput> {
  return { selection: { mode: 'services', services } };
}

type Form = 'as this version stores it' | 'as earlier versions stored it';

/** Its task was started at this commit. Earlier versions stored one digest of the inputs. */
function tried(
  at: Snapshot,
  id: string,
  outcome: Attempt['outcome'],
  form: Form = 'as earlier versions stored it',
): Attempt {
  const service = at.byId.get(id);
  if (!service) throw new Error(`No ${id} at ${at.commit}.`);
  const { folder, tree, shared } = service;
  const inputs =
    form === 'as this version stores it'
      ? inputsOf({ service, target: at, environmentDigest: () => 'env' })
      : digest([folder, tree, shared, 'env']);
  return { fact: { service: id, folder, commit: at.commit, tree, shared, inputs }, outcome };
}

const synced = (at: Snapshot, id: string): Attempt => tried(at, id, 'succeeded');
const syncedNow = (at: Snapshot, id: string): Attempt =>
  tried(at, id, 'succeeded', 'as this version stores it');

const past = useLedgers();

async function select(target: Snapshot, attempts: Attempt[], overrides: Partial<SelectionInput> = {}) {
  const selected = selectServices(await inputOf(target, attempts, overrides));
  return Object.fromEntries(selected.map(({ service, decision }) => [service, decision]));
}

async function inputOf(
  target: Snapshot,
  attempts: Attempt[],
  overrides: Partial<SelectionInput> = {},
): Promise<SelectionInput> {
  return {
    runId: 'run-1',
    target,
    ledger: overrides.ledger ?? (await past({ attempts })).ledger,
    baselines: [],
    selection: { mode: 'changed' },
    force: false,
    newer: new Set(),
    postponed: new Set(),
    rollback: false,
    unpin: false,
    environmentDigest: () => 'env',
    ...overrides,
  };
}

describe('selectServices for all changed services', () => {
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
  ])('with %s changed', async (_name, folders, expected) => {
    const untouched = { 'platform/postgres': 'not_chosen', 'platform/redis': 'not_chosen' };
    expect(await select(commit('c2', folders), ledger)).toEqual({ ...untouched, ...expected });
  });

  it('runs a service again that failed or was cut off, although nothing changed', async () => {
    const entries = [
      ...ledger,
      tried(first, 'platform/postgres', 'failed'),
      tried(first, 'platform/redis', 'started'),
    ];
    expect(await select(first, entries)).toEqual({ 'platform/postgres': 'run', 'platform/redis': 'run' });
  });

  it('runs a service that was removed and is back, even if it is unchanged', async () => {
    const entries = [...ledger, tried(first, 'platform/redis', 'removed')];
    expect(await select(first, entries)).toMatchObject({ 'platform/redis': 'run' });
  });

  it('reports a removal once', async () => {
    const target = commit('c2', { [POSTGRES]: 'p1', libs: 'l1' });
    const entries = [...ledger, tried(first, 'platform/redis', 'removed')];
    expect(await select(target, entries)).toEqual({ 'platform/postgres': 'not_chosen' });
  });

  it('F7: does not run a service that was synced or attempted at a newer commit, and does not call it removed', async () => {
    const older = commit('c0', { [POSTGRES]: 'p0', libs: 'l1' });
    const entries = [tried(first, 'platform/postgres', 'failed'), synced(first, 'platform/redis')];
    expect(await select(older, entries, { newer: new Set(['c1']) })).toEqual({
      'platform/postgres': 'newer_synced',
    });
  });

  it('ignores a changed environment, which only counts for services that a request names', async () => {
    expect(await select(first, ledger, { environmentDigest: () => 'other' })).toMatchObject({
      'platform/redis': 'not_chosen',
    });
  });
});

describe('selectServices for services that were never synced', () => {
  const before = commit('c1', { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l1' });
  const after = commit('c2', { [POSTGRES]: 'p1', [REDIS]: 'r2', libs: 'l1' });

  it('compares with the commit before the push', async () => {
    expect(await select(after, [], { baselines: [before] })).toEqual({
      'platform/postgres': 'not_chosen',
      'platform/redis': 'run',
    });
  });

  it('F39: selects all services if that commit is unknown or there is none', async () => {
    const all = { 'platform/postgres': 'run', 'platform/redis': 'run' };
    expect(await select(after, [], { baselines: [null] })).toEqual(all);
    expect(await select(after, [], { baselines: [] })).toEqual(all);
    expect(await select(after, [], { baselines: [after, null] })).toEqual(all);
  });

  it('also finds the changes of a lost push since the first known commit', async () => {
    expect(await select(after, [], { baselines: [before, after] })).toMatchObject({
      'platform/redis': 'run',
    });
  });

  it('reports services that the commit before had and this one does not have', async () => {
    const target = commit('c2', { [POSTGRES]: 'p1', libs: 'l1' });
    expect(await select(target, [], { baselines: [before] })).toMatchObject({ 'platform/redis': 'removed' });
  });
});

describe('selectServices by name', () => {
  const at = commit('c1', { [POSTGRES]: 'p1', [REDIS]: 'r1', 'bootstrap/01.vault': 'v1' });
  const ledger = [synced(at, 'platform/postgres')];

  it('selects a service that the request names, and skips it if nothing that it depends on changed', async () => {
    const selection = { mode: 'services', services: ['platform/postgres', 'platform/redis'] } as const;
    expect(
      await select(at, ledger, { selection: { ...selection, services: [...selection.services] } }),
    ).toEqual({
      'platform/postgres': 'skipped',
      'platform/redis': 'run',
      'bootstrap/vault': 'excluded',
    });
  });

  it('runs it by force, and if the environment changed', async () => {
    const selection = { mode: 'all' } as const;
    expect(await select(at, ledger, { selection, force: true })).toMatchObject({
      'platform/postgres': 'run',
    });
    expect(await select(at, ledger, { selection, environmentDigest: () => 'other' })).toMatchObject({
      'platform/postgres': 'run',
    });
  });

  it('never runs excluded ones, not even by force', async () => {
    const selection = { mode: 'services' as const, services: ['bootstrap/vault'] };
    expect(await select(at, [], { selection, force: true })).toMatchObject({ 'bootstrap/vault': 'excluded' });
  });

  it('reports a name that does not exist any more', async () => {
    const selection = { mode: 'services' as const, services: ['platform/gone'] };
    expect(await select(at, [], { selection })).toMatchObject({ 'platform/gone': 'invalid' });
  });

  it('does not repeat a service that an earlier attempt of the same run has synced', async () => {
    const { ledger: ownLedger, runId } = await past({ attempts: ledger });
    const again = { selection: { mode: 'all' }, force: true, ledger: ownLedger, runId } as const;
    expect(await select(at, [], again)).toMatchObject({ 'platform/postgres': 'done' });
  });
});

describe('selectServices for pinned services', () => {
  const old = commit('old', { [POSTGRES]: 'p1', [REDIS]: 'r1' });
  const head = commit('head', { [POSTGRES]: 'p2', [REDIS]: 'r2' });
  const attempts = [
    synced(old, 'platform/postgres'),
    tried(old, 'platform/postgres', 'failed'),
    synced(old, 'platform/redis'),
  ];
  const pin = { service: 'platform/postgres', commit: 'old' };
  const pinned = { 'platform/postgres': 'pinned', 'platform/redis': 'run' };

  it('does not run them until a rollback or an unpin', async () => {
    const { ledger } = await past({ attempts, pin });
    expect(await select(head, [], { ledger })).toEqual(pinned);
    expect(await select(head, [], { ledger, selection: { mode: 'all' } })).toEqual(pinned);
    expect(await select(head, [], { ledger, selection: { mode: 'all' }, force: true })).toEqual(pinned);
    const asked = { ledger, selection: { mode: 'all' as const } };
    expect(await select(head, [], { ...asked, unpin: true })).toMatchObject({ 'platform/postgres': 'run' });
    expect(await select(head, [], { ...asked, rollback: true })).toMatchObject({
      'platform/postgres': 'run',
    });
  });

  it('runs them at the commit where they are pinned, even if newer commits were tried since', async () => {
    const selection = { mode: 'services' as const, services: ['platform/postgres'] };
    const since = [synced(head, 'platform/postgres'), tried(head, 'platform/postgres', 'failed')];
    const { ledger: failed } = await past({ attempts: since, pin });
    const newer = new Set(['head']);
    expect(await select(old, [], { ledger: failed, selection, newer })).toMatchObject({
      'platform/postgres': 'run',
    });
    const elsewhere = commit('older', { [POSTGRES]: 'p0', [REDIS]: 'r0' });
    expect(await select(elsewhere, [], { ledger: failed, selection, newer })).toMatchObject({
      'platform/postgres': 'pinned',
    });
    expect(await select(old, since, { selection, newer })).toMatchObject({
      'platform/postgres': 'newer_synced',
    });
  });
});

describe('snapshotOf', () => {
  it('F38: makes no service of a link named deploy.py', async () => {
    const entries: TreeEntry[] = [
      { mode: '040000', type: 'tree', id: 't', path: POSTGRES },
      { mode: '120000', type: 'blob', id: 'b', path: `${POSTGRES}/deploy.py` },
    ];
    expect(snapshotOf('c', entries, DEFAULT_RULES).services).toEqual([]);
  });

  it('finds the file that hides the module platform', async () => {
    const entries: TreeEntry[] = [{ mode: '100644', type: 'blob', id: 'b', path: 'platform/__init__.py' }];
    expect(snapshotOf('c', entries, DEFAULT_RULES).shadowsPlatform).toBe(true);
  });
});

describe('selectServices for services that were changed outside', () => {
  const first = commit('c1', { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l1' });
  const second = commit('c2', { [POSTGRES]: 'p1', [REDIS]: 'r1', libs: 'l1' });
  const attempts = [synced(first, 'platform/postgres'), synced(first, 'platform/redis')];
  const drifted = (heal: boolean) => {
    const drift = { service: 'platform/redis', because: 'Changed outside.', heal, isNew: true };
    return { drifted: new Map([['platform/redis', drift]]) };
  };
  const asked = { selection: { mode: 'all' } } as const;

  it.each<[string, Past, Partial<SelectionInput>, Record<string, string>]>([
    ['runs what is to be healed', { attempts }, drifted(true), { 'platform/redis': 'run' }],
    ['leaves alone what is only reported', { attempts }, drifted(false), { 'platform/redis': 'not_chosen' }],
    [
      'runs it on request, with or without healing',
      { attempts },
      { ...asked, ...drifted(false) },
      { 'platform/redis': 'run', 'platform/postgres': 'skipped' },
    ],
    [
      'leaves a pinned service where it is',
      { attempts, pin: { service: 'platform/redis', commit: 'c0' } },
      drifted(true),
      { 'platform/redis': 'pinned' },
    ],
    [
      'moves nothing backwards for it',
      { attempts: [...attempts, tried(second, 'platform/redis', 'failed')] },
      { ...drifted(true), newer: new Set(['c2']) },
      { 'platform/redis': 'newer_synced' },
    ],
  ])('%s', async (_what, before, overrides, expected) => {
    const { ledger } = await past(before);
    expect(await select(first, [], { ...overrides, ledger })).toMatchObject(expected);
  });
});

describe('selectServices if two folders have one id', () => {
  const target = commit('c1', { [POSTGRES]: 'p1', [REDIS]: 'r1', 'platform/05.redis': 'r1' });

  it('refuses only that id', async () => {
    expect(await select(target, [])).toEqual({ 'platform/postgres': 'run', 'platform/redis': 'invalid' });
    expect(await select(target, [], asked('platform/redis'))).toEqual({
      'platform/postgres': 'not_chosen',
      'platform/redis': 'invalid',
    });
  });

  it('does not affect a request for another service', async () => {
    expect(await select(target, [], asked('platform/postgres'))).toEqual({
      'platform/postgres': 'run',
      'platform/redis': 'not_chosen',
    });
  });
});

describe('selectServices if only the rules changed', () => {
  const folders = { [POSTGRES]: 'p1', [REDIS]: 'r1' };
  const before = commit('c1', folders);

  it('runs a service whose task changed, also if a request names it', async () => {
    const target = commit('c2', folders, rulesWith({ task: '{service}.deploy' }));
    const entries = [syncedNow(before, 'platform/postgres'), syncedNow(before, 'platform/redis')];
    const both = { 'platform/postgres': 'run', 'platform/redis': 'run' };
    expect(await select(target, entries)).toEqual(both);
    expect(await select(target, entries, { selection: { mode: 'all' } })).toEqual(both);
    expect(await select(before, entries)).toEqual({
      'platform/postgres': 'not_chosen',
      'platform/redis': 'not_chosen',
    });
  });

  it('runs a service whose task changed since the first known push', async () => {
    const target = commit('c2', folders, rulesWith({ task: '{service}.deploy' }));
    const ownServices = new Map([
      ['c1', new Map(before.services.map((service) => [service.folder, [service]]))],
    ]);
    const baseline = commit('c1', folders, rulesWith({ task: '{service}.deploy' }));
    expect(await select(target, [], { baselines: [baseline], ownServices })).toEqual({
      'platform/postgres': 'run',
      'platform/redis': 'run',
    });
  });

  it('reports that a folder has another id, not that it was removed', async () => {
    const target = commit('c2', folders, rulesWith({ id: 'apps/{service}' }));
    const found = selectServices(await inputOf(target, [syncedNow(before, 'platform/redis')]));
    expect(found.find(({ service }) => service === 'platform/redis')).toMatchObject({
      decision: 'removed',
      because:
        'The rules call platform/02.redis apps/redis now; what was deployed as platform/redis is left as it is.',
    });
    expect(found.find(({ service }) => service === 'apps/redis')).toMatchObject({ decision: 'run' });
  });
});

describe('selectServices for shared paths that are no plain files', () => {
  const base = { [REDIS]: 'r1' };
  const entry = (mode: string, id: string): TreeEntry => ({
    mode,
    type: mode === '160000' ? 'commit' : 'blob',
    id,
    path: 'libs/common',
  });
  const at = (id: string, ...entries: TreeEntry[]) => commit(id, base, DEFAULT_RULES, entries);

  it.each([
    ['a submodule that moves on', entry('160000', 'a'), entry('160000', 'b')],
    ['a link that leads elsewhere', entry('120000', 'a'), entry('120000', 'b')],
    ['a file that can be executed now', entry('100644', 'a'), entry('100755', 'a')],
    ['a link in place of a file', entry('100644', 'a'), entry('120000', 'a')],
  ])('runs what depends on %s', async (_name, before, after) => {
    const ledger = [syncedNow(at('c1', before), 'platform/redis')];
    expect(await select(at('c2', after), ledger)).toEqual({ 'platform/redis': 'run' });
    expect(await select(at('c2', after), ledger, { selection: { mode: 'all' } })).toEqual({
      'platform/redis': 'run',
    });
    expect(await select(at('c2', before), ledger)).toEqual({ 'platform/redis': 'not_chosen' });
  });

  it.each([
    ['a submodule', entry('160000', 'a')],
    ['a link', entry('120000', 'a')],
  ])('runs nothing because an earlier version stored its digest without %s', async (_name, special) => {
    const target = at('c1', special);
    const plain = at('c1');
    const ledger = [synced(plain, 'platform/redis')];
    expect(await select(target, ledger)).toEqual({ 'platform/redis': 'not_chosen' });
    expect(await select(target, ledger, { selection: { mode: 'all' } })).toEqual({
      'platform/redis': 'skipped',
    });
  });

  it('runs nothing because an earlier version stored its digest without modes', async () => {
    const ledger = [synced(at('c1', entry('100644', 'a')), 'platform/redis')];
    const target = at('c1', entry('100755', 'a'));
    expect(await select(target, ledger)).toEqual({ 'platform/redis': 'not_chosen' });
  });
});
