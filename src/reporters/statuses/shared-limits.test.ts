/** One kind of report never uses up what the others need: GitHub's rate limit, and the last statuses of a commit. */

import { afterEach, beforeEach, expect, it } from 'vitest';
import { MISBEHAVIOURS } from '../../../e2e/support/github-misbehaviour.ts';
import { expectNoViolations } from '../../../e2e/support/local-github.ts';
import { createLocalReporting, FIRST, type LocalReporting } from '../local-reporting.fixture.ts';
import { RUNNING, SUCCEEDED } from '../reporting.fixture.ts';
import { aPreview, aRun } from '../stored-runs.fixture.ts';

const SYNC = 'IaC Runner / Sync';
let reporting: LocalReporting;

beforeEach(async () => {
  reporting = await createLocalReporting();
});

afterEach(async () => {
  await reporting.close();
  expectNoViolations(reporting.github);
});

it('F44: a token that may not write statuses still writes comments', async () => {
  const { github, runs, start } = reporting;
  const isAllowed = github.misbehave({ how: MISBEHAVIOURS.forbidden, times: 'forever', path: /statuses/ });
  await runs.put(aPreview({ id: 'preview', ...SUCCEEDED, message: 'Merging this will sync nothing' }));
  const { idle } = await start();
  await expect.poll(() => github.comments.of(7)).toHaveLength(1);
  await expect.poll(() => runs.settledRuns).toEqual(['preview']);
  isAllowed();
  await idle();
  expect(github.statuses.latest('a'.repeat(40))).toMatchObject({ state: 'success' });
});

it('F44: a commit with nearly 1,000 statuses can still show its outcome', async () => {
  const { github, runs, start } = reporting;
  github.statuses.fill(FIRST, SYNC, 2);
  const retried = { source: 'retry', actor: 'ada', deliveryId: null, retryOf: null } as const;
  const input = { revision: FIRST };
  const { idle } = await start();
  await runs.put(aRun({ id: 'run-1', trigger: retried }, input));
  await idle();
  await runs.change('run-1', { ...RUNNING, revision: FIRST });
  await idle();
  expect(github.statuses.history(FIRST)).toHaveLength(998);
  await runs.change('run-1', SUCCEEDED);
  await idle();
  expect(github.statuses.latest(FIRST)).toMatchObject({ state: 'success' });
  expect(github.statuses.history(FIRST)).toHaveLength(999);
  expect(await runs.store.unreported('commit-status', 10)).toEqual([]);
});

it('A commit with few statuses shows each state, even if somebody requested the run', async () => {
  const { github, runs, start } = reporting;
  const asked = { source: 'sync_api', actor: 'ada', deliveryId: null, retryOf: null } as const;
  const { idle } = await start();
  await runs.put(aRun({ id: 'run-1', trigger: asked }, { revision: FIRST }));
  await idle();
  await runs.change('run-1', { ...SUCCEEDED, revision: FIRST });
  await idle();
  expect(github.statuses.history(FIRST).map(({ state }) => state)).toEqual(['pending', 'success']);
});
