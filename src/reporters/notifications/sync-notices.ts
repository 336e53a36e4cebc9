/** Decides what there is to tell about a sync. What failed is told once, until it recovers. Pure. */

import { isFinal, type Run, type Step, type SyncRun } from '../../runs/run.ts';
import type { Hold } from '../../runs/sync/hold.ts';
import { heldBy } from '../../runs/sync/hold.ts';
import { hasFailed } from './earlier-runs.ts';
import type { Notice, NoticeService } from './notice.ts';

/** How the last try of something ended. */
export type Outcome = 'succeeded' | 'failed';

export interface SyncFacts {
  run: SyncRun;
  repository: string;
  steps: readonly Step[];
  /** How the last earlier step of each service ended. A service without one is missing. */
  before: ReadonlyMap<string, Outcome>;
  /** True if the last earlier run of the place failed as a whole, not because of a service. */
  placeHadFailed: boolean;
  /** What stopped the run, or some of its services, unless an earlier run of the place has met the same hold. */
  held: { hold: Hold; services: readonly string[]; at: number } | null;
}

/** The newest at the end. Only those of an ended run are complete. */
export function syncNotices(facts: SyncFacts): Notice[] {
  const { run } = facts;
  if (run.input.dryRun) return [];
  const notices = [...askedNotices(facts), ...heldNotices(facts)];
  return isFinal(run.state) ? [...notices, ...endNotices(facts)] : notices;
}

function noticeOf(
  { run, repository }: SyncFacts,
  event: Notice['event'],
  given: Pick<Notice, 'at' | 'services' | 'message'>,
): Notice {
  return { event, kind: 'sync', repository, environment: run.input.environment ?? null, run, ...given };
}

/** What is told before anything runs. */
function askedNotices(facts: SyncFacts): Notice[] {
  const { run } = facts;
  const { promotion, note = '' } = run.input;
  const services = (promotion?.services ?? []).map(({ service }) => ({ service, message: '' }));
  const at = run.createdAt;
  const by = run.trigger.actor ?? 'nobody known';
  if (promotion?.breakGlass) {
    return [noticeOf(facts, 'break_glass', { at, services, message: `By ${by}: ${note}` })];
  }
  if (run.state !== 'awaiting_approval') return [];
  return [noticeOf(facts, 'approval_needed', { at, services, message: `Asked for by ${by}.` })];
}

function heldNotices(facts: SyncFacts): Notice[] {
  const { held } = facts;
  if (held === null) return [];
  const message = heldBy(held.hold);
  const services = held.services.map((service) => ({ service, message }));
  return [noticeOf(facts, 'held', { at: held.at, services, message })];
}

function endNotices(facts: SyncFacts): Notice[] {
  const { run, steps, before, placeHadFailed } = facts;
  const at = run.finishedAt ?? run.createdAt;
  const failed = servicesIn(steps, 'failed');
  const succeeded = servicesIn(steps, 'succeeded');
  const news = failed.filter(({ service }) => before.get(service) !== 'failed');
  const recovered = succeeded.filter(({ service }) => before.get(service) === 'failed');
  const isWhole = failedAsWhole(run, steps);
  const message = run.message;
  const told = (event: Notice['event'], services: NoticeService[]) =>
    noticeOf(facts, event, { at, services, message: services.length > 0 ? '' : message });
  return [
    ...(news.length > 0 ? [told('failed', news)] : []),
    ...(isWhole && !placeHadFailed ? [told('failed', [])] : []),
    ...(recovered.length > 0 ? [told('recovered', recovered)] : []),
    ...(placeHadFailed && run.state === 'succeeded' && recovered.length === 0 ? [told('recovered', [])] : []),
    ...(run.state === 'succeeded' && succeeded.length > 0 ? [told('succeeded', succeeded)] : []),
  ];
}

/** True if the run failed, and none of its services did. */
export function failedAsWhole(run: Pick<Run, 'state'>, steps: readonly Step[]): boolean {
  return hasFailed(run) && servicesIn(steps, 'failed').length === 0;
}

function servicesIn(steps: readonly Step[], outcome: Outcome): NoticeService[] {
  return steps
    .filter((step) => outcomeOf(step) === outcome)
    .map(({ id, message }) => ({ service: id, message: outcome === 'failed' ? message : '' }));
}

/** Null for a step that says nothing about its service. */
export function outcomeOf({ state }: Pick<Step, 'state'>): Outcome | null {
  if (state === 'succeeded') return 'succeeded';
  return state === 'failed' || state === 'timed_out' ? 'failed' : null;
}
