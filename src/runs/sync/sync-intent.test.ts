import { describe, expect, it } from 'vitest';
import type { SyncRun, Trigger } from '../run.ts';
import type { SyncInput } from './sync-input.ts';
import { meaningOf, placeOf, retryOf } from './sync-intent.ts';

const COMMIT = 'a'.repeat(40);
const HEAD = 'b'.repeat(40);

function run(source: Trigger['source'], input: Partial<SyncInput>, more: Partial<SyncRun> = {}): SyncRun {
  const trigger = { source, actor: null, deliveryId: null, retryOf: null };
  const asked = { selection: { mode: 'changed' }, force: false, dryRun: false, revision: null, ...input };
  return { trigger, input: asked, attempt: 1, revision: null, ...more } as SyncRun;
}

interface Before {
  revision?: string | null;
  attempt?: number;
  hasSteps?: boolean;
}

describe('The intent of a run that an earlier version stored', () => {
  it.each([
    ['webhook', COMMIT, 'follow'],
    ['replay', COMMIT, 'follow'],
    ['reconcile', COMMIT, 'follow'],
    ['sync_api', null, 'follow'],
    ['sync_api', COMMIT, 'back'],
    ['retry', COMMIT, 'exact'],
    ['retry', null, 'follow'],
  ] as const)('is, asked for by %s with the commit %s, to %s', (source, revision, intent) => {
    expect(meaningOf(run(source, { revision })).intent).toBe(intent);
  });
});

describe('What a sync means', () => {
  it('coalesces when it follows the branch and leaves the choice to git and the ledger, for any trigger', () => {
    const coalesces = (input: Partial<SyncInput>) => meaningOf(run('reconcile', input)).coalesces;
    expect(coalesces({ intent: 'follow', revision: COMMIT })).toBe(true);
    expect(coalesces({ intent: 'follow', force: true })).toBe(false);
    expect(coalesces({ intent: 'follow', dryRun: true })).toBe(false);
    expect(coalesces({ intent: 'follow', selection: { mode: 'all' } })).toBe(false);
    expect(coalesces({ intent: 'exact', revision: COMMIT })).toBe(false);
    expect(coalesces({ intent: 'back', revision: COMMIT })).toBe(false);
  });

  it('gives way to the head, when its commit is not on the branch, unless it goes back', () => {
    expect(meaningOf(run('webhook', { intent: 'follow', revision: COMMIT })).offBranch).toBe('head');
    expect(meaningOf(run('retry', { intent: 'exact', revision: COMMIT })).offBranch).toBe('head');
    expect(meaningOf(run('sync_api', { intent: 'back', revision: COMMIT })).offBranch).toBeNull();
  });

  it('waits for a window unless it is forced or changes nothing', () => {
    for (const intent of ['follow', 'exact', 'back'] as const) {
      const waits = (input: Partial<SyncInput>) =>
        meaningOf(run('sync_api', { intent, revision: COMMIT, ...input })).waitsForWindow;
      expect([waits({}), waits({ force: true }), waits({ dryRun: true })]).toEqual([true, false, false]);
    }
  });
});

describe('Where a sync works', () => {
  const place = (
    input: Partial<SyncInput>,
    { revision = null, attempt = 1, hasSteps = false }: Before = {},
  ) => placeOf(run('webhook', input, { revision, attempt }), hasSteps);
  const follow = { intent: 'follow', revision: COMMIT } as const;

  it('is at the head when it follows the branch and names no commit, or had to wait', () => {
    expect(place({ intent: 'follow' }).takesHead).toBe(true);
    expect(place(follow)).toEqual({ takesHead: false, commit: COMMIT });
    expect(place(follow, { revision: COMMIT }).takesHead).toBe(true);
    for (const intent of ['exact', 'back'] as const) {
      const before = { revision: COMMIT, attempt: 2 };
      expect(place({ ...follow, intent }, before)).toEqual({ takesHead: false, commit: COMMIT });
    }
  });

  it('is at the commit of its steps when they were cut off, and at the head when there were none', () => {
    const cutOff = { revision: HEAD, attempt: 2 };
    expect(place(follow, { ...cutOff, hasSteps: true })).toEqual({ takesHead: false, commit: HEAD });
    expect(place(follow, cutOff).takesHead).toBe(true);
    // It was postponed or handed back, which is no attempt.
    expect(place(follow, { ...cutOff, attempt: 1, hasSteps: true }).takesHead).toBe(true);
    expect(place(follow, { attempt: 2 })).toEqual({ takesHead: false, commit: COMMIT });
  });
});

describe('The retry of a sync', () => {
  it('of a rollback is a rollback, however often it is retried, by anybody', () => {
    const first = run('sync_api', { revision: COMMIT });
    const second = run('retry', { ...first.input, ...retryOf(first) });
    expect([retryOf(first), retryOf(second)]).toEqual([
      { intent: 'back', revision: COMMIT },
      { intent: 'back', revision: COMMIT },
    ]);
    expect(meaningOf(second).goesBack).toBe(true);
  });

  it('is at the commit that was worked on, and asks the same again when there was none yet', () => {
    const push = run('webhook', { intent: 'follow', revision: COMMIT }, { revision: HEAD });
    expect(retryOf(push)).toEqual({ intent: 'exact', revision: HEAD });
    expect(retryOf(run('sync_api', { intent: 'follow' }))).toEqual({ intent: 'follow', revision: null });
  });
});
