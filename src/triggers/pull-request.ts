/** POST /webhook, event pull_request: a new head of a pull request becomes a preview, stored before the answer. */

import type { Context } from 'hono';
import { z } from 'zod';
import { RequestError } from '../errors.ts';
import { enqueuePreview } from '../runs/enqueue.ts';
import type { RunStore } from '../runs/run-store.ts';
import type { Inbox } from './inbox.ts';

export interface PullRequestOptions {
  store: RunStore;
  inbox: Inbox;
  branch: string;
  /** `owner/name` that pull requests must be opened in; null accepts any. */
  repository: string | null;
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
    head: z.object({ sha: z.string().regex(/^[0-9a-f]{40}$/) }),
    base: z.object({ ref: z.string() }),
  }),
  repository: z.object({ full_name: z.string() }),
  sender: z.object({ login: z.string().nullish() }).nullish(),
});
type Payload = z.output<typeof pullRequestSchema>;

/** Gives the answer, by the table of docs/previews.md. Throws RequestError 400 for a body of another form. */
export async function answerPullRequest(
  options: PullRequestOptions,
  context: Context,
  body: unknown,
): Promise<object> {
  const { store, inbox, branch, runUrl } = options;
  const parsed = pullRequestSchema.safeParse(body);
  if (!parsed.success) throw new RequestError(400, 'The body is not a pull request payload');
  const reason = reasonToIgnore(parsed.data, options);
  if (reason) {
    await inbox.decided(context, 'ignored', reason);
    return { status: 'ignored', reason };
  }
  const { pull_request: pull, sender } = parsed.data;
  const deliveryId = inbox.idOf(context);
  const { run } = await enqueuePreview(store, {
    trigger: { source: 'pull_request', actor: sender?.login ?? null, deliveryId },
    input: { branch, revision: pull.head.sha, pullRequest: pull.number },
    dedupeKey: deliveryId && `delivery:${deliveryId}`,
    delivery: {
      event: 'pull_request',
      detail: `Pull request #${pull.number} at ${pull.head.sha.slice(0, 8)}`,
    },
  });
  const { number } = pull;
  const commit = pull.head.sha.slice(0, 8);
  return { status: 'accepted', pull_request: number, commit, run_id: run.id, url: runUrl(run.id) };
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
