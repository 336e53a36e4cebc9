/** POST /webhook, event pull_request: a new head becomes a preview, a plan or both, stored before the answer. */

import type { Context } from 'hono';
import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { enqueueRun } from '../../runs/enqueue.ts';
import { planGroup } from '../../runs/kinds/plan.ts';
import type { PlanInput } from '../../runs/plan-comment.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import type { Inbox } from './inbox.ts';

export interface PullRequestOptions {
  store: RunStore;
  inbox: Inbox;
  branch: string;
  /** `owner/name` that pull requests must be opened in; null accepts any. */
  repository: string | null;
  /** Whether it is told what merging would sync. */
  previews: boolean;
  /** Where heads are planned from; null when they are not. Addresses are free of credentials. */
  plans?: { cloneUrl: string; apiUrl: string } | null | undefined;
  runUrl(runId: string): string;
}

/** Actions after which merging may mean something new. */
const ACTIONS: ReadonlySet<string> = new Set(['opened', 'reopened', 'synchronize', 'ready_for_review']);

const pullRequestSchema = z.object({
  action: z.string(),
  /** Of an edit: what stood there before, of what was changed. */
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

/** Gives the answer, by the tables of docs/previews.md and docs/plans.md. Throws RequestError 400 for another form. */
export async function answerPullRequest(
  options: PullRequestOptions,
  context: Context,
  body: unknown,
): Promise<object> {
  const parsed = pullRequestSchema.safeParse(body);
  if (!parsed.success) throw new RequestError(400, 'The body is not a pull request payload');
  const reason = reasonToIgnore(parsed.data, options);
  if (reason) {
    if (parsed.data.action === 'closed') await endPlans(options, parsed.data);
    await options.inbox.decided(context, 'ignored', reason);
    return { status: 'ignored', reason };
  }
  const { number, head } = parsed.data.pull_request;
  const asked = {
    deliveryId: options.inbox.idOf(context),
    detail: `Pull request #${number} at ${shortCommit(head.sha)}`,
  };
  const preview = options.previews ? await askForPreview(options, parsed.data, asked) : null;
  const plan = options.plans ? await askForPlan(options, parsed.data, asked) : null;
  const [first, second] = [preview, plan].filter((id) => id !== null);
  return {
    status: 'accepted',
    pull_request: number,
    commit: shortCommit(head.sha),
    run_id: first,
    url: options.runUrl(first ?? ''),
    ...(second === undefined ? {} : { plan_run_id: second, plan_url: options.runUrl(second) }),
  };
}

interface Asked {
  deliveryId: string | null;
  detail: string;
}

/** The run's id. */
async function askForPreview(
  { store, branch }: PullRequestOptions,
  { pull_request: pull, sender }: Payload,
  { deliveryId, detail }: Asked,
): Promise<string> {
  const { run } = await enqueueRun(store, 'preview', {
    trigger: { source: 'pull_request', actor: sender?.login ?? null, deliveryId },
    input: { branch, revision: pull.head.sha, pullRequest: pull.number },
    dedupeKey: deliveryId && `delivery:${deliveryId}`,
    delivery: { event: 'pull_request', detail },
  });
  return run.id;
}

/** The run's id. */
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
    dedupeKey: deliveryId && `delivery:${deliveryId}:plan`,
    // A delivery is kept once.
    ...(options.previews ? {} : { delivery: { event: 'pull_request', detail } }),
  });
  return run.id;
}

function planInput(
  { plans }: PullRequestOptions,
  { pull_request: { number, head, base }, repository: { full_name: repository } }: Payload,
): PlanInput | null {
  return plans
    ? {
        ...plans,
        repository,
        pullRequest: number,
        revision: head.sha,
        headRef: head.ref ?? null,
        baseRef: base.ref,
        planId: 'pr',
        roots: null,
        fromFork: head.repo?.full_name.toLowerCase() !== repository.toLowerCase(),
        credential: 'configured',
        requestId: null,
      }
    : null;
}

/** Nobody wants to know any more what a closed pull request would change. */
async function endPlans(options: PullRequestOptions, payload: Payload): Promise<void> {
  const input = planInput(options, payload);
  const isOther = options.repository?.toLowerCase() !== payload.repository.full_name.toLowerCase();
  if (input === null || isOther) return;
  for (const { id } of await options.store.active(planGroup(input))) {
    await options.store.requestCancel(id, 'closing the pull request');
  }
}

function reasonToIgnore(
  { action, changes, pull_request: { base }, repository: { full_name: name } }: Payload,
  { branch, repository }: PullRequestOptions,
): string | null {
  // To another title or text merging means the same, into another branch it does not.
  const isRebased = action === 'edited' && changes?.base !== undefined;
  if (!ACTIONS.has(action) && !isRebased) return `Action ${action.replace(/[^\w.-]/g, '').slice(0, 64)}`;
  if (base.ref !== branch) return `Not ${branch} branch`;
  const isOther = repository !== null && name.toLowerCase() !== repository.toLowerCase();
  return isOther ? `Not repository ${repository}` : null;
}
