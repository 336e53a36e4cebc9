/**
 * F15: the server is killed at one write after another, from its first start to the end of its first run. The
 * ordinary tests try some of these points; KILL_POINTS=all tries all of them.
 */

import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, type TestContext } from 'vitest';
import { commitChange } from './support/platform-services.ts';
import { killProcessesMentioning } from './support/processes.ts';
import { deliverRefUpdate, type RefUpdate } from './support/push-delivery.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import type { Stage } from './support/stage.ts';
import { serverKilledAt, serverTraced, straceOrSkip } from './support/strace.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const ALL_POINTS = process.env.KILL_POINTS === 'all';
/** The question mark lets strace ignore a system call that this machine does not have. */
const CALLS = [
  { what: 'the store', calls: 'pwrite64,fdatasync,fsync', points: 6 },
  { what: 'locks, the mirror and the workspace', calls: '?rename,?unlink,?unlinkat,?rmdir', points: 3 },
  { what: 'answers and wake-ups', calls: 'write,writev', points: 3 },
];
const ENVIRONMENT = { LOG_LEVEL: 'info', RECONCILE_INTERVAL: '0' };

/** Sets everything up as on the first day: no store, no mirror, no checkout. */
async function pushToNewServer(stage: Stage, what: string): Promise<RefUpdate & { commit: string }> {
  await killProcessesMentioning(stage.folder);
  for (const name of ['data', 'workspace'])
    await rm(join(stage.folder, name), { recursive: true, force: true });
  const commit = await commitChange(stage.repository, ['platform/redis'], what);
  return { ...(await stage.repository.push()), commit };
}

/** Returns the most calls that one thread makes until the first run has ended and its status was sent. */
async function countCalls(stage: Stage, calls: string): Promise<number> {
  const { commit, ...refUpdate } = await pushToNewServer(stage, `counted ${calls}`);
  const file = join(stage.folder, 'calls');
  const runner = await stage.start({ program: serverTraced(calls, file), environment: ENVIRONMENT });
  await runner.waitForRun(acceptedRun(await deliverRefUpdate(stage, runner, refUpdate)), 'succeeded');
  await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
  const counts = new Map<string, number>();
  for (const line of (await readFile(file, 'utf8')).split('\n')) {
    const [, thread = ''] = /^(\d+) +[a-z0-9]+\(/.exec(line) ?? [];
    if (thread) counts.set(thread, (counts.get(thread) ?? 0) + 1);
  }
  return Math.max(...counts.values());
}

/** Returns the run that the doomed server has acknowledged, or null, when the server is dead or has done everything. */
async function runUntilKilled(
  stage: Stage,
  argv: string[],
  refUpdate: RefUpdate,
  commit: string,
): Promise<string | null> {
  let doomed: Runner;
  try {
    doomed = await stage.start({ program: argv, environment: ENVIRONMENT });
  } catch {
    return null;
  }
  let dead = false;
  void doomed.exited.then(() => {
    dead = true;
  });
  const delivery = await deliverRefUpdate(stage, doomed, refUpdate);
  await until('the end of the server or of the run', () =>
    dead || stage.github.statuses.latest(commit)?.state === 'success' ? true : null,
  );
  await killProcessesMentioning(stage.folder);
  return delivery.status === 200 ? acceptedRun(delivery) : null;
}

async function killAtCall(stage: Stage, calls: string, n: number): Promise<void> {
  const { commit, ...refUpdate } = await pushToNewServer(stage, `${calls} ${n}`);
  const acknowledged = await runUntilKilled(stage, serverKilledAt(calls, n), refUpdate, commit);
  const next = await stage.start({ environment: ENVIRONMENT });
  const found = acknowledged ? await next.getJson(`/runs/${acknowledged}`) : null;
  if (found) expect(found.status, `the acknowledged run, killed at call ${n}`).toBe(200);
  // A delivery that was not acknowledged is sent again, as a person would do with GitHub's button.
  const runId = acknowledged ?? acceptedRun(await deliverRefUpdate(stage, next, refUpdate));
  await next.waitForRun(runId, 'final');
  await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
  expect((await stage.journal.read()).overlaps).toEqual([]);
  await next.kill();
}

function chosenPoints(last: number, points: number): number[] {
  const count = ALL_POINTS ? last : Math.min(points, last);
  return Array.from({ length: count }, (_, index) => Math.max(1, Math.round(((index + 0.5) * last) / count)));
}

describe('A server that is killed', () => {
  it.for(CALLS)(
    'F15: at any write of $what has stored what it acknowledged, and its run ends',
    { timeout: ALL_POINTS ? 3_600_000 : 600_000 },
    async ({ calls, points }, context: TestContext) => {
      await straceOrSkip(context);
      const stage = await setTestStage('kill-everywhere');
      try {
        const last = await countCalls(stage, calls);
        const chosen = chosenPoints(last, points);
        console.log(`Killed at ${chosen.join(', ')} of ${last} calls of ${calls}`);
        for (const n of chosen) await killAtCall(stage, calls, n);
      } finally {
        // The traced server may still run when strace has ended.
        await killProcessesMentioning(stage.folder);
      }
    },
  );
});
