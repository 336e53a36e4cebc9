/** POST /webhook: a push, a pull request or a comment becomes a run that is stored before the answer. */

import type { Context, Handler } from 'hono';
import { RequestError } from '../../errors.ts';
import { enqueueSync } from '../../runs/enqueue.ts';
import { askedRevision, type Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { isLike, isSameRepository, placeInput, scopeOf } from '../../runs/sync/place.ts';
import { shortCommit } from '../../runs/texts/short-commit.ts';
import { MEBIBYTE } from '../../units.ts';
import { environmentName } from '../place.ts';
import type { Secret } from '../signature.ts';
import { type Gate, readSignedJson } from '../signed-body.ts';
import { answerComment, type CommentOptions } from './comment-command.ts';
import type { Inbox } from './inbox.ts';
import { answerPullRequest, orOf, type PullRequestOptions, type PullRequestPlace } from './pull-request.ts';
import { type Push, parsePush, revisionOf } from './push-payload.ts';

export interface WebhookOptions {
  store: RunStore;
  secrets: readonly Secret[];
  gate: Gate;
  places: readonly WebhookPlace[];
  /** True if the server has several environments, so that the answer names those that a push reached. */
  namesEnvironments: boolean;
  previews: boolean;
  plans?: PullRequestOptions['plans'];
  commands?: CommentOptions['commands'];
  runUrl(runId: string): string;
  inbox: Inbox;
}

/** A place that takes pushes. */
interface WebhookPlace extends PullRequestPlace {
  /** The services that a push names, for the answer only. `isSure` is false if only git knows them all. */
  namedBy(push: Push): Promise<{ services: string[]; isSure: boolean }>;
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
  if (event === 'issue_comment' && commands?.length) return answerComment(options, context, payload);
  if (event !== 'push') {
    await inbox.decided(context, 'ignored', `Event ${event || 'without a name'}`);
    return { status: 'ignored', event };
  }
  const push = parsePush(payload);
  if (!push) throw new RequestError(400, 'The body is not a push payload');
  const reached = placesReached(push, options.places);
  if ('reason' in reached) return inbox.ignored(context, reached.reason);
  const named = await Promise.all(reached.places.map((to) => whatIsNamed(push, to)));
  const touched = named.filter(({ services, isSure }) => services.length > 0 || !isSure);
  // The payload is only a hint: git and the ledger decide.
  for (const { to } of named) if (!touched.some((other) => other.to === to)) to.onBranchMoved();
  if (touched.length === 0) {
    const message = 'No service files changed';
    await inbox.decided(context, 'no_changes', message);
    return { status: 'no_changes', message };
  }
  return accept(options, context, push, touched);
}

interface Named {
  to: WebhookPlace;
  services: string[];
  isSure: boolean;
}

async function whatIsNamed(push: Push, to: WebhookPlace): Promise<Named> {
  const { services, isSure } = await to.namedBy(push);
  return { to, services, isSure: isSure && push.complete };
}

/** Returns the places that the push is for, or why it is for none. */
function placesReached(
  push: Push,
  places: readonly WebhookPlace[],
): { places: WebhookPlace[] } | { reason: string } {
  const following = places.filter(({ follows }) => isFollowed(push.ref, follows));
  if (following.length === 0) return { reason: `Not ${orOf(places.map(describeFollowed))}` };
  if (push.deleted) return { reason: `${describeRef(push.ref)} deleted` };
  const own = following.filter(
    ({ fullName }) =>
      fullName === null || push.repository === null || isSameRepository(push.repository, fullName),
  );
  const isVague = push.repository === null && new Set(own.map(({ fullName }) => fullName)).size > 1;
  if (isVague) return { reason: 'No repository is named' };
  if (own.length > 0) return { places: own };
  return { reason: `Not repository ${orOf(following.flatMap(({ fullName }) => fullName ?? []))}` };
}

function isFollowed(ref: string, follows: WebhookPlace['follows']): boolean {
  if ('branch' in follows) return ref === `refs/heads/${follows.branch}`;
  const [, tag] = /^refs\/tags\/(.+)$/s.exec(ref) ?? [];
  return tag !== undefined && isLike(tag, follows.tags);
}

function describeFollowed({ follows }: WebhookPlace): string {
  return 'branch' in follows ? `${follows.branch} branch` : `a tag ${follows.tags}`;
}

function describeRef(ref: string): string {
  return ref.replace(/^refs\/heads\//, 'Branch ').replace(/^refs\/tags\//, 'Tag ');
}

/** Stores a run for each place. Every one has a record of the delivery, which can be replayed. */
async function accept(
  options: WebhookOptions,
  context: Context,
  push: Push,
  touched: readonly Named[],
): Promise<object> {
  const runs: Run[] = [];
  for (const named of touched) runs.push(await askForSync(options, context, push, named));
  const [first] = runs;
  if (!first) throw new Error('No place was reached.');
  const answer = accepted(first, push.after, options.runUrl(first.id));
  if (!options.namesEnvironments) return answer;
  return { ...answer, environments: touched.map(({ to }) => environmentName(to.place)) };
}

async function askForSync(
  { store, inbox }: WebhookOptions,
  context: Context,
  push: Push,
  { to: { place, follows }, services }: Named,
): Promise<Run> {
  const deliveryId = inbox.idOf(context);
  const { environment } = place;
  const commit = shortCommit(push.after) || 'the branch';
  const { run } = await enqueueSync(store, {
    trigger: { source: 'webhook', actor: push.sender, deliveryId },
    input: {
      ...placeInput(place),
      // The object of a tag may not be a commit, and the newest tag may be another one.
      revision: 'branch' in follows ? revisionOf(push) : null,
      before: push.before,
      selection: { mode: 'changed' },
      announced: services,
    },
    ...(push.subject !== null && { subject: push.subject }),
    covers: !push.rewrites,
    dedupeKey: deliveryId && `delivery:${deliveryId}${environment === null ? '' : `:${scopeOf(place)}`}`,
    delivery: {
      event: 'push',
      detail: `Push of ${commit}${environment === null ? '' : ` for ${environment}`}`,
    },
  });
  return run;
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
