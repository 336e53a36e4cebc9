/** Plays the history of a repository as pushes to a real server, and compares what happened with what had to happen. */

import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { git } from '../support/git.ts';
import { type Runner, runProgram } from '../support/runner.ts';
import { WEBHOOK_SECRET } from '../support/runner-environment.ts';
import { type Stage, setStage } from '../support/stage.ts';
import { makeTemporaryFolder, removeFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';
import { type ExpectedPush, expectedOf, type FieldRules, servicesIn } from './expected.ts';
import { notedAt, writeNotePrograms } from './note-program.ts';
import type { FieldPush } from './pushes.ts';

/** What one push did. */
export interface PlayedPush {
  push: FieldPush;
  expected: ExpectedPush;
  /** The number of services after the push. */
  services: number;
  answerMs: number;
  /** From the delivery to the last status; null if the push had nothing to run. */
  endMs: number | null;
  disagreements: string[];
}

/** A server on the bare repository of a stage, whose programs only write down that they ran. */
interface FieldWorld {
  stage: Stage;
  runner: Runner;
  rules: FieldRules;
}

/** Creates a repository that has only the rules file. Call `prepare` to move its branch before the server starts. */
export async function createFieldWorld(
  rulesFile: string,
  rules: FieldRules,
  prepare: (bareRepository: string) => Promise<string>,
): Promise<FieldWorld> {
  const source = await makeTemporaryFolder('field-source');
  await cp(rulesFile, join(source, '.iac-runner.yaml'));
  const stage = await setStage({ name: 'field', invoke: ['note'], source });
  try {
    await removeFolder(source);
    const start = await prepare(stage.repository.path);
    await git(stage.repository.path, ['update-ref', 'refs/heads/main', start]);
    const programs = await writeNotePrograms(join(stage.folder, 'programs'), rules);
    await mkdir(join(stage.folder, 'state'), { recursive: true });
    const environment = { PATH: `${programs}:${process.env.PATH}`, TASK_ENV: 'IAC_EXAMPLE_STATE' };
    const runner = await stage.start({ environment });
    await until('the first look at the branch', () =>
      runner.logs().find(({ msg }) => String(msg).startsWith('the branch is seen for the first time')),
    );
    return { stage, runner, rules };
  } catch (error) {
    await stage.close();
    throw error;
  }
}

/** Moves the branch, delivers the webhook, waits for the end, and compares. */
export async function playPush(world: FieldWorld, push: FieldPush): Promise<PlayedPush> {
  const { stage, runner, rules } = world;
  const { repository, github } = stage;
  const { before, after } = push;
  await git(repository.path, ['update-ref', 'refs/heads/main', after, before]);
  const sentAt = performance.now();
  const { status, body, durationMs } = await github.deliverPush({
    url: `${runner.url}/webhook`,
    secret: WEBHOOK_SECRET,
    repository: { path: repository.path, fullName: github.fullName },
    ...{ ref: 'refs/heads/main', before, after },
  });
  const answer = answerSchema.parse(body);
  const run = answer.run_id === undefined ? null : await endOf(world, answer.run_id, after);
  const endMs = run === null ? null : Math.round(performance.now() - sentAt);
  const files = await filesOf(repository.path, push);
  const expected = expectedOf(rules, files);
  const happened = {
    ...(run ?? NOTHING),
    answered: status === 200 ? (answer.services ?? []) : [`status ${status}`],
    noted: await notedAt(stage.folder, after),
    explained: await explained(world, push),
    statuses: statusesOf(world, after, run?.ids ?? []),
  };
  return {
    push,
    expected,
    services: servicesIn(rules, files.after).size,
    answerMs: durationMs,
    endMs,
    disagreements: disagreementsOf(expected, happened, answer),
  };
}

const answerSchema = z.object({
  status: z.enum(['accepted', 'no_changes']),
  services: z.array(z.string()).optional(),
  run_id: z.string().optional(),
});

/** A run that failed early explains nothing. */
const explanationSchema = z
  .looseObject({ services: z.array(z.looseObject({ service: z.string(), decision: z.string() })) })
  .nullish();

interface Decided {
  ran: string[];
  removed: string[];
}

const NOTHING = { state: 'none', steps: { ran: [], removed: [] }, why: { ran: [], removed: [] }, ids: [] };

interface Ended {
  state: string;
  steps: Decided;
  why: Decided;
  /** The ids of the runs that count for the push. */
  ids: readonly string[];
}

/**
 * Waits for the end of the run and for its last status. After a push without changes the server looks at the branch by
 * itself, so it may find the next push before its delivery. Then a run of the server does a part or all of the work.
 */
async function endOf({ stage, runner }: FieldWorld, runId: string, commit: string): Promise<Ended> {
  const own = await runner.waitForRun(runId, 'final');
  if (own.covered_by !== null) await runner.waitForRun(own.covered_by, 'final');
  await until(`the last status of ${commit}`, () =>
    (stage.github.statuses.latest(commit)?.state ?? 'pending') === 'pending' ? null : true,
  );
  const listed = (await runner.runs()).filter(({ revision }) => revision === commit);
  const runs = await Promise.all(listed.map(({ run_id }) => runner.waitForRun(run_id, 'final')));
  const inState = (state: string) =>
    runs.flatMap(({ steps }) => steps.flatMap((step) => (step.state === state ? step.id : []))).sort();
  const why = runs.map((run) => decidedIn(run.why));
  const wrong = runs.find(({ state }) => state !== 'succeeded');
  return {
    state: wrong ? `${wrong.state}: ${wrong.message}` : 'succeeded',
    steps: { ran: inState('succeeded'), removed: inState('removed') },
    why: { ran: why.flatMap(({ ran }) => ran).sort(), removed: why.flatMap(({ removed }) => removed).sort() },
    ids: [runId, ...runs.map(({ run_id }) => run_id)],
  };
}

function decidedIn(explanation: unknown): Decided {
  const services = explanationSchema.parse(explanation)?.services ?? [];
  const decided = (wanted: string) =>
    services.flatMap(({ service, decision }) => (decision === wanted ? service : [])).sort();
  return { ran: decided('run'), removed: decided('removed') };
}

async function explained({ stage }: FieldWorld, { before, after }: FieldPush): Promise<Decided> {
  const range = ['explain', '-C', stage.repository.path, '--json', `${before}..${after}`];
  const { stdout, stderr } = await runProgram(range, stage.runnerOptions);
  if (stdout === '') throw new Error(`iac-runner explain printed nothing: ${stderr}`);
  return decidedIn(JSON.parse(stdout));
}

/** The last status of each context of the commit. */
function statusesOf({ stage }: FieldWorld, commit: string, runIds: readonly string[]): string[] {
  const all = stage.github.statuses.history(commit);
  return [...new Map(all.map((status) => [status.context, status])).values()].map(
    ({ context, state, targetUrl }) =>
      `${context}: ${state} ${runIds.some((id) => targetUrl?.includes(id)) ? 'of this run' : 'of another run'}`,
  );
}

async function filesOf(repository: string, { before, after }: FieldPush) {
  const listed = async (...args: string[]) =>
    (await git(repository, args)).split('\0').filter((path) => path !== '');
  const changes = ['--no-renames', '--name-only', '-z'];
  const regular = async (commit: string) =>
    (await listed('ls-tree', '-r', '-z', commit)).flatMap((entry) =>
      entry.startsWith('100') ? entry.slice(entry.indexOf('\t') + 1) : [],
    );
  return {
    before: await regular(before),
    after: await regular(after),
    changed: await listed('diff', ...changes, before, after),
    listed: await listed('log', '--format=', '--first-parent', ...changes, `${before}..${after}`),
  };
}

interface Happened extends Ended {
  answered: string[];
  noted: string[];
  explained: Decided;
  statuses: string[];
}

/** One sentence for each difference. */
function disagreementsOf(
  { ran, removed, announced }: ExpectedPush,
  happened: Happened,
  answer: z.infer<typeof answerSchema>,
): string[] {
  const hasRun = answer.run_id !== undefined;
  const decided = { ran, removed };
  const facts: [what: string, is: unknown, wanted: unknown][] = [
    ['the programs that ran', happened.noted, ran],
    ['the services in the answer', happened.answered, announced],
    ['the explanation before', happened.explained, decided],
    ['the state of the run', happened.state, hasRun ? 'succeeded' : 'none'],
    ['the steps of the run', happened.steps, hasRun ? decided : NOTHING.steps],
    ['the explanation of the run', happened.why, hasRun ? decided : NOTHING.why],
    ['the statuses', happened.statuses, hasRun ? ['IaC Runner / Sync: success of this run'] : []],
  ];
  return facts.flatMap(([what, is, wanted]) => {
    const [one, other] = [JSON.stringify(is), JSON.stringify(wanted)];
    return one === other ? [] : `${what}: ${one} in place of ${other}`;
  });
}
