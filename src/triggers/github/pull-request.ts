/**
 * POST /webhook, event pull_request: a new head becomes a preview, a plan or both, which are stored before the
 * answer.
 */

import type { Context } from 'hono';
import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { planDedupeKey } from '../../runs/delivery.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import { planGroup } from '../../runs/kinds/plan.ts';
import type { PlanInput } from '../../runs/plan-comment.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { isSameRepository, type Place, placeInput } from '../../runs/sync/place.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { type Inbox, shownName } from './inbox.ts';

export interface PullRequestOptions {
  store: RunStore;
  inbox: Inbox;
  places: readonly PullRequestPlace[];
  /** True if pull requests are previewed. */
  previews: boolean;
  /**
   * Returns the addresses for planning heads of a repository, without credentials; null if its heads are not planned.
   * Left out: none are.
   */
  plans?: ((repository: string) => { cloneUrl: string; apiUrl: string } | null) | undefined;
  runUrl(runId: string): string;
}

export interface PullRequestPlace {
  place: Place;
  /** The `owner/name` that pull requests must be opened in; null accepts any. */
  fullName: string | null;
  follows: { branch: string } | { tags: string };
}

/** After these actions, merging may change something else than before. */
const ACTIONS: ReadonlySet<string> = new Set(['opened', 'reopened', 'synchronize', 'ready_for_review']);

const pullRequestSchema = z.object({
  action: z.string(),
  /** Only for an edit: the earlier values of the fields that were changed. */
  changes: z.object({ base: z.unknown().optional() }).nullish(),
  pull_request: z.object({
    number: z.number().int().positive(),
    head: z.object({
      sha: z.string().regex(/^[0-9a-f]{40}$/),
      ref: z.string().nullish(),
      repo: z.object({ full_name: z.string() }).nullish(),
    }),
    base: z.object({ ref: z.string() }),
  }),
  repository: z.object({ full_name: z.string() }),
  sender: z.object({ login: z.string().nullish() }).nullish(),
});
type Payload = z.output<typeof pullRequestSchema>;

/**
 * Returns the answer by the tables of docs/previews.md and docs/plans.md. Throws RequestError 400 for a body of
 * another form.
 */
export async function answerPullRequest(
  options: PullRequestOptions,
  context: Context,
  body: unknown,
): Promise<object> {
  const parsed = pullRequestSchema.safeParse(body);
  if (!parsed.success) throw new RequestError(400, 'The body is not a pull request payload');
  const found = placeOf(parsed.data, options.places);
  const reason = actionToIgnore(parsed.data) ?? ('reason' in found ? found.reason : null);
  if (reason !== null || 'reason' in found) {
    if (parsed.data.action === 'closed') await endPlans(options, parsed.data);
    return options.inbox.ignored(context, reason ?? '');
  }
  const { number, head } = parsed.data.pull_request;
  const asked = {
    deliveryId: options.inbox.idOf(context),
    detail: `Pull request #${number} at ${shortCommit(head.sha)}`,
  };
  const preview = options.previews ? await askForPreview(options, found, parsed.data, asked) : null;
  const plan = options.plans ? await askForPlan(options, parsed.data, asked) : null;
  const [first, second] = [preview, plan].filter((id) => id !== null);
  if (first === undefined) return options.inbox.ignored(context, 'Neither previewed nor planned');
  return {
    status: 'accepted',
    pull_request: number,
    commit: shortCommit(head.sha),
    run_id: first,
    url: options.runUrl(first),
    ...(second === undefined ? {} : { plan_run_id: second, plan_url: options.runUrl(second) }),
  };
}

interface Asked {
  deliveryId: string | null;
  detail: string;
}

/** Resolves to the id of the run. */
async function askForPreview(
  { store }: PullRequestOptions,
  { place }: PullRequestPlace,
  { pull_request: pull, sender }: Payload,
  { deliveryId, detail }: Asked,
): Promise<string> {
  const { run } = await enqueueRun(store, 'preview', {
    trigger: { source: 'pull_request', actor: sender?.login ?? null, deliveryId },
    input: { ...placeInput(place), revision: pull.head.sha, pullRequest: pull.number },
    dedupeKey: deliveryId && `delivery:${deliveryId}`,
    delivery: { event: 'pull_request', detail },
  });
  return run.id;
}

/** Resolves to the id of the run, or null if pull requests are not planned. */
async function askForPlan(
  options: PullRequestOptions,
  payload: Payload,
  { deliveryId, detail }: Asked,
): Promise<string | null> {
  const input = planInput(options, payload);
  if (input === null) return null;
  const { run } = await enqueueRun(options.store, 'plan', {
    trigger: { source: 'pull_request', actor: payload.sender?.login ?? null, deliveryId },
    input,
    dedupeKey: deliveryId && planDedupeKey(deliveryId),
    // A delivery is stored once, so the run of the preview stores it.
    ...(options.previews ? {} : { delivery: { event: 'pull_request', detail } }),
  });
  return run.id;
}

function planInput(
  { plans }: PullRequestOptions,
  { pull_request: { number, head, base }, repository: { full_name: repository } }: Payload,
): PlanInput | null {
  const source = plans?.(repository) ?? null;
  return source
    ? {
        ...source,
        repository,
        pullRequest: number,
        revision: head.sha,
        headRef: head.ref ?? null,
        baseRef: base.ref,
        planId: 'pr',
        roots: null,
        fromFork: !isSameRepository(head.repo?.full_name ?? '', repository),
        credential: 'configured',
        requestId: null,
      }
    : null;
}

/** Cancels the plans of a closed pull request, because nobody needs them any more. */
async function endPlans(options: PullRequestOptions, payload: Payload): Promise<void> {
  const input = planInput(options, payload);
  if (input === null) return;
  for (const { id } of await options.store.active(planGroup(input))) {
    await options.store.requestCancel(id, 'closing the pull request');
  }
}

function actionToIgnore({ action, changes }: Payload): string | null {
  // After a new title or text, merging changes the same; into another branch it may change something else.
  const isRebased = action === 'edited' && changes?.base !== undefined;
  return ACTIONS.has(action) || isRebased ? null : `Action ${shownName(action)}`;
}

/** Returns the first place that a merge would be synced to, or why there is none. */
function placeOf(
  { pull_request: { base }, repository: { full_name: name } }: Payload,
  places: readonly PullRequestPlace[],
): PullRequestPlace | { reason: string } {
  const following = places.filter(({ follows }) => 'branch' in follows && follows.branch === base.ref);
  const [found] = following.filter(({ fullName }) => fullName === null || isSameRepository(name, fullName));
  if (found) return found;
  const branches = places.flatMap(({ follows }) => ('branch' in follows ? `${follows.branch} branch` : []));
  if (following.length === 0) return { reason: `Not ${orOf(branches)}` };
  return { reason: `Not repository ${orOf(following.flatMap(({ fullName }) => fullName ?? []))}` };
}

/** Joins names for a sentence, each once. */
export function orOf(words: readonly string[]): string {
  return [...new Set(words)].join(' or ');
}
