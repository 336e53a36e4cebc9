import { describe, expect, it } from 'vitest';
import type { PreviewRun, Run, SyncRun } from '../../runs/run.ts';
import { aPreview, aRun } from '../stored-runs.fixture.ts';
import { commitStatus, statusTargets } from './commit-status.ts';

const WAITING = 'pending: Waiting for previous sync to complete';
const GIT_FAILED = 'error: Failed to update git repository';

function statusOf(run: Run, covering: Run | null = null): string | null {
  const status = commitStatus(run, covering);
  return status && `${status.state}: ${status.description}`;
}

describe('commitStatus', () => {
  it.each<[string, Partial<SyncRun>, string]>([
    ['a queued run waits', { state: 'queued', message: 'Interrupted; queued again' }, WAITING],
    [
      'a run outside of its window says when it will start',
      { state: 'queued', message: 'Waiting for the sync window at 2026-01-05', notBefore: 5 },
      'pending: Waiting for the sync window at 2026-01-05',
    ],
    ['a running run waits until services are chosen', { state: 'running', message: 'Fetching' }, WAITING],
    [
      'a running run counts the chosen services',
      { state: 'running', chosen: 2, message: 'Syncing 2 service(s)...' },
      'pending: Syncing 2 service(s)...',
    ],
    [
      'a success counts the chosen services',
      { state: 'succeeded', chosen: 2, message: '2 service(s) synced successfully' },
      'success: 2 service(s) synced successfully',
    ],
    [
      'a success with nothing to do says so',
      { state: 'succeeded', message: 'No services required sync' },
      'success: No services required sync',
    ],
    [
      'a failed task is a failure',
      { state: 'failed', reason: 'step_failed', message: '1/2 service(s) failed to sync' },
      'failure: 1/2 service(s) failed to sync',
    ],
    [
      'a timeout is a failure',
      { state: 'timed_out', reason: 'step_timed_out', message: '1/1 service(s) failed to sync' },
      'failure: 1/1 service(s) failed to sync',
    ],
    ['git cannot be used', { state: 'errored', reason: 'git_unavailable', message: 'x' }, GIT_FAILED],
    ['an unknown commit', { state: 'errored', reason: 'unknown_revision', message: 'x' }, GIT_FAILED],
    [
      'no workspace',
      { state: 'errored', reason: 'workspace_unavailable', message: 'x' },
      `${GIT_FAILED}: the workspace cannot be used`,
    ],
    [
      'a full disk in git',
      { state: 'errored', reason: 'disk_full', message: 'x' },
      `${GIT_FAILED}: the disk is full`,
    ],
    [
      'a full disk later',
      { state: 'errored', reason: 'disk_full', chosen: 1, message: 'Disk full' },
      'error: Disk full',
    ],
    ['our own fault', { state: 'errored', reason: 'internal', message: 'Bug' }, 'error: Bug'],
    ['a cancelled run', { state: 'cancelled', message: 'Cancelled by ada' }, 'error: Cancelled by ada'],
    ['superseded by nothing', { state: 'superseded', message: 'x' }, 'success: No services required sync'],
    [
      'off the branch',
      { state: 'superseded', reason: 'not_on_branch', coveredBy: 'run-2', message: 'Not on main' },
      'error: Not on main',
    ],
    [
      'its covering run does not exist any more',
      { state: 'superseded', coveredBy: 'run-2', message: 'Covered by run-2' },
      'error: Covered by run-2',
    ],
  ])('%s', (_title, run, expected) => {
    expect(statusOf(aRun(run))).toBe(expected);
  });

  it('gives a superseded run the status of the run that covers it', () => {
    const superseded = aRun({ state: 'superseded', reason: 'covered_by_newer', coveredBy: 'run-2' });
    expect(statusOf(superseded, aRun({ state: 'running' }))).toBe(WAITING);
    expect(statusOf(superseded, aRun({ state: 'failed', message: '1/1 service(s) failed to sync' }))).toBe(
      'failure: 1/1 service(s) failed to sync',
    );
  });

  it('gives a dry run no status', () => {
    expect(statusOf(aRun({ state: 'succeeded' }, { dryRun: true }))).toBeNull();
  });

  it.each([
    ['140 characters stay', 'a'.repeat(140), 'a'.repeat(140)],
    ['141 characters are cut', 'a'.repeat(141), `${'a'.repeat(139)}…`],
    ['control characters are removed', 'a\u0007b\u001b[31m\u202ec\r\nd', 'ab[31mc d'],
    ['characters that GitHub refuses are replaced', '🐛 ünïcode \ud800', '\ufffd ünïcode \ufffd'],
  ])('keeps the description acceptable: %s', (_title, message, expected) => {
    expect(commitStatus(aRun({ state: 'succeeded', message }), null)?.description).toBe(expected);
  });
});

describe('statusTargets', () => {
  it.each<[string, Partial<SyncRun>, string | null, string[]]>([
    ['nothing known', { state: 'queued' }, null, []],
    ['the requested commit while the run is queued', { state: 'queued' }, 'aaa', ['aaa']],
    ['the commit that is worked on, once it is known', { state: 'running', revision: 'bbb' }, 'aaa', ['bbb']],
    ['one commit, if both are the same', { state: 'succeeded', revision: 'aaa' }, 'aaa', ['aaa']],
    ['both commits in the end', { state: 'succeeded', revision: 'bbb' }, 'aaa', ['bbb', 'aaa']],
    ['the branch head if no commit was requested', { state: 'failed', revision: 'bbb' }, null, ['bbb']],
    ['the requested commit of a superseded run', { state: 'superseded' }, 'aaa', ['aaa']],
  ])('%s', (_title, run, revision, expected) => {
    expect(statusTargets(aRun(run, { revision }))).toEqual(expected);
  });
});

describe('The status of a preview', () => {
  it.each<[string, Partial<PreviewRun>, string]>([
    ['waits', { state: 'queued' }, 'pending: Working out what merging this will sync'],
    [
      'waits until it is known',
      { state: 'running', message: 'x' },
      'pending: Working out what merging this will sync',
    ],
    [
      'says what a merge would do',
      { state: 'succeeded', message: 'Merging this will sync nothing' },
      'success: Merging this will sync nothing',
    ],
    ['fails for a broken repository', { state: 'failed', message: 'Two folders' }, 'failure: Two folders'],
    [
      'shows an error',
      { state: 'errored', reason: 'git_unavailable', message: 'Not looked at' },
      'error: Not looked at',
    ],
    [
      'ends if a newer commit counts',
      { state: 'superseded', coveredBy: '2', message: 'A newer commit' },
      'success: A newer commit',
    ],
  ])('%s', (_what, changes, expected) => {
    const run = aPreview(changes);
    expect(statusOf(run, aRun({ state: 'failed', message: 'not this' }))).toBe(expected);
    expect(statusTargets(run)).toEqual(['a'.repeat(40)]);
  });
});
