/** The preview of a pull request: what merging it would sync, told from commits alone. Nothing of them is run. */

import { describeError, GitError, isDiskFull } from '../../errors.ts';
import type { Mirror } from '../../git/own/mirror.ts';
import type { ScratchRepository } from '../../git/requested/scratch-repository.ts';
import { syncGroup } from '../../runs/kinds/sync.ts';
import type { PreviewRun, RunReason, RunRequest } from '../../runs/run.ts';
import type { Explanation, ServiceDecision } from '../../runs/run-events.ts';
import type { Ledger } from '../../runs/run-store.ts';
import type { Outcome, PipelineContext } from '../pipeline.ts';
import { loadRules } from '../rules/load-rules.ts';
import { digest, type Snapshot, snapshotAt } from '../rules/snapshot.ts';
import { type Explained, explain } from '../selection/explain.ts';
import { short } from '../selection/select-services.ts';
import { environmentLines } from '../sync/config-hash.ts';

export interface PreviewOptions {
  mirror: Mirror;
  /** A place on top of the mirror for what strangers pushed, so that it never enters what is deployed from. */
  openScratch(run: PreviewRun): Promise<ScratchRepository>;
  ledger(scope: string): Promise<Ledger>;
  taskEnvironment: Readonly<Record<string, string>>;
}

/** Never throws for what git does; throws when the signal ends it and for our own defects. */
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
    const reason = context.signal.aborted ? null : reasonOf(error);
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
  const ledger = await options.ledger(syncGroup(branch));
  const explained = await explain({
    repository,
    runId: run.id,
    revision: merged.commit,
    // As the push of the merge would say.
    befores: [base],
    ledger,
    selection: { mode: 'changed' },
    force: false,
    rollback: false,
    unpin: false,
    postponed: [],
    environmentDigest: digest(environmentLines(options.taskEnvironment)),
  });
  const { rules } = await loadRules(repository, base, ledger.rules);
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
 * What is due whatever becomes of the pull request is told apart from what it changes, and changed files are those
 * of the merge.
 */
function asPreview({ explanation, target }: Explained, before: Snapshot, head: string): Explanation {
  const now = new Map(target.services.map((service) => [service.id, service]));
  const untouched = new Set(
    before.services
      .filter(({ id, folder, task, tree, shared }) => {
        const service = now.get(id);
        const same = service?.folder === folder && service.task === task;
        return same && service.tree === tree && service.shared === shared;
      })
      .map(({ id }) => id),
  );
  const known = new Set(before.services.map(({ id }) => id));
  const services = explanation.services.map((decided): ServiceDecision => {
    const isDue =
      ((decided.decision === 'run' || decided.decision === 'blocked') && untouched.has(decided.service)) ||
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
  const count = services.filter(({ decision }) => decision === 'run').length;
  const what = count === 0 ? 'nothing' : `${count} service(s)`;
  return { state: 'succeeded', reason: null, message: `Merging this will sync ${what}${condition}` };
}

/**
 * Fetches the head that was asked for; resolves to the one that stands now when that is another. A ref that is
 * merely behind does not count: not all of GitHub's servers may know the newest head yet.
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

/** A delivery that came late: the head that stands now is looked at in its place. */
function outdated(
  { kind, trigger, input, concurrencyGroup, coalesce }: PreviewRun,
  current: string,
): Outcome {
  const asked = { ...input, revision: current };
  const followUp: RunRequest = { kind, trigger, input: asked, concurrencyGroup, coalesce, dedupeKey: null };
  const message = `The pull request is at ${short(current)} by now`;
  return { state: 'superseded', reason: 'covered_by_newer', message, followUp };
}

function reasonOf(error: unknown): RunReason | null {
  if (isDiskFull(error)) return 'disk_full';
  if (!(error instanceof GitError)) return null;
  if (error.kind === 'disk_full') return 'disk_full';
  return error.kind === 'unknown_revision' ? 'unknown_revision' : 'git_unavailable';
}
