/** Checks all statuses that GitHub received: the status of each commit has ended, and no success is false. */

import { expect } from 'vitest';
import { gitSucceeds } from './git.ts';
import { syncedAt } from './platform-services.ts';
import type { Runner } from './runner.ts';
import type { DetailedRun } from './runner-client.ts';
import type { Stage } from './stage.ts';
import { until } from './until.ts';

/** The commits for which a status was accepted. */
function reportedCommits({ github }: Stage): string[] {
  const posts = github.requests.filter(({ method, status }) => method === 'POST' && status === 201);
  return [...new Set(posts.flatMap(({ url }) => /\/statuses\/([0-9a-f]{40})$/.exec(url)?.[1] ?? []))];
}

/** Waits until no commit has a pending status and every run that ended has sent its status. */
export async function waitForFinalStatuses(stage: Stage, runner: Runner): Promise<void> {
  const { github, repository } = stage;
  const owed = async (): Promise<string[]> => {
    const runs = await runner.runs();
    const asked = runs.flatMap(({ revision, requested_revision: wanted }) => [revision, wanted]);
    const known = asked.filter((sha) => typeof sha === 'string');
    const unsettled = [...new Set([...known, ...reportedCommits(stage)])].filter(
      (sha) => (github.statuses.latest(sha)?.state ?? 'pending') === 'pending',
    );
    const there = await Promise.all(
      unsettled.map((sha) => gitSucceeds(repository.path, ['cat-file', '-e', `${sha}^{commit}`])),
    );
    return unsettled.filter((_, index) => there[index]);
  };
  let open: string[] = [];
  await until(
    'a last status on every commit',
    async () => {
      open = await owed();
      return open.length === 0 ? true : null;
    },
    { seen: () => open.map((sha) => [sha, github.statuses.latest(sha)]) },
  );
}

/**
 * Checks that every success that GitHub ever received belongs to a commit that was really deployed. Either the run
 * in its link succeeded at this commit, and the journal shows each of its services there; or that run covers the
 * commit, because it deployed a descendant of it.
 */
export async function expectNoFalseSuccess(stage: Stage, runner: Runner): Promise<void> {
  const runs = new Map<string, DetailedRun>();
  for (const { run_id: id } of await runner.runs()) runs.set(id, await runner.waitForRun(id, 'final'));
  for (const sha of reportedCommits(stage)) {
    for (const { state, description, targetUrl } of stage.github.statuses.history(sha)) {
      if (state !== 'success') continue;
      const run = runs.get(/\/runs\/([0-9a-f-]+)/.exec(targetUrl ?? '')?.[1] ?? '');
      const what = { sha, description, run: run?.run_id, revision: run?.revision };
      expect(run, `the run behind ${JSON.stringify(what)}`).toBeDefined();
      if (!run) continue;
      expect(run.state, JSON.stringify(what)).toBe('succeeded');
      const { revision } = run;
      if (revision !== sha) {
        const isCovered = await gitSucceeds(stage.repository.path, [
          'merge-base',
          '--is-ancestor',
          sha,
          revision ?? '',
        ]);
        expect(isCovered, `covered: ${JSON.stringify(what)}`).toBe(true);
      }
      const done = run.steps.filter((step) => step.state === 'succeeded').map(({ id }) => id);
      expect(await syncedAt(stage.journal, revision ?? ''), JSON.stringify(what)).toEqual(
        expect.arrayContaining(done),
      );
    }
  }
}
