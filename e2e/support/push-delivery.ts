/**
 * Delivers the webhooks of pushes separately from the pushes: late, repeated, in another order, or with another
 * content.
 */

import { z } from 'zod';
import { buildPushPayload } from './push-payload.ts';
import { acceptedRun } from './run-actions.ts';
import type { Runner } from './runner.ts';
import type { DetailedRun } from './runner-client.ts';
import { WEBHOOK_SECRET } from './runner-environment.ts';
import type { Stage } from './stage.ts';
import type { Delivery } from './webhook-sender.ts';

/** The change of a branch by a push. */
export type RefUpdate = Awaited<ReturnType<Stage['repository']['push']>>;

/** Delivers the webhook of a push, with a new id each time. `change` alters the payload. */
export async function deliverRefUpdate(
  stage: Stage,
  runner: Runner,
  refUpdate: RefUpdate,
  change: object = {},
): Promise<Delivery> {
  const { github, repository } = stage;
  const payload = await buildPushPayload({
    repository: { path: repository.path, fullName: github.fullName },
    ...refUpdate,
  });
  const url = `${runner.url}/webhook`;
  return github.deliver({ url, secret: WEBHOOK_SECRET, event: 'push', payload: { ...payload, ...change } });
}

/** Delivers the webhook and returns the id of the run that it created. */
export async function deliveredRun(
  stage: Stage,
  runner: Runner,
  refUpdate: RefUpdate,
  change: object = {},
): Promise<string> {
  return acceptedRun(await deliverRefUpdate(stage, runner, refUpdate, change));
}

const whySchema = z.object({ why: z.object({ notes: z.array(z.string()) }) });

/** Returns the notes in the run's explanation of its selection. */
export function notesOf(run: DetailedRun): string {
  return whySchema.parse(run).why.notes.join('\n');
}
