/** Plays a promotion from staging to production, and checks that only somebody else can approve it. */

import { deepEqual, equal } from 'node:assert/strict';
import { z } from 'zod';
import { shortCommit } from '../../src/runs/texts/short-commit.ts';
import { watchJournal } from './push.ts';
import type { Scene } from './rehearsal.ts';
import { PEOPLE, type Person } from './settings.ts';

const askedSchema = z.object({
  status: z.literal('awaiting_approval'),
  run_id: z.string(),
  revision: z.string(),
  services: z.array(z.string()),
});

/** Ada asks, and Grace approves. `message` is that of the run and of the commit status. */
export async function promoteAndWatch(scene: Scene, reason: string, message: string): Promise<void> {
  const { narrator, runner, stage } = scene;
  const ran = await watchJournal(scene, 'production');
  narrator.line('command of ada', `iac-runner promote production --reason '${reason}'`);
  const asked = askedSchema.parse(
    JSON.parse(await scene.command('promote', 'production', '--reason', reason, '--json')),
  );
  const { run_id: runId, revision, services } = asked;
  narrator.line('shown, and waiting', `${services.length} services would run at ${shortCommit(revision)}`);
  const own = await approve(scene, runId, 'ada');
  equal(own.status, 403, 'Ada approved her own request.');
  narrator.line('ada approves', `${own.status}: ${own.error}`);
  const other = await approve(scene, runId, 'grace');
  equal(other.status, 200, `Grace could not approve: ${other.error}`);
  narrator.line('grace approves', `${other.status}, and production is synced`);
  const run = await runner.waitForRun(runId, 'succeeded');
  narrator.line('result', narrator.paint('green', run.message));
  const tasks = [...services].sort().map((service) => ({ service, commit: revision }));
  deepEqual(await ran(), tasks, 'Other tasks ran in production.');
  equal(run.message, message);
  const context = 'IaC Runner / Sync (production)';
  equal(
    (await stage.github.statuses.waitFor({ sha: revision, state: 'success', context })).description,
    message,
  );
  narrator.lines(`status on ${shortCommit(revision)}`, statusesOf(scene, revision));
}

/** The newest status of the commit in each context. */
function statusesOf({ stage, narrator }: Scene, sha: string): string[] {
  const newest = new Map(stage.github.statuses.history(sha).map((status) => [status.context, status]));
  return [...newest.values()].map(
    ({ context, state, description }) => `${context}: ${narrator.paint('green', state)}, ${description}`,
  );
}

async function approve(
  { runner }: Scene,
  runId: string,
  person: Person,
): Promise<{ status: number; error: string }> {
  const response = await fetch(`${runner.url}/runs/${runId}/approve`, {
    method: 'POST',
    headers: { accept: 'application/json', authorization: `Bearer ${PEOPLE[person]}` },
  });
  const { error = '' } = z.object({ error: z.string().optional() }).parse(await response.json());
  return { status: response.status, error };
}
