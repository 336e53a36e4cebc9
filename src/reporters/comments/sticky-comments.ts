/** Decides for the three kinds of comments on pull requests which runs have one, and writes their text. */

import type { GitHubComments } from '../../github/github-comments.ts';
import { NO_ROOT_CHANGED } from '../../runs/plan-comment.ts';
import { isFinal, type PlanRun, type PreviewRun } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type ClientOptions, commentsOf, type TargetOf } from '../github-target.ts';
import { commandReply, replyKey, replyMark } from './command-reply.ts';
import type { StickyComment } from './comment-sender.ts';
import { type CheckReport, planComment, planMark, type RootReport } from './plan-comment.ts';
import { PREVIEW_MARK, previewComment } from './preview-comment.ts';

export interface PreviewCommentsOptions {
  store: Pick<RunStore, 'latestEvent'>;
  targetOf: TargetOf;
  client: ClientOptions;
  runUrl(runId: string): string;
}

const NO_TARGET = { problem: 'The repository, or its token, is not in the configuration any more.' };

const SHOWN_OF_PREVIEW: ReadonlySet<PreviewRun['state']> = new Set(['succeeded', 'failed', 'errored']);

export function previewComments(options: PreviewCommentsOptions): StickyComment<'preview'> {
  const { store, targetOf, client, runUrl } = options;
  return {
    reporter: 'pull-request-comment',
    kind: 'preview',
    keyOf: ({ input }) => `${input.repository ?? ''}#${input.pullRequest}`,
    isShown: ({ state }) => SHOWN_OF_PREVIEW.has(state),
    async compose(run) {
      const target = targetOf(run);
      if (target === null) return NO_TARGET;
      const explanation = (await store.latestEvent(run.id, 'run.explained'))?.explanation ?? null;
      const body = previewComment({ run, explanation, url: runUrl(run.id) });
      const { owner, repo } = target;
      const { pullRequest } = run.input;
      const request = { owner, repo, pullRequest, body, mark: PREVIEW_MARK };
      return { client: commentsOf(target, client), request };
    },
  };
}

export interface CommandRepliesOptions extends Omit<PreviewCommentsOptions, 'store'> {
  store: Pick<RunStore, 'steps'>;
}

export function commandReplies(options: CommandRepliesOptions): StickyComment<'command'> {
  const { store, targetOf, client, runUrl } = options;
  return {
    reporter: 'pull-request-comment',
    kind: 'command',
    keyOf: replyKey,
    // The plan has its own comment, which is the answer.
    isShown: ({ state, input }) => isFinal(state) && !(state === 'succeeded' && input.command === 'plan'),
    async compose(run) {
      const target = targetOf(run);
      if (target === null) return NO_TARGET;
      const { owner, repo } = target;
      const { pullRequest } = run.input;
      const body = commandReply({ run, steps: await store.steps(run.id), url: runUrl(run.id) });
      const request = { owner, repo, pullRequest, body, mark: replyMark(run) };
      return { client: commentsOf(target, client), request };
    },
  };
}

export interface PlanCommentsOptions {
  store: Pick<RunStore, 'steps' | 'eventsOf'>;
  /** Which token writes the comment. Plans with another credential have another sender. */
  credential: PlanRun['input']['credential'];
  /** Resolves to null if the token cannot be read any more. */
  openClient(run: PlanRun): Promise<GitHubComments | null>;
  runUrl(runId: string): string;
}

type Checked = Extract<RunEvent, { type: 'run.checked' }>;

const SHOWN_OF_PLAN: ReadonlySet<PlanRun['state']> = new Set([
  'awaiting_approval',
  'succeeded',
  'failed',
  'errored',
  'timed_out',
  'cancelled',
]);

export function planComments(options: PlanCommentsOptions): StickyComment<'plan'> {
  const { store, credential, openClient, runUrl } = options;
  return {
    reporter: 'plan-comment',
    kind: 'plan',
    concerns: ({ input }) => input.credential === credential,
    keyOf: ({ concurrencyGroup }) => concurrencyGroup,
    isShown: ({ state }) => SHOWN_OF_PLAN.has(state),
    async compose(run) {
      const client = await openClient(run);
      if (!client) return { problem: 'The token that would write the comment cannot be read any more.' };
      const { repository, pullRequest, planId } = run.input;
      const [owner = '', repo = ''] = repository.split('/');
      const body = planComment({
        run,
        roots: await readRoots(store, run),
        remarks: await readRemarks(store, run),
        url: runUrl(run.id),
      });
      // If no root is changed, the commit status says enough, unless the comment still shows the plan of an earlier head.
      const editsOnly = run.message === NO_ROOT_CHANGED;
      return { client, request: { owner, repo, pullRequest, body, mark: planMark(planId), editsOnly } };
    },
  };
}

/** Returns the warnings of the run. An attempt that was cut off may have given the same warning before. */
async function readRemarks(store: PlanCommentsOptions['store'], { id }: PlanRun): Promise<string[]> {
  const notices = await store.eventsOf(id, 'run.notice');
  return [...new Set(notices.flatMap(({ level, message }) => (level === 'warning' ? [message] : [])))];
}

/** Returns the result of each root, in the order of the steps. If attempts were cut off, only the last one counts. */
async function readRoots(store: PlanCommentsOptions['store'], run: PlanRun): Promise<RootReport[]> {
  const planned = await store.eventsOf(run.id, 'run.planned');
  const diagnosed = await store.eventsOf(run.id, 'run.diagnosed');
  const checked = await store.eventsOf(run.id, 'run.checked');
  return (await store.steps(run.id)).flatMap(({ id }): RootReport[] => {
    const [, command, name] = /^(clone|plan)(?: (.+))?$/s.exec(id) ?? [];
    if (command === undefined) return [];
    const directory = command === 'clone' ? null : (name ?? run.input.roots?.[0]?.directory ?? '.');
    const steps = command === 'clone' ? ['clone'] : [id, id.replace('plan', 'init')];
    const plan = planned.findLast(({ step }) => steps.includes(step));
    const problem = diagnosed.findLast(({ step }) => steps.includes(step));
    if (plan && plan.seq > (problem?.seq ?? 0)) {
      const checks = checksOf(
        checked.filter(({ seq }) => seq > plan.seq),
        name,
      );
      return [{ directory, plan, problem: null, checks }];
    }
    return problem ? [{ directory, plan: null, problem, checks: [] }] : [];
  });
}

/** Returns the checks of one root. The steps name the root, unless it is the only one. */
function checksOf(checked: readonly Checked[], root: string | undefined): CheckReport[] {
  return checked.flatMap((event) => {
    const [, name, of] = /^check-([\w-]+)(?: (.+))?$/s.exec(event.step) ?? [];
    return name !== undefined && of === root ? [{ ...event, name }] : [];
  });
}
