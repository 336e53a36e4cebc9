/** Decides at work time whether a run may do in an environment that promotes what was asked for. */

import { hash } from 'node:crypto';
import type { SyncRun } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { Ledger } from '../../runs/run-store.ts';
import { type ApprovalRules, boundTo } from '../../runs/sync/promotion.ts';
import type { Promotion } from '../../runs/sync/sync-input.ts';
import { meaningOf } from '../../runs/sync/sync-intent.ts';
import type { Outcome } from '../pipeline.ts';
import type { Selected } from '../selection/select-services.ts';

export interface PromotionCheck extends Pick<ApprovalRules, 'approval'> {
  /** The environment that it takes commits from. */
  from: string;
  /** The services among these that neither environment has proven at the commit. */
  unproven(revision: string, services: readonly string[]): Promise<{ service: string }[]>;
  latestDecision(runId: string): Promise<Extract<RunEvent, { type: 'run.decided' }> | null>;
}

/** Returns the outcome of a run that must not start, or null. */
export async function refusePromotion(
  check: PromotionCheck,
  run: SyncRun,
  found: { selected: readonly Selected[]; ledger: Pick<Ledger, 'entries'> },
): Promise<Outcome | null> {
  const { intent } = meaningOf(run);
  const { promotion, rest, environment = '' } = run.input;
  if (intent === 'back' || run.input.dryRun) return null;
  if (intent === 'follow') {
    const message = `${environment} takes only what ${check.from} holds: promote it`;
    return { state: 'errored', reason: 'not_promotable', message };
  }
  // Nothing was shown, so nothing is to be approved, and nothing may run.
  if (promotion?.services.length === 0 && !found.selected.some(({ decision }) => decision === 'run'))
    return null;
  const needsApproval = check.approval !== 'none' && promotion?.breakGlass !== true;
  const decided = needsApproval ? await check.latestDecision(rest?.of ?? run.id) : null;
  if (needsApproval && decided?.decision !== 'approved') return notApproved('Nobody has approved it');
  if (intent !== 'promote') return refuseUnproven(check, found.selected, run.input.revision ?? '');
  if (!promotion) return notApproved('It is not known what was shown');
  // The rest of a run was approved together with that run.
  const shown = rest ? { ...promotion, services: rest.shown } : promotion;
  if (decided !== null && decided.subject !== hash('sha256', boundTo(run.input.revision ?? '', shown))) {
    return notApproved('The approval is for something else');
  }
  const changed = whatChanged(promotion, found, decided !== null);
  if (changed === null) return null;
  const message = `Nothing was promoted: ${changed}`;
  return { state: 'failed', reason: 'promotion_changed', message };
}

/** Between the request and the work, more may have become due. */
async function refuseUnproven(
  { unproven, from }: PromotionCheck,
  selected: readonly Selected[],
  revision: string,
): Promise<Outcome | null> {
  const running = selected.filter(({ decision }) => decision === 'run').map(({ service }) => service);
  const [first] = running.length === 0 ? [] : await unproven(revision, running);
  if (!first) return null;
  const message = `${from} does not hold ${first.service} at this commit`;
  return { state: 'errored', reason: 'not_promotable', message };
}

function notApproved(message: string): Outcome {
  return { state: 'errored', reason: 'not_approved', message };
}

/**
 * Says how the services that would run differ from those that were shown, or returns null. With an approval, they must
 * also have the commits that were shown.
 */
function whatChanged(
  { services }: Promotion,
  { selected, ledger }: { selected: readonly Selected[]; ledger: Pick<Ledger, 'entries'> },
  isApproved: boolean,
): string | null {
  const shown = new Map(services.map((one) => [one.service, one.from]));
  for (const { service, decision } of selected) {
    if (isApproved && decision === 'pinned' && shown.has(service)) return `a rollback has pinned ${service}`;
    if (decision !== 'run') continue;
    const from = shown.get(service);
    if (from === undefined) return `${service} would run now, and was not shown`;
    const now = ledger.entries.get(service)?.synced?.commit ?? null;
    if (isApproved && from !== now) return `${service} has another commit now than was shown`;
  }
  return null;
}
