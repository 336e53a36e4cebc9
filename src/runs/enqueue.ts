/** The one way into the store: from what a trigger understood to a stored run. */

import { type CommandInput, commandGroup } from './command.ts';
import type { NewDelivery } from './delivery.ts';
import { type DeployInput, deployGroup } from './deployment.ts';
import { type PlanInput, planGroup } from './plan-comment.ts';
import { type PreviewInput, previewGroup, type Run, type SyncInput, syncGroup, type Trigger } from './run.ts';
import type { Nonce, RunStore } from './run-store.ts';
import { meaningOf } from './sync-intent.ts';

interface Asked {
  trigger: Pick<Trigger, 'source'> & Partial<Trigger>;
  dedupeKey?: string | null;
  /** The delivery behind it, stored in the same transaction. */
  delivery?: Pick<NewDelivery, 'event' | 'detail'>;
}

export interface SyncRequest extends Asked {
  /** What is left out is null, false or empty. */
  input: Pick<SyncInput, 'branch' | 'selection'> & Partial<SyncInput>;
  /** False for a push that does not contain those before it: their outcome is not its own. */
  covers?: boolean;
  /** Spent with the run, so that a request which could not be stored can be sent again. */
  nonce?: Nonce | undefined;
}

export interface PreviewRequest extends Asked {
  input: PreviewInput;
}

export interface DeployRequest extends Asked {
  input: DeployInput;
  priority: number;
  labels: string[];
  sealed: string | undefined;
}

export interface PlanRequest extends Asked {
  input: PlanInput;
  sealed?: string | undefined;
}

export interface CommandRequest extends Omit<Asked, 'dedupeKey'> {
  input: CommandInput;
}

const NOBODY: Omit<Trigger, 'source'> = { actor: null, deliveryId: null, retryOf: null };
const PLAIN: Omit<SyncInput, 'branch' | 'selection'> = {
  revision: null,
  before: null,
  force: false,
  dryRun: false,
  postponed: [],
  unpin: false,
  announced: [],
};

/**
 * Stores a sync. When it resolves the run is on the disk; it throws StoreUnavailableError when that could not
 * be done. A run that follows the branch, and leaves the choice to git and the ledger, is covered by any later one like
 * it.
 */
export function enqueueSync(
  store: RunStore,
  { covers = true, dedupeKey = null, delivery, nonce, ...request }: SyncRequest,
): Promise<{ run: Run; created: boolean }> {
  const trigger: Trigger = { ...NOBODY, ...request.trigger };
  const input: SyncInput = { ...PLAIN, ...request.input };
  const { intent, coalesces } = meaningOf({ trigger, input });
  return store.enqueue(
    {
      kind: 'sync',
      trigger,
      input: { ...input, intent },
      dedupeKey,
      coalesce: covers && coalesces,
      concurrencyGroup: syncGroup(input.branch),
    },
    { delivery: accepted(trigger, delivery), nonce },
  );
}

/** Stores a preview, likewise. One of a newer head of the pull request covers it. */
export function enqueuePreview(
  store: RunStore,
  { dedupeKey = null, delivery, input, ...request }: PreviewRequest,
): Promise<{ run: Run; created: boolean }> {
  const trigger: Trigger = { ...NOBODY, ...request.trigger };
  const concurrencyGroup = previewGroup(input.pullRequest);
  return store.enqueue(
    { kind: 'preview', trigger, input, dedupeKey, coalesce: true, concurrencyGroup },
    { delivery: accepted(trigger, delivery) },
  );
}

/** Stores a deployment, likewise; `sealed` holds what no file may show. */
export function enqueueDeploy(
  store: Pick<RunStore, 'enqueue'>,
  { dedupeKey = null, delivery, sealed, input, priority, labels, ...request }: DeployRequest,
): Promise<{ run: Run; created: boolean }> {
  const trigger: Trigger = { ...NOBODY, ...request.trigger };
  const concurrencyGroup = deployGroup(input.gitUrl, input.path);
  return store.enqueue(
    { kind: 'deploy', trigger, input, dedupeKey, coalesce: false, concurrencyGroup, priority, labels },
    { delivery: accepted(trigger, delivery), sealed },
  );
}

/** Stores a plan, likewise. One of a newer head of the pull request covers it. */
export function enqueuePlan(
  store: Pick<RunStore, 'enqueue'>,
  { dedupeKey = null, delivery, sealed, input, ...request }: PlanRequest,
): Promise<{ run: Run; created: boolean }> {
  const trigger: Trigger = { ...NOBODY, ...request.trigger };
  const concurrencyGroup = planGroup(input);
  return store.enqueue(
    { kind: 'plan', trigger, input, dedupeKey, coalesce: true, concurrencyGroup },
    { delivery: accepted(trigger, delivery), sealed },
  );
}

/** Stores a command, likewise; a comment is obeyed once, however often it is delivered. */
export function enqueueCommand(
  store: RunStore,
  { delivery, input, ...request }: CommandRequest,
): Promise<{ run: Run; created: boolean }> {
  const trigger: Trigger = { ...NOBODY, ...request.trigger };
  const concurrencyGroup = commandGroup(input);
  const dedupeKey = `comment:${input.apiUrl}:${input.repository.toLowerCase()}:${input.commentId}`;
  return store.enqueue(
    { kind: 'command', trigger, input, dedupeKey, coalesce: false, concurrencyGroup },
    { delivery: accepted(trigger, delivery) },
  );
}

function accepted({ deliveryId }: Trigger, delivery: Asked['delivery']): NewDelivery | undefined {
  return delivery && { ...delivery, deliveryId, decision: 'accepted', runId: null, request: null };
}
