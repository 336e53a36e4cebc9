/** POST /webhook: a push, a pull request or a comment becomes a run that is stored before the answer. */

import type { Context, Handler } from 'hono';
import { RequestError } from '../../errors.ts';
import { enqueueSync } from '../../runs/enqueue.ts';
import { askedRevision, type Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { MEBIBYTE } from '../../units.ts';
import type { Secret } from '../signature.ts';
import { type Gate, readSignedJson } from '../signed-body.ts';
import { answerComment, type CommentOptions } from './comment-command.ts';
import { type Inbox, isSameRepository } from './inbox.ts';
import { answerPullRequest, type PullRequestOptions } from './pull-request.ts';
import { type Push, parsePush, revisionOf } from './push-payload.ts';

export interface WebhookOptions {
  store: RunStore;
  secrets: readonly Secret[];
  gate: Gate;
  branch: string;
  /** The `owner/name` that pushes must come from; null accepts any. */
  repository: string | null;
  previews: boolean;
  plans?: PullRequestOptions['plans'];
  commands?: CommentOptions['commands'];
  /** The services that a push names, for the answer only. `isSure` is false if only git knows them all. */
  namedBy(push: Push): Promise<{ services: string[]; isSure: boolean }>;
  runUrl(runId: string): string;
  inbox: Inbox;
  /** Called when a push was answered without a run. */
  onBranchMoved(): void;
}

/** GitHub never delivers more than 25 MB. */
const MAX_BODY_BYTES = 25 * MEBIBYTE;

/** Answers by the table of docs/webhook.md; the texts are a contract with clients. */
export function createGitHubWebhook(options: WebhookOptions): Handler {
  const { inbox } = options;
  return async function githubWebhook(context) {
    try {
      const payload = await readSignedJson(context, { ...options, maxBytes: MAX_BODY_BYTES });
      return context.json(await answer(options, context, payload));
    } catch (error) {
      if (error instanceof RequestError) inbox.refused(context, error.message);
      throw error;
    }
  };
}

async function answer(options: WebhookOptions, context: Context, payload: unknown): Promise<object> {
  const { inbox } = options;
  const event = inbox.eventOf(context);
  if (event === 'pull_request' && (options.previews || options.plans)) {
    return answerPullRequest(options, context, payload);
  }
  const { commands } = options;
  if (event === 'issue_comment' && commands) return answerComment({ ...options, commands }, context, payload);
  if (event !== 'push') {
    await inbox.decided(context, 'ignored', `Event ${event || 'without a name'}`);
    return { status: 'ignored', event };
  }
  const push = parsePush(payload);
  if (!push) throw new RequestError(400, 'The body is not a push payload');
  const reason = reasonToIgnore(push, options);
  if (reason) return inbox.ignored(context, reason);
  const { services, isSure } = await options.namedBy(push);
  if (services.length === 0 && push.complete && isSure) {
    const message = 'No service files changed';
    await inbox.decided(context, 'no_changes', message);
    // The payload is only a hint: git and the ledger decide.
    options.onBranchMoved();
    return { status: 'no_changes', message };
  }
  return accept(options, context, push, services);
}

function reasonToIgnore(push: Push, { branch, repository }: WebhookOptions): string | null {
  if (push.ref !== `refs/heads/${branch}`) return `Not ${branch} branch`;
  if (push.deleted) return `Branch ${branch} deleted`;
  if (repository === null || push.repository === null || isSameRepository(push.repository, repository)) {
    return null;
  }
  return `Not repository ${repository}`;
}

async function accept(
  { store, inbox, branch, runUrl }: WebhookOptions,
  context: Context,
  push: Push,
  services: string[],
): Promise<object> {
  const deliveryId = inbox.idOf(context);
  const { run } = await enqueueSync(store, {
    trigger: { source: 'webhook', actor: push.sender, deliveryId },
    input: {
      branch,
      revision: revisionOf(push),
      before: push.before,
      selection: { mode: 'changed' },
      announced: services,
    },
    covers: !push.rewrites,
    dedupeKey: deliveryId && `delivery:${deliveryId}`,
    delivery: { event: 'push', detail: `Push of ${shortCommit(push.after) || 'the branch'}` },
  });
  return accepted(run, push.after, runUrl(run.id));
}

/** Returns the answer. A repeated delivery gets the run of the first one, and so the same answer. */
function accepted(run: Run, after: string, url: string): object {
  return {
    status: 'accepted',
    services: 'announced' in run.input ? run.input.announced : [],
    commit: shortCommit(askedRevision(run) ?? after),
    run_id: run.id,
    url,
  };
}
