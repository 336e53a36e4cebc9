/** Plays one push from the commit to its status on GitHub, shows it live, and checks that it does what the story says. */

import { deepEqual, equal } from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { CommitStatus } from '../../e2e/support/github-statuses.ts';
import { openJournal } from '../../e2e/support/journal.ts';
import type { DetailedRun } from '../../e2e/support/runner-client.ts';
import { shortCommit } from '../../src/runs/texts/short-commit.ts';
import type { Scene } from './rehearsal.ts';
import { streamRun, styleOf } from './run-stream.ts';

/** The expected result of a push. Any other result ends the demo. */
export interface Expected {
  /** The services whose tasks run, sorted. */
  runs: string[];
  state: string;
  status: CommitStatus['state'];
  /** The message of the run and of the commit status. */
  message: string;
}

export interface Pushed {
  /** The signed link to the run's page. */
  link: string;
  run: DetailedRun;
}

interface Commit {
  id: string;
  /** The paths it changes. */
  files: string[];
}

/** A task that was started, and the commit in its checkout. */
interface Ran {
  service: string;
  commit: string;
}

const acceptedSchema = z.object({
  status: z.literal('accepted'),
  services: z.array(z.string()),
  run_id: z.string(),
  url: z.string(),
});
type Accepted = z.infer<typeof acceptedSchema>;

const decisionSchema = z.object({ service: z.string(), decision: z.string(), because: z.string() });
const detailsSchema = z.object({
  why: z.object({ services: z.array(decisionSchema), unmatched: z.array(z.string()) }),
});

/** Changes a file of the working clone. Throws if the text is not there, so that an outdated act is noticed. */
export async function edit({ stage }: Scene, path: string, from: RegExp | string, to: string): Promise<void> {
  const before = await readFile(join(stage.repository.clone, path), 'utf8');
  const after = before.replace(from, to);
  if (after === before) throw new Error(`${path} holds nothing like ${from}.`);
  await stage.repository.write(path, after);
}

/** Commits what was edited, pushes it, delivers GitHub's webhook, and follows the run to its commit status. */
export async function pushAndWatch(scene: Scene, subject: string, expected: Expected): Promise<Pushed> {
  const commit = await showCommit(scene, subject);
  const ran = await watchJournal(scene);
  const pushedAt = Date.now();
  const accepted = await deliver(scene);
  await showRun(scene, accepted, commit);
  const run = await scene.runner.waitForRun(accepted.run_id, expected.state);
  const shown = await showStatuses(scene, commit, { state: expected.status, pushedAt });

  const tasks = expected.runs.map((service) => ({ service, commit: commit.id }));
  deepEqual([...accepted.services].sort(), expected.runs, 'The answer names other services.');
  deepEqual(await ran(), tasks, 'Other tasks ran.');
  deepEqual([run.message, run.revision], [expected.message, commit.id], 'The run shows something else.');
  deepEqual(
    [shown.description, shown.targetUrl],
    [expected.message, accepted.url],
    'GitHub shows something else.',
  );
  return { link: accepted.url, run };
}

/**
 * Marks the journal that the tasks of an environment write themselves. The returned function returns the tasks that ran since then, sorted
 * by service. So the demo need not trust the runner's own account.
 */
export async function watchJournal(
  { stage }: Scene,
  environment: 'staging' | 'production' = 'staging',
): Promise<() => Promise<Ran[]>> {
  const journal = openJournal(`${stage.journal.path}.${environment}`);
  const before = (await journal.read()).syncs.length;
  return async () => {
    const { syncs, overlaps } = await journal.read();
    deepEqual(overlaps, [], 'Two syncs of one service ran at once.');
    const ran = syncs.slice(before).map(({ service, commit }) => ({ service, commit }));
    return ran.sort((a, b) => (a.service < b.service ? -1 : 1));
  };
}

async function showCommit({ narrator, stage }: Scene, subject: string): Promise<Commit> {
  const id = await stage.repository.commit(subject);
  const paths = await stage.repository.git('diff-tree', '--no-commit-id', '--name-only', '-r', id);
  const files = paths.split('\n');
  narrator.lines('git push', [`${shortCommit(id)} ${narrator.paint('bold', subject)}`, ...files]);
  return { id, files };
}

async function deliver({ narrator, stage, runner }: Scene): Promise<Accepted> {
  const { status, body, durationMs } = await stage.push(runner);
  equal(status, 200, `The webhook was answered ${status}: ${JSON.stringify(body)}`);
  const accepted = acceptedSchema.parse(body);
  narrator.line('signed webhook', `${status} in ${durationMs} ms, accepted: ${accepted.services.join(', ')}`);
  return accepted;
}

/** Shows the chosen services and why, then each line of the tasks as they write it. */
async function showRun(scene: Scene, { run_id: runId, url }: Accepted, commit: Commit): Promise<void> {
  const { narrator } = scene;
  for await (const message of streamRun(url)) {
    if (message.event === 'explained') await showWhy(scene, runId, commit);
    if (message.event !== 'log') continue;
    const { step, spans } = message.data;
    narrator.line(step, spans.map((span) => narrator.paint(styleOf(span), span.text)).join(''));
  }
}

async function showWhy({ narrator, runner }: Scene, runId: string, { files }: Commit): Promise<void> {
  const { body } = await runner.getJson(`/runs/${runId}`);
  const { services, unmatched } = detailsSchema.parse(body).why;
  const chosen = services.filter(({ decision }) => decision === 'run');
  const others = services.filter(({ decision }) => decision === 'not_chosen');
  const reasons = chosen.map(({ service, because }) => `${narrator.paint('bold', service)}: ${because}`);
  narrator.lines('chosen, and why', reasons);
  const strays = unmatched.filter((path) => files.includes(path));
  const remarks = strays.map((path) => `; ${path} belongs to no service`);
  narrator.line('left alone', `${others.length} services, unchanged${remarks.join('')}`);
}

/** Waits for the last status of the commit, then shows all that GitHub got for it. */
async function showStatuses(
  { narrator, stage: { github } }: Scene,
  { id: sha }: Commit,
  { state, pushedAt }: { state: CommitStatus['state']; pushedAt: number },
): Promise<CommitStatus> {
  const last = await github.statuses.waitFor({ sha, state });
  const seconds = ((last.at - pushedAt) / 1_000).toFixed(1);
  const lines = github.statuses.history(sha).map((status) => {
    const word = narrator.paint(STATUS_COLOURS[status.state], status.state);
    return `${word}: ${status.description}${status.id === last.id ? `, ${seconds} s after the push` : ''}`;
  });
  narrator.lines(`status on ${shortCommit(sha)}`, lines);
  return last;
}

const STATUS_COLOURS = { pending: 'yellow', success: 'green', failure: 'red', error: 'red' } as const;
