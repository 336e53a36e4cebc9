/** POST /webhook: a push to the branch becomes a run, stored before the answer. */

import { emitterEventNames } from '@octokit/webhooks';
import type { Context, Handler } from 'hono';
import { RequestError } from '../errors.ts';
import { enqueueSync } from '../runs/enqueue.ts';
import type { Run, SyncInput } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import { type Push, parsePush, revisionOf } from './push-payload.ts';
import type { Secret } from './signature.ts';
import { readSignedJson } from './signed-body.ts';

export interface WebhookOptions {
  store: RunStore;
  secrets: readonly Secret[];
  branch: string;
  /** `owner/name` that pushes must come from; null accepts any. */
  repository: string | null;
  /** The services that changed paths name, for the answer only. */
  servicesNamedBy(paths: Iterable<string>): string[];
  runUrl(runId: string): string;
}

/** Answers by the table of docs/webhook.md; the texts are a contract with clients. */
export function createGitHubWebhook(options: WebhookOptions): Handler {
  return async function githubWebhook(context) {
    const payload = await readSignedJson(context, options);
    const event = context.req.header('x-github-event') ?? '';
    if (event !== 'push') return context.json({ status: 'ignored', event: shownEvent(event) });
    const push = parsePush(payload);
    if (!push) throw new RequestError(400, 'The body is not a push payload');
    const reason = reasonToIgnore(push, options);
    if (reason) return context.json({ status: 'ignored', reason });
    return context.json(await accept(options, context, push));
  };
}

const EVENT_NAMES: ReadonlySet<string> = new Set(emitterEventNames);

/** GitHub's own event names are echoed; anything else is cut to what is safe to show. */
function shownEvent(event: string): string {
  return EVENT_NAMES.has(event) ? event : event.replace(/[^\w.-]/g, '').slice(0, 64);
}

function reasonToIgnore(push: Push, { branch, repository }: WebhookOptions): string | null {
  if (push.ref !== `refs/heads/${branch}`) return `Not ${branch} branch`;
  if (push.deleted) return `Branch ${branch} deleted`;
  // GitHub's names do not differ in case alone.
  const other = push.repository !== null && push.repository.toLowerCase() !== repository?.toLowerCase();
  return repository !== null && other ? `Not repository ${repository}` : null;
}

async function accept(options: WebhookOptions, context: Context, push: Push): Promise<object> {
  const services = options.servicesNamedBy(push.paths);
  if (services.length === 0 && push.complete) {
    return { status: 'no_changes', message: 'No service files changed' };
  }
  const input: SyncInput = {
    branch: options.branch,
    revision: revisionOf(push),
    before: push.before,
    selection: { mode: 'changed' },
    force: false,
    dryRun: false,
    announced: services,
  };
  const deliveryId = context.req.header('x-github-delivery') || null;
  const { run } = await enqueueSync(options.store, {
    trigger: { source: 'webhook', actor: push.sender, deliveryId, retryOf: null },
    input,
    dedupeKey: deliveryId && `delivery:${deliveryId}`,
  });
  return accepted(run, push.after, options);
}

/** Also for a repeated delivery, which gets the first one's run and so the first one's answer. */
function accepted(run: Run, after: string, { runUrl }: WebhookOptions): object {
  return {
    status: 'accepted',
    services: run.input.announced,
    commit: (run.input.revision ?? after).slice(0, 8),
    run_id: run.id,
    url: runUrl(run.id),
  };
}
