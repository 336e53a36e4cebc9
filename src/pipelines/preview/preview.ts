/** The preview of a pull request: explains what a merge would sync, from commits alone. Runs none of their code. */

import { describeError, GitError } from '../../errors.ts';
import type { Mirror } from '../../git/own/mirror.ts';
import type { ScratchRepository } from '../../git/requested/scratch-repository.ts';
import type { PreviewRun, RunRequest } from '../../runs/run.ts';
import type { Explanation, ServiceDecision } from '../../runs/run-events.ts';
import type { Ledger } from '../../runs/run-store.ts';
import type { Hold } from '../../runs/sync/hold.ts';
import { scopeOfInput } from '../../runs/sync/place.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { gitReason } from '../git-reason.ts';
import type { Outcome, PipelineContext } from '../pipeline.ts';
import { loadRules } from '../rules/load-rules.ts';
import { type Snapshot, snapshotAt } from '../rules/snapshot.ts';
import { type Explained, explain } from '../selection/explain.ts';
import { ALL_CHANGED } from '../selection/select-services.ts';
import { environmentDigests } from '../sync/task-environment.ts';

export interface PreviewOptions {
  mirror: Mirror;
  /** A repository on top of the mirror for the commits of strangers, so that they never get into the mirror. */
  openScratch(run: PreviewRun): Promise<ScratchRepository>;
  /** The environment whose sync is previewed; null for the unnamed one. */
  environment: string | null;
  ledger(scope: string): Promise<Ledger>;
  holds(): Promise<readonly Hold[]>;
  taskEnvironment: Readonly<Record<string, string>>;
}

/** The decisions about services that would run now or later. */
const DUE: ReadonlySet<ServiceDecision['decision']> = new Set(['run', 'blocked', 'held'] as const);

/** Throws only if the signal ends the run, and for our own defects. Errors of git end the run. */
export async function preview(
  options: PreviewOptions,
  context: PipelineContext<'preview'>,
): Promise<Outcome> {
  try {
    const { head: base } = await options.mirror.fetch(context.signal);
    const scratch = await options.openScratch(context.run);
    try {
      return await previewIn(scratch, base, options, context);
    } finally {
      await scratch.remove();
    }
  } catch (error) {
    const reason = context.signal.aborted ? null : gitReason(error);
    if (!reason) throw error;
    const message = describeError(error);
    await context.emit({ type: 'run.notice', level: 'warning', message });
    return { state: 'errored', reason, message: 'The pull request could not be looked at' };
  }
}

async function previewIn(
  scratch: ScratchRepository,
  base: string,
  options: PreviewOptions,
  { run, signal, emit }: PipelineContext<'preview'>,
): Promise<Outcome> {
  const { revision: head, branch } = run.input;
  const newer = await newerHead(scratch, run, signal);
  if (newer !== null) return outdated(run, newer);
  const { subject } = await scratch.reader(head).commit(head);
  await emit({ type: 'run.revision', revision: head, subject });

  const merged = await scratch.merge(base, head);
  signal.throwIfAborted();
  const repository = scratch.reader(merged.commit);
  const ledger = await options.ledger(scopeOfInput(run.input));
  const explained = await explain({
    ...ALL_CHANGED,
    repository,
    runId: run.id,
    revision: merged.commit,
    environment: options.environment,
    // After a merge, the payload of GitHub's push would name this commit as its `before`.
    befores: [base],
    ledger,
    holds: await options.holds(),
    environmentDigest: environmentDigests(options.taskEnvironment),
  });
  const { rules } = await loadRules(repository, base, ledger.rules, options.environment);
  const before = await snapshotAt({ repository, rules }, base);
  const explanation = asPreview(explained, before, head);
  await emit({ type: 'run.explained', explanation });
  return conclude(
    explained,
    explanation,
    merged.conflicts ? `, once its conflicts with ${branch} are solved` : '',
  );
}

/**
 * Marks services that are due even without the pull request, because it does not change them. The changed files are
 * those of the merge.
 */
function asPreview({ explanation, target }: Explained, before: Snapshot, head: string): Explanation {
  const now = new Map(target.services.map((service) => [service.id, service]));
  const untouched = new Set(
    before.services
      .filter(({ id, folder, texts, tree, shared, runs }) => {
        const service = now.get(id);
        const same = service?.folder === folder && service.texts === texts && service.runs === runs;
        return same && service.tree === tree && service.shared === shared;
      })
      .map(({ id }) => id),
  );
  const known = new Set(before.services.map(({ id }) => id));
  const services = explanation.services.map((decided): ServiceDecision => {
    const isDue =
      (DUE.has(decided.decision) && untouched.has(decided.service)) ||
      (decided.decision === 'removed' && !known.has(decided.service));
    return isDue ? { ...decided, decision: 'already_due' } : decided;
  });
  return { ...explanation, revision: head, services };
}

function conclude({ loaded }: Explained, { services }: Explanation, condition: string): Outcome {
  const [problem] = loaded.problems;
  if (problem !== undefined) return { state: 'failed', reason: 'rules_invalid', message: problem };
  const invalid = services.find(({ decision }) => decision === 'invalid');
  if (invalid) return { state: 'failed', reason: 'repository_invalid', message: invalid.because };
  const held = services.filter(({ decision }) => decision === 'held').length;
  const count = held + services.filter(({ decision }) => decision === 'run').length;
  const after = held === 0 ? '' : `, ${held} of them after a hold`;
  const what = count === 0 ? 'nothing' : `${count} service(s)${after}`;
  return { state: 'succeeded', reason: null, message: `Merging this will sync ${what}${condition}` };
}

/**
 * Fetches the requested head. Resolves to the current head of the pull request if that is a newer commit. An older one
 * does not count, because some of GitHub's servers may not know the newest head yet.
 */
async function newerHead(
  scratch: ScratchRepository,
  { input: { pullRequest, revision } }: PreviewRun,
  signal: AbortSignal,
): Promise<string | null> {
  const current = await scratch.fetch(`refs/pull/${pullRequest}/head`, signal);
  if (current === revision) return null;
  const asked = await scratch.fetch(revision, signal);
  if (current === null) {
    if (asked !== null) return null;
    throw new GitError(
      'unknown_revision',
      `The repository has neither pull request #${pullRequest} nor commit ${revision}.`,
      { nextAction: 'Check that GIT_REPO_URL is where the pull request was opened.' },
    );
  }
  if (asked === null) return current;
  const located = await scratch.reader(asked).locate([current]);
  return located.get(current) === 'on_branch' ? null : current;
}

/** The delivery came late, so a new run looks at the current head. */
function outdated(
  { kind, trigger, input, concurrencyGroup, coalesce }: PreviewRun,
  current: string,
): Outcome {
  const asked = { ...input, revision: current };
  const followUp: RunRequest = { kind, trigger, input: asked, concurrencyGroup, coalesce, dedupeKey: null };
  const message = `The pull request is at ${shortCommit(current)} by now`;
  return { state: 'superseded', reason: 'covered_by_newer', message, followUp };
}
