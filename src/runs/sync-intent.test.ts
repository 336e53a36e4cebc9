import { describe, expect, it } from 'vitest';
import type { SyncInput, SyncRun, Trigger } from './run.ts';
import { meaningOf, retryOf } from './sync-intent.ts';

const COMMIT = 'a'.repeat(40);
const HEAD = 'b'.repeat(40);

function run(source: Trigger['source'], input: Partial<SyncInput>, more: Partial<SyncRun> = {}): SyncRun {
  const trigger = { source, actor: null, deliveryId: null, retryOf: null };
  const asked = { selection: { mode: 'changed' }, force: false, dryRun: false, revision: null, ...input };
  return { trigger, input: asked, attempt: 1, revision: null, ...more } as SyncRun;
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
  it('coalesces when it follows the branch and leaves the choice to git and the ledger, whoever asked', () => {
    const coalesces = (input: Partial<SyncInput>) => meaningOf(run('reconcile', input)).coalesces;
    expect(coalesces({ intent: 'follow', revision: COMMIT })).toBe(true);
    expect(coalesces({ intent: 'follow', force: true })).toBe(false);
    expect(coalesces({ intent: 'follow', dryRun: true })).toBe(false);
    expect(coalesces({ intent: 'follow', selection: { mode: 'all' } })).toBe(false);
    expect(coalesces({ intent: 'exact', revision: COMMIT })).toBe(false);
    expect(coalesces({ intent: 'back', revision: COMMIT })).toBe(false);
  });

  it('takes the head when it follows the branch and names no commit, or had to wait', () => {
    const takesHead = (input: Partial<SyncInput>, found: string | null = null, attempt = 1) =>
      meaningOf(run('webhook', input, { revision: found, attempt })).takesHead;
    expect(takesHead({ intent: 'follow' })).toBe(true);
    expect(takesHead({ intent: 'follow', revision: COMMIT })).toBe(false);
    expect(takesHead({ intent: 'follow', revision: COMMIT }, COMMIT)).toBe(true);
    expect(takesHead({ intent: 'follow', revision: COMMIT }, COMMIT, 2)).toBe(false);
    expect(takesHead({ intent: 'exact', revision: COMMIT }, COMMIT)).toBe(false);
    expect(takesHead({ intent: 'back', revision: COMMIT }, COMMIT)).toBe(false);
  });

  it('goes on, when it follows the branch and was cut off, at the commit that it was at', () => {
    const commit = (input: Partial<SyncInput>, found: string | null) =>
      meaningOf(run('webhook', input, { revision: found, attempt: 2 })).commit;
    expect(commit({ intent: 'follow', revision: COMMIT }, HEAD)).toBe(HEAD);
    expect(commit({ intent: 'follow', revision: COMMIT }, null)).toBe(COMMIT);
    expect(commit({ intent: 'back', revision: COMMIT }, COMMIT)).toBe(COMMIT);
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

describe('The retry of a sync', () => {
  it('of a rollback is a rollback, however often it is retried and whoever asked last', () => {
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
