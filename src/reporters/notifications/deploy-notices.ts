/** Decides what there is to tell about a deployment. What failed, or drifted, is told once, until it recovers. Pure. */

import { hasChanges, type PlanSummary } from '../../runs/deployments/deployment.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import { type DeployRun, isFinal } from '../../runs/run.ts';
import { hasFailed } from './earlier-runs.ts';
import type { Notice } from './notice.ts';

export interface DeployFacts {
  run: DeployRun;
  plan: PlanSummary | null;
  /** The last earlier deployment of the target that succeeded or failed, and that is a drift check if this one is. */
  before: { run: DeployRun; plan: PlanSummary | null } | null;
}

/** The newest at the end. Only those of an ended run are complete. */
export function deployNotices(facts: DeployFacts): Notice[] {
  const { run, before } = facts;
  if (run.state === 'awaiting_approval') return [noticeOf(facts, 'approval_needed', run.createdAt)];
  if (!isFinal(run.state)) return [];
  const at = run.finishedAt ?? run.createdAt;
  const now = verdict(facts);
  const then = before && verdict(before);
  if (now === 'failed' || now === 'drift') return now === then ? [] : [noticeOf(facts, now, at)];
  if (now === null) return [];
  const hasRecovered = then === 'failed' || then === 'drift';
  // A check that finds nothing is no news.
  const isNews = run.input.operation !== 'drift';
  return [
    ...(hasRecovered ? [noticeOf(facts, 'recovered', at)] : []),
    ...(isNews ? [noticeOf(facts, 'succeeded', at)] : []),
  ];
}

function noticeOf({ run }: DeployFacts, event: Notice['event'], at: number): Notice {
  const message = `${kindOf(run).title?.(run) ?? ''}. ${run.message}`;
  return {
    event,
    kind: 'deployment',
    at,
    repository: run.input.gitUrl,
    environment: null,
    services: [],
    message,
    run,
  };
}

function verdict({ run, plan }: Pick<DeployFacts, 'run' | 'plan'>): 'failed' | 'drift' | 'succeeded' | null {
  if (hasFailed(run)) return 'failed';
  if (run.state !== 'succeeded') return null;
  return run.input.operation === 'drift' && hasChanges(plan) ? 'drift' : 'succeeded';
}
